//! Errors of SQL databases, reduced to what may be logged.

use landfall_domain::StoreKind;
use sqlx::mysql::MySqlDatabaseError;

use crate::error::StoreError;

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
pub(crate) fn from_sqlx(store: StoreKind, error: sqlx::Error) -> StoreError {
    let sqlx::Error::Database(database) = &error else {
        let reason = match &error {
            // Messages of I/O errors come from the system; those of decoders and the protocol may contain data.
            sqlx::Error::Io(error) => format!("I/O: {}", error.kind()),
            sqlx::Error::Tls(_) => "TLS could not be established: the server needs a certificate that is valid for its \
                 name, or the URL an sslmode"
                .to_owned(),
            sqlx::Error::PoolTimedOut => "no connection became free or could be opened".to_owned(),
            sqlx::Error::PoolClosed => "the pool is closed".to_owned(),
            sqlx::Error::Configuration(_) => "its settings are invalid".to_owned(),
            _ => "the response could not be decoded".to_owned(),
        };
        return StoreError::Unavailable { store, reason };
    };
    let (code, class) = if let Some(mysql) = database.try_downcast_ref::<MySqlDatabaseError>() {
        (mysql.number().to_string(), mysql_class(mysql))
    } else {
        let code = database.code().unwrap_or_default().into_owned();
        let class = postgres_class(&code);
        (code, class)
    };
    let mut reason = format!("{code} {}", without_values(database.message()));
    if let Some(constraint) = database.constraint() {
        reason = format!("{reason} (constraint {constraint})");
    }
    class(store, reason)
}

pub(crate) fn from_read(store: StoreKind, error: sqlx::Error) -> StoreError {
    if let sqlx::Error::Database(database) = &error {
        let mysql = database.try_downcast_ref::<MySqlDatabaseError>();
        let is_over = match mysql {
            // Statement timeout of MySQL and of MariaDB.
            Some(mysql) => matches!(mysql.number(), 3024 | 1969),
            None => database.code().as_deref() == Some("57014"),
        };
        if is_over {
            return StoreError::exceeded(store, "the statement timed out");
        }
    }
    from_sqlx(store, error)
}

/// Makes an error of a class.
type Class = fn(StoreKind, String) -> StoreError;

const CONTENDED: Class = StoreError::contended;
const UNAVAILABLE: Class = StoreError::unavailable;
const REFUSED: Class = StoreError::refused;
const TOO_WIDE: Class = StoreError::too_wide;

fn postgres_class(code: &str) -> Class {
    match code {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => CONTENDED,
        // Undefined table: dropped after it was prepared, and created again by the next delivery.
        "42P01" => UNAVAILABLE,
        // Row or index entry too large, too many columns.
        "54000" | "54011" => TOO_WIDE,
        // Statement too complex (nesting), too many arguments.
        "54001" | "54023" => REFUSED,
        // Unsupported, data, integrity, syntax or access rule, check option.
        _ if ["0A", "22", "23", "42", "44"].contains(&code.get(..2).unwrap_or_default()) => REFUSED,
        // Connections, resources, operator intervention, the system, and unknown codes.
        _ => UNAVAILABLE,
    }
}

fn mysql_class(error: &MySqlDatabaseError) -> Class {
    match error.number() {
        // Lock wait timeout, deadlock, record changed since last read (MariaDB).
        1205 | 1213 | 1020 => CONTENDED,
        // No such table.
        1146 => UNAVAILABLE,
        // Row size, too many columns, index too long.
        1118 | 1117 | 1071 => TOO_WIDE,
        // Packet too large.
        1153 => REFUSED,
        _ => match error.code().and_then(|state| state.get(..2)) {
            Some("22" | "23" | "42" | "44" | "0A" | "21") => REFUSED,
            _ => UNAVAILABLE,
        },
    }
}

/// Returns the message up to the first quotation or number: values come after that.
pub(crate) fn without_values(message: &str) -> &str {
    let cut = |char: char| matches!(char, '\'' | '"' | '`' | ':' | '=') || char.is_ascii_digit();
    message.split(cut).next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_their_values() {
        for (message, kept) in [
            (
                "Duplicate entry 'secret' for key 'PRIMARY'",
                "Duplicate entry",
            ),
            (
                "invalid input syntax for type integer: \"secret\"",
                "invalid input syntax for type integer",
            ),
            ("value 4711 is out of range", "value"),
            ("deadlock detected", "deadlock detected"),
        ] {
            assert_eq!(without_values(message), kept);
        }
    }
}

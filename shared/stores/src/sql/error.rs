//! Errors of SQL databases, reduced to what may be logged.

use landfall_domain::StoreKind;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

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
            _ => {
                return StoreError::unavailable(store, "the response could not be decoded");
            }
        };
        return StoreError::down(store, reason);
    };
    let (code, class) = if let Some(mysql) = database.try_downcast_ref::<MySqlDatabaseError>() {
        (mysql.number().to_string(), mysql_class(mysql))
    } else {
        let code = database.code().unwrap_or_default().into_owned();
        let postgres = database.try_downcast_ref::<PgDatabaseError>();
        let severity = postgres.map(PgDatabaseError::severity);
        let is_fatal = matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic));
        let class = postgres_class(&code, is_fatal);
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
const DOWN: Class = StoreError::down;
const UNAVAILABLE: Class = StoreError::unavailable;
const REFUSED: Class = StoreError::refused;
const TOO_WIDE: Class = StoreError::too_wide;

/// `is_fatal` says whether the error ended the connection, or kept it from being made.
fn postgres_class(code: &str, is_fatal: bool) -> Class {
    let class = code.get(..2).unwrap_or_default();
    match code {
        // Read-only, as a replica is after a failover; disk full.
        "25006" | "53100" => DOWN,
        // The server shuts down, starts, or has no such database, no more connections or other credentials. Timeouts of
        // idle sessions and transactions (25) are those of this function.
        _ if class == "08" || (is_fatal && class != "25") => DOWN,
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => CONTENDED,
        // Undefined table: dropped after it was prepared, and created again by the next delivery.
        "42P01" => UNAVAILABLE,
        // Row or index entry too large, too many columns.
        "54000" | "54011" => TOO_WIDE,
        // Statement too complex (nesting), too many arguments.
        "54001" | "54023" => REFUSED,
        // Unsupported, data, integrity, syntax or access rule, check option.
        _ if ["0A", "22", "23", "42", "44"].contains(&class) => REFUSED,
        // Resources, operator intervention, the system, and unknown codes.
        _ => UNAVAILABLE,
    }
}

fn mysql_class(error: &MySqlDatabaseError) -> Class {
    match error.number() {
        // Too many connections (of all, or of this user), access denied (to the server, or to the database), unknown
        // database, shutdown, host blocked or not allowed, connection killed (MariaDB), read-only, disk full.
        1040 | 1203 | 1226 | 1045 | 1698 | 1044 | 1049 | 1053 | 1129 | 1130 | 1927 | 1290
        | 1836 | 1021 => DOWN,
        // Lock wait timeout, deadlock, record changed since last read (MariaDB), table changed since the transaction's
        // snapshot (another worker has added an index or column), table exists (it was created and dropped meanwhile).
        1205 | 1213 | 1020 | 1412 | 1050 => CONTENDED,
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
    fn a_server_that_is_down_differs_from_other_failures() {
        let kind = |class: Class| match class(StoreKind::Postgres, String::new()) {
            StoreError::Down { .. } => "down",
            StoreError::Unavailable { .. } => "unavailable",
            StoreError::Refused { .. } => "refused",
            _ => "another",
        };
        for (code, is_fatal, expected) in [
            ("57P01", true, "down"),
            ("57P03", true, "down"),
            ("53300", true, "down"),
            ("28P01", true, "down"),
            ("3D000", true, "down"),
            // The database does not accept connections.
            ("55000", true, "down"),
            ("08006", false, "down"),
            ("25006", false, "down"),
            ("25P03", true, "unavailable"),
            ("57014", false, "unavailable"),
            ("53200", false, "unavailable"),
            ("23514", false, "refused"),
        ] {
            assert_eq!(kind(postgres_class(code, is_fatal)), expected, "{code}");
        }
    }

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

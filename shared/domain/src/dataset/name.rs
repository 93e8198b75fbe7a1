//! Which names datasets and fields can have.

/// The maximum number of bytes in the name of a dataset or field. Leaves room for what stores append,
/// below the 63 bytes of an identifier in `PostgreSQL`.
const MAX_NAME_BYTES: usize = 48;

/// The rule of [`is_name`], for error messages.
pub const NAME_RULE: &str =
    "must start with a letter a-z and contain only a-z, 0-9 and _, at most 48 characters";

/// Returns whether a text can be the name of a dataset or field: a lower-case letter, followed by
/// lower-case letters, digits and `_`.
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Returns whether `PostgreSQL` has a system column of this name in every table.
pub(crate) fn is_system_column(name: &str) -> bool {
    matches!(
        name,
        "cmax" | "cmin" | "ctid" | "tableoid" | "xmax" | "xmin"
    )
}

/// Returns the rule that a text breaks as the name of a table, if it does.
pub(crate) fn check_table_name(name: &str) -> Result<(), &'static str> {
    if !is_name(name) {
        Err(NAME_RULE)
    } else if name.starts_with("sqlite_") {
        Err("must not start with sqlite_, which SQLite reserves")
    } else {
        Ok(())
    }
}

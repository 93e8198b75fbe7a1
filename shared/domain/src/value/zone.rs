//! Time zones by their name in the IANA database.
//!
//! The database is part of the binary: what a file means must not depend on the machine, and Lambda has none.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Returns the time zone of this name.
///
/// # Errors
/// What is wrong with the name, and the most similar name.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    ZONES.get(name).map_err(|_| {
        let names: Vec<String> = ZONES.available().map(|name| name.to_string()).collect();
        let names = names.iter().map(String::as_str);
        let hint = match crate::similar::most_similar(name, names) {
            Some(similar) => format!("did you mean {similar:?}?"),
            None => "names are like \"America/Chicago\"".to_owned(),
        };
        let name = crate::excerpt(name);
        format!("{name:?} is not a time zone of the IANA database; {hint}")
    })
}

/// Returns the database, for parsers of `jiff`.
pub(super) fn database() -> &'static TimeZoneDatabase {
    &ZONES
}

//! What is meant by a setting that does not exist.

use serde::Deserialize;

use super::RawDataset;
use super::fields::RawField;
use super::settings::{RawCsv, RawJson, RawLimits, RawOperation};
use super::totals::RawTotal;
use crate::similar::most_similar;

/// The tables of a kind of definition, and for each a function that returns its settings.
pub type Tables = &'static [(&'static str, fn() -> Vec<String>)];

/// The tables of the definition of a dataset.
pub(super) const TABLES: Tables = &[
    ("the dataset, above all tables", settings_of::<RawDataset>),
    ("[[fields]]", settings_of::<RawField>),
    ("[csv]", settings_of::<RawCsv>),
    ("[json]", settings_of::<RawJson>),
    ("[operation]", settings_of::<RawOperation>),
    ("[limits]", settings_of::<RawLimits>),
    ("[[totals]]", settings_of::<RawTotal>),
];

/// Returns the message for an unknown name from that of the TOML parser, or `None` for other errors.
pub(super) fn unknown_name(message: &str, tables: Tables) -> Option<String> {
    let (what, name, known) = parse(message)?;
    let listed = known.join(", ");
    if let Some(similar) = most_similar(name, known.iter().copied()) {
        return Some(format!(
            "there is no {what} {name:?}; did you mean {similar:?}?"
        ));
    }
    if what == "setting" {
        let of_others = tables.iter().find_map(|(table, settings)| {
            let settings = settings();
            let found = most_similar(name, settings.iter().map(String::as_str))?;
            Some(format!("; did you mean {found:?} of {table}?"))
        });
        let hint = of_others.unwrap_or_default();
        return Some(format!(
            "there is no setting {name:?} here, only {listed}{hint}"
        ));
    }
    Some(format!("there is no {what} {name:?}; use one of {listed}"))
}

/// Splits a message of serde, ``unknown field `a`, expected one of `b`, `c` ``.
fn parse(message: &str) -> Option<(&'static str, &str, Vec<&str>)> {
    let (what, rest) = match message.strip_prefix("unknown field `") {
        Some(rest) => ("setting", rest),
        None => ("value", message.strip_prefix("unknown variant `")?),
    };
    let (name, rest) = rest.rsplit_once("`, expected ")?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((what, name, known))
}

/// Returns the names of the settings of a table, from the error for one that does not exist.
pub fn settings_of<T: for<'de> Deserialize<'de>>() -> Vec<String> {
    let error = toml::from_str::<T>("\"?\" = 0").err();
    let message = error
        .map(|error| error.message().to_owned())
        .unwrap_or_default();
    let parsed = parse(&message);
    let known = parsed.map(|(_, _, known)| known).unwrap_or_default();
    known.into_iter().map(str::to_owned).collect()
}

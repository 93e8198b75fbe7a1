//! Messages about headers: what is wrong with one, and which setting helps.

use std::borrow::Cow;
use std::collections::HashSet;

use landfall_domain::{Mode, Warning, WarningCode, excerpt};

use super::dialect::Dialect;

/// Returns pairs of a field without a column and an unused column that looks like it.
pub(super) fn look_alikes<'a>(
    absent: &'a [Cow<'a, str>],
    unused: &[&'a str],
) -> Vec<(&'a str, &'a str)> {
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(|letter| letter.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let mut pairs = Vec::new();
    for field in absent {
        let wanted = letters(field);
        let most = if wanted.chars().count() < 5 { 1 } else { 2 };
        let alike = unused.iter().filter_map(|column| {
            let distance = strsim::damerau_levenshtein(&wanted, &letters(column));
            (distance <= most && distance < wanted.len()).then_some((distance, *column))
        });
        pairs.extend(alike.min().map(|(_, column)| (&**field, column)));
    }
    pairs
}

/// Returns the warnings about fields without a column. `rejects` says whether rows may be rejected for that.
pub(super) fn warnings(
    mode: Mode,
    absent: &[Cow<'_, str>],
    unused: &[&str],
    rejects: bool,
) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = look_alikes(absent, unused)
        .into_iter()
        .map(|(field, column)| {
            let message = format!(
                "the column {:?} looks like {field:?}, which no column is named, but is not used for it: rename it, or \
                 set column of the field",
                excerpt(column)
            );
            Warning::new(WarningCode::UnmatchedColumn, message)
        })
        .collect();
    if !absent.is_empty() && mode != Mode::Merge {
        let consequence = if rejects {
            "only rows that delete are accepted"
        } else {
            "these fields are null, or have their default, in every row"
        };
        let message = format!("the file has no column for {}: {consequence}", list(absent));
        warnings.push(Warning::new(WarningCode::AbsentColumns, message));
    }
    warnings
}

/// Returns the likely cause of a header that lacks columns, and what to do about it.
pub(super) fn missing_hint(columns: &[String], used: &HashSet<usize>, dialect: &Dialect) -> String {
    if columns[0].starts_with('#') && dialect.comment.is_none() {
        return "; if lines that start with # are comments, set csv.comment = \"#\"".to_owned();
    }
    if let [only] = columns {
        let delimiters = [',', ';', '\t', '|'].into_iter();
        let mut delimiters = delimiters.filter(|delimiter| only.contains(*delimiter));
        match delimiters.next() {
            Some(delimiter) if dialect.delimiter == [delimiter as u8] => {
                return "; the whole line is in quotes, so it is one column: remove them"
                    .to_owned();
            }
            Some(delimiter) => {
                return format!(
                    "; if {delimiter:?} is the delimiter, set csv.delimiter in the definition"
                );
            }
            None => {}
        }
    }
    if used.is_empty() {
        return "; if the header is on a later line, set csv.skip_lines, and if there is none, \
                csv.header = false"
            .to_owned();
    }
    String::new()
}

/// Lists names for a message, at most 20 of them.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    const MAX_NAMES: usize = 20;
    let mut quoted: Vec<String> = names
        .iter()
        .take(MAX_NAMES)
        .map(|name| format!("{:?}", excerpt(name.as_ref())))
        .collect();
    if names.len() > MAX_NAMES {
        quoted.push(format!("and {} more", names.len() - MAX_NAMES));
    }
    quoted.join(", ")
}

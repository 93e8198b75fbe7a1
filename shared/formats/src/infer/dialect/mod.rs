//! Finds how delimited text is written.
//!
//! Each combination of delimiter, quote and escape is tried on the start of the text. As in `CleverCSV` (van den Burg,
//! Nazábal and Sutton, 2019), the best one is that in which most records have the same number of cells, and most cells
//! look like something: numbers, times, words.

mod records;
mod trial;

use landfall_domain::Format;

use super::Setting;
use crate::csv::dialect::Dialect;
use trial::{Quoting, Trial, dialect_of};

/// How much of the text is tried, in bytes.
const TRIED_BYTES: usize = 128 * 1024;
/// Delimiters, the likelier first.
const DELIMITERS: [&str; 19] = [
    ",", "\t", ";", "|", ":", "^", "~", "\u{1f}", "\u{1}", "||", "::", ";;", "~|", "#", "&", "*",
    "/", " ", "\t\t",
];
/// What the score of a delimiter is multiplied by, because the character is more often a part of cells.
const RARE: [(&str, f64); 6] = [
    (":", 0.5),
    ("#", 0.5),
    ("&", 0.5),
    ("*", 0.5),
    ("/", 0.3),
    (" ", 0.4),
];

/// What the score of a delimiter is multiplied by that always occurs twice: then both together are one.
const DOUBLED: f64 = 0.5;
/// What may precede a quote in a quoted cell, besides another quote.
const ESCAPES: [char; 3] = ['\\', '^', '`'];

/// How a text is written.
pub(super) struct Found {
    pub(super) dialect: Dialect,
    /// The number of cells of most records.
    pub(super) cells: usize,
    /// The number of lines before the first record with so many cells.
    skip_lines: usize,
    /// The length of these lines in bytes.
    skipped: usize,
    /// Whether all rows, unlike the header, end with a delimiter.
    pub(super) has_surplus: bool,
    /// What other delimiter is nearly as likely.
    runner_up: Option<String>,
    has_sep_line: bool,
    /// The last line that is skipped, for people.
    last_skipped: String,
}

/// Finds the best dialect.
pub(super) fn find(text: &str, format: Format) -> Found {
    let sep_line = sep_line(text);
    let text = &text[sep_line.map_or(0, |(_, length)| length)..];
    let tried = &text[..text.floor_char_boundary(TRIED_BYTES)];
    let last_line = tried.rfind('\n').filter(|_| tried.len() < text.len());
    let tried = last_line.map_or(tried, |end| &tried[..=end]);
    let mut best: Vec<(f64, Trial)> = Vec::new();
    let usual = if format == Format::Tsv { "\t" } else { "," };
    let sep = sep_line.map(|(sep, _)| sep);
    let delimiters = DELIMITERS
        .iter()
        .copied()
        .filter(|delimiter| sep.is_none_or(|sep| sep == *delimiter))
        .filter(|delimiter| *delimiter == usual || tried.contains(*delimiter));
    for delimiter in sep.into_iter().chain(delimiters) {
        let weight = RARE.iter().find(|(rare, _)| *rare == delimiter);
        let mut weight = weight.map_or(1.0, |(_, weight)| *weight);
        if is_doubled(tried, delimiter) {
            weight *= DOUBLED;
        }
        for quoting in quotings(tried, delimiter) {
            if let Some(trial) = Trial::new(tried, delimiter, quoting) {
                best.push((trial.score * weight, trial));
            }
        }
    }
    // Of equal ones, the first wins.
    best.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let (score, trial) = best.first().cloned().unwrap_or_else(|| {
        let quoting = Quoting {
            quote: Some(b'"'),
            escape: None,
            trim: false,
        };
        let dialect = dialect_of(usual, quoting);
        (0.0, Trial::empty(dialect))
    });
    let other = best
        .iter()
        .find(|(_, other)| other.dialect.delimiter != trial.dialect.delimiter);
    let runner_up = other
        .filter(|(other, it)| *other > score * 0.9 && it.cells > 1)
        .map(|(_, it)| String::from_utf8_lossy(&it.dialect.delimiter).into_owned());
    Found {
        dialect: trial.dialect,
        cells: trial.cells,
        skip_lines: trial.skip_lines,
        has_surplus: trial.has_surplus,
        skipped: trial.skipped + sep_line.map_or(0, |(_, length)| length),
        runner_up,
        has_sep_line: sep_line.is_some(),
        last_skipped: trial.last_skipped,
    }
}

impl Found {
    /// Returns the text from the first regular record on.
    pub(super) fn body<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.skipped..).unwrap_or_default()
    }

    /// Returns the settings that differ from the usual ones.
    pub(super) fn settings(&self, format: Format) -> Vec<Setting> {
        let mut settings = Vec::new();
        let usual: &[u8] = if format == Format::Tsv { b"\t" } else { b"," };
        let delimiter = String::from_utf8_lossy(&self.dialect.delimiter);
        let halves = delimiter.split_at_checked(delimiter.len() / 2);
        let note = match &self.runner_up {
            Some(other) => format!("could also be {other:?}"),
            None => match halves {
                Some((half, other)) if half == other => {
                    format!("could also be {half:?}, if every other column is empty")
                }
                _ => String::new(),
            },
        };
        if !self.has_sep_line && (self.dialect.delimiter != usual || !note.is_empty()) {
            settings.push(Setting::text("csv.delimiter", &delimiter, note));
        }
        match self.dialect.quote {
            None => settings.push(Setting::text(
                "csv.quote",
                "",
                "quotes are data: they do not enclose cells",
            )),
            Some(b'"') if format == Format::Tsv => {
                settings.push(Setting::text("csv.quote", "\"", "quotes enclose cells"));
            }
            Some(b'"') => {}
            Some(quote) => {
                settings.push(Setting::text(
                    "csv.quote",
                    &char::from(quote).to_string(),
                    "",
                ));
            }
        }
        if let Some(escape) = self.dialect.escape {
            settings.push(Setting::text(
                "csv.escape",
                &char::from(escape).to_string(),
                "",
            ));
        }
        if self.dialect.trim {
            settings.push(Setting::new(
                "csv.trim",
                "true",
                "there are spaces around cells",
            ));
        }
        if self.has_surplus {
            settings.push(Setting::new(
                "csv.flexible",
                "true",
                "rows end with a delimiter that the header does not have",
            ));
        }
        if self.skip_lines > 0 {
            settings.push(Setting::new(
                "csv.skip_lines",
                self.skip_lines.to_string(),
                format!(
                    "these lines do not have the cells of the others; the last of them is {:?}",
                    self.last_skipped
                ),
            ));
        }
        settings
    }
}

/// Returns the delimiter of a first line like `sep=;`, and the length of that line.
fn sep_line(text: &str) -> Option<(&str, usize)> {
    let end = text.find('\n')?;
    let line = text[..end].trim_end_matches('\r').trim_matches('"');
    let (sep, delimiter) = line.split_at_checked(4)?;
    let is_one = delimiter.chars().count() == 1;
    (sep.eq_ignore_ascii_case("sep=") && is_one).then_some((delimiter, end + 1))
}

/// Returns the ways to read quotes and spaces that make a difference.
fn quotings(text: &str, delimiter: &str) -> Vec<Quoting> {
    let mut quotes = vec![(Some('"'), None)];
    for escape in ESCAPES {
        let is_used = |char: &str| text.contains(&format!("{escape}{char}"));
        if !delimiter.contains(escape) && (is_used("\"") || escape == '\\' && is_used(delimiter)) {
            quotes.push((Some('"'), Some(escape)));
        }
    }
    if text.contains('"') {
        quotes.push((None, None));
    }
    if text.contains('\'') {
        quotes.push((Some('\''), None));
        if text.contains("\\'") {
            quotes.push((Some('\''), Some('\\')));
        }
    }
    let byte = |char: Option<char>| char.and_then(|char| u8::try_from(char).ok());
    let of_quote = |(quote, escape): (Option<char>, _)| {
        trims(text, delimiter, quote)
            .iter()
            .map(move |trim| Quoting {
                quote: byte(quote),
                escape: byte(escape),
                trim: *trim,
            })
    };
    quotes.into_iter().flat_map(of_quote).collect()
}

/// Returns whether spaces around cells may matter: they hide quotes, or nearly every delimiter has one.
fn trims(text: &str, delimiter: &str, quote: Option<char>) -> &'static [bool] {
    let spaced = format!("{delimiter} ");
    let is_usual = || text.matches(&spaced).count() * 10 > text.matches(delimiter).count() * 9;
    if !delimiter.contains(' ') && is_usual() {
        return &[true];
    }
    let hides = |quote| text.contains(&format!("{spaced}{quote}"));
    if quote.is_some_and(hides) {
        &[false, true]
    } else {
        &[false]
    }
}

/// Returns whether a delimiter of one character nearly always occurs twice in a row.
fn is_doubled(text: &str, delimiter: &str) -> bool {
    let pairs = text.matches(&delimiter.repeat(2)).count();
    delimiter.chars().count() == 1 && pairs * 2 * 10 > text.matches(delimiter).count() * 9
}

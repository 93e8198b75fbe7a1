//! Finds how delimited text is written.
//!
//! Each combination of delimiter, quote and escape is tried on the start of the text. As in `CleverCSV` (van den Burg,
//! Nazábal and Sutton, 2019), the best one is that in which most records have the same number of cells, and most cells
//! look like something: numbers, times, words.

use std::collections::BTreeMap;

use landfall_domain::{CsvOptions, Format, Quote, Reading};
use memchr::memchr_iter;

use super::Setting;
use crate::csv::dialect::Dialect;
use crate::csv::records::{Quotes, Records};

/// How much of the text is tried, in bytes and records.
const TRIED_BYTES: usize = 128 * 1024;
const TRIED_RECORDS: usize = 2_000;
/// The most records before the header.
const MAX_PREAMBLE: usize = 50;
/// What a record of a single cell is worth, compared to one of several.
const SINGLE_CELL: f64 = 1e-3;
/// Delimiters, the likelier first.
const DELIMITERS: [&str; 18] = [
    ",", "\t", ";", "|", ":", "^", "~", "\u{1f}", "\u{1}", "||", "::", ";;", "~|", "#", "&", "*",
    "/", " ",
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

/// How a text is written.
pub(super) struct Found {
    pub(super) dialect: Dialect,
    /// The number of cells of most records.
    pub(super) cells: usize,
    /// The number of lines before the first record with so many cells.
    skip_lines: usize,
    /// The length of these lines in bytes.
    skipped: usize,
    /// What other delimiter is nearly as likely.
    runner_up: Option<String>,
    has_sep_line: bool,
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
        for (quote, escape) in quotings(tried, delimiter) {
            for trim in [false, true] {
                let Some(trial) = Trial::new(tried, delimiter, quote, escape, trim) else {
                    continue;
                };
                let weight = RARE.iter().find(|(rare, _)| *rare == delimiter);
                let score = trial.score * weight.map_or(1.0, |(_, weight)| *weight);
                best.push((score, trial));
            }
        }
    }
    // Of equal ones, the first wins.
    best.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let (score, trial) = best.first().cloned().unwrap_or_else(|| {
        let dialect = dialect_of(usual, Some(b'"'), None, false);
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
        skipped: trial.skipped + sep_line.map_or(0, |(_, length)| length),
        runner_up,
        has_sep_line: sep_line.is_some(),
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
        let note = self
            .runner_up
            .as_ref()
            .map_or_else(String::new, |other| format!("could also be {other:?}"));
        if !self.has_sep_line && (self.dialect.delimiter != usual || !note.is_empty()) {
            let delimiter = String::from_utf8_lossy(&self.dialect.delimiter);
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
        if self.skip_lines > 0 {
            settings.push(Setting::new(
                "csv.skip_lines",
                self.skip_lines.to_string(),
                "these lines do not have the cells of the others",
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

/// Returns the quotes and escapes that make a difference.
fn quotings(text: &str, delimiter: &str) -> Vec<(Option<u8>, Option<u8>)> {
    let mut quotings = vec![(Some(b'"'), None)];
    let has_escape = text.contains("\\\"") || text.contains(&format!("\\{delimiter}"));
    if has_escape {
        quotings.push((Some(b'"'), Some(b'\\')));
    }
    if text.contains('"') {
        quotings.push((None, None));
    }
    if text.contains('\'') {
        quotings.push((Some(b'\''), None));
        if text.contains("\\'") {
            quotings.push((Some(b'\''), Some(b'\\')));
        }
    }
    quotings
}

fn dialect_of(delimiter: &str, quote: Option<u8>, escape: Option<u8>, trim: bool) -> Dialect {
    let options = CsvOptions {
        delimiter: Some(delimiter.to_owned()),
        quote: quote.map_or(Quote::None, Quote::Byte),
        escape,
        trim,
        ..CsvOptions::default()
    };
    Dialect::new(&options, &Reading::from(Format::Csv))
}

/// A dialect, and how well it fits.
#[derive(Clone)]
struct Trial {
    dialect: Dialect,
    score: f64,
    cells: usize,
    skip_lines: usize,
    skipped: usize,
}

impl Trial {
    fn empty(dialect: Dialect) -> Self {
        Self {
            dialect,
            score: 0.0,
            cells: 1,
            skip_lines: 0,
            skipped: 0,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "scores are approximate")]
    fn new(
        text: &str,
        delimiter: &str,
        quote: Option<u8>,
        escape: Option<u8>,
        trim: bool,
    ) -> Option<Self> {
        let dialect = dialect_of(delimiter, quote, escape, trim);
        let read = Read::new(text, &dialect);
        if trim && !read.any_quoted_after_space && quote.is_some() {
            // Trimming makes no difference to what cells are, unless quotes follow spaces.
            return None;
        }
        let cells = read.usual_cells()?;
        let skip = read.preamble(cells);
        let kept = &read.records[skip..];
        let mut patterns: BTreeMap<usize, usize> = BTreeMap::new();
        for record in kept {
            *patterns.entry(record.cells).or_default() += 1;
        }
        let pattern: f64 = patterns
            .iter()
            .map(|(cells, count)| {
                let worth = (*cells as f64 - 1.0) / *cells as f64;
                *count as f64 * worth.max(SINGLE_CELL)
            })
            .sum::<f64>()
            / patterns.len() as f64;
        let all: usize = kept.iter().map(|record| record.cells).sum();
        let known: usize = kept.iter().map(|record| record.known).sum();
        let faults = kept.iter().filter(|record| record.is_faulty).count();
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        let sound = 1.0 - share(faults, kept.len());
        let preamble = share(kept.len(), read.records.len());
        let score = pattern * share(known, all).max(1e-10) * sound * sound * preamble;
        let skipped = kept.first().map_or(0, |record| record.start);
        Some(Self {
            dialect,
            score,
            cells,
            skip_lines: memchr_iter(b'\n', &text.as_bytes()[..skipped]).count(),
            skipped,
        })
    }
}

/// The records of a text under a dialect.
struct Read {
    records: Vec<ReadRecord>,
    any_quoted_after_space: bool,
}

struct ReadRecord {
    start: usize,
    cells: usize,
    /// The number of cells that look like something.
    known: usize,
    /// Whether something is wrong with its quotes.
    is_faulty: bool,
}

impl Read {
    fn new(text: &str, dialect: &Dialect) -> Self {
        let mut all = Records::new(text.as_bytes(), dialect);
        let mut read = Self {
            records: Vec::new(),
            any_quoted_after_space: false,
        };
        while read.records.len() < TRIED_RECORDS
            && let Some(block) = all.next_block()
        {
            for record in block.records {
                let Some(cells) = block.cells(record) else {
                    continue;
                };
                if cells.are_blank() && cells.len() == 1 {
                    continue;
                }
                let raw = String::from_utf8_lossy(record.raw);
                let spaced = dialect.quote.map(|quote| {
                    let delimiter = String::from_utf8_lossy(&dialect.delimiter).into_owned();
                    format!("{delimiter} {}", char::from(quote))
                });
                read.any_quoted_after_space |= spaced.is_some_and(|spaced| raw.contains(&spaced));
                let known = cells.iter().filter(|cell| is_known(cell)).count();
                read.records.push(ReadRecord {
                    start: record.start,
                    cells: cells.len(),
                    known,
                    is_faulty: record.quotes != Quotes::Correct,
                });
            }
        }
        read
    }

    /// Returns the number of cells that most records have; of equally many, the greatest.
    fn usual_cells(&self) -> Option<usize> {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for record in &self.records {
            *counts.entry(record.cells).or_default() += 1;
        }
        let most = counts
            .into_iter()
            .max_by_key(|(cells, count)| (*count, *cells));
        most.map(|(cells, _)| cells)
    }

    /// Returns the number of records before the first one of two with the usual number of cells.
    fn preamble(&self, cells: usize) -> usize {
        if cells < 2 {
            return 0;
        }
        let is_usual = |index: usize| {
            let record = self.records.get(index);
            record.is_none_or(|record| record.cells == cells)
        };
        let most = self.records.len().min(MAX_PREAMBLE);
        (0..most)
            .find(|index| is_usual(*index) && is_usual(index + 1))
            .unwrap_or(0)
    }
}

/// Returns whether a cell looks like something people write into tables.
fn is_known(cell: &str) -> bool {
    let cell = cell.trim();
    if cell.is_empty() {
        return true;
    }
    let is_plain = |char: char| char.is_alphanumeric() || char == '_';
    let is_number = |char: char| char.is_ascii_digit() || "+-.,:/%eETZ() $€£'\u{a0}".contains(char);
    // Numbers, dates and times.
    if cell.starts_with(|char: char| is_number(char) || char.is_ascii_digit())
        && cell.chars().all(is_number)
    {
        return true;
    }
    // Addresses, paths and JSON.
    if cell.contains("://") || (cell.contains('@') && !cell.contains(' ')) {
        return !cell.contains([',', ';', '|', '\t']);
    }
    if serde_json::from_str::<serde::de::IgnoredAny>(cell).is_ok() {
        return true;
    }
    // Words, with the punctuation of sentences.
    cell.chars()
        .all(|char| is_plain(char) || " .-&()!?'’+/\u{a0}".contains(char))
        && cell.chars().any(is_plain)
}

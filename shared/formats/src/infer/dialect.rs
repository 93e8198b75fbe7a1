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
    /// Whether all rows, unlike the header, end with a delimiter.
    pub(super) has_surplus: bool,
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
            for trim in trims(tried, delimiter, quote) {
                let Some(trial) = Trial::new(tried, delimiter, quote, escape, *trim) else {
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
        has_surplus: trial.has_surplus,
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

/// Returns whether spaces around cells may matter: they hide quotes.
fn trims(text: &str, delimiter: &str, quote: Option<u8>) -> &'static [bool] {
    let hides = |quote| text.contains(&format!("{delimiter} {}", char::from(quote)));
    if quote.is_some_and(hides) {
        &[false, true]
    } else {
        &[false]
    }
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
    has_surplus: bool,
}

impl Trial {
    fn empty(dialect: Dialect) -> Self {
        Self {
            dialect,
            score: 0.0,
            cells: 1,
            skip_lines: 0,
            skipped: 0,
            has_surplus: false,
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
        let cells = read.usual_cells()?;
        let has_surplus = read.has_surplus(cells);
        let skip = if has_surplus { 0 } else { read.preamble(cells) };
        // A line without spaces above words is more likely the name of a single column.
        if skip > 0 && delimiter == " " {
            return None;
        }
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
            cells: cells - usize::from(has_surplus),
            has_surplus,
            skip_lines: memchr_iter(b'\n', &text.as_bytes()[..skipped]).count(),
            skipped,
        })
    }
}

/// The records of a text under a dialect.
struct Read {
    records: Vec<ReadRecord>,
}

struct ReadRecord {
    start: usize,
    cells: usize,
    /// The number of cells that look like something.
    known: usize,
    /// Whether something is wrong with its quotes.
    is_faulty: bool,
    /// Whether its last cell is empty.
    ends_empty: bool,
    /// The number of its cells that are not empty.
    filled: usize,
    /// Whether it may be a title above the table: words in the first of several cells, or nothing.
    is_title: bool,
}

impl Read {
    fn new(text: &str, dialect: &Dialect) -> Self {
        let mut all = Records::new(text.as_bytes(), dialect);
        let mut read = Self {
            records: Vec::new(),
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
                let known = cells.iter().filter(|cell| is_known(cell)).count();
                let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
                let first = cells.get_or_empty(0);
                let is_word = first.is_empty() || first.chars().any(char::is_alphabetic);
                let is_rest_empty = filled == usize::from(!first.is_empty());
                read.records.push(ReadRecord {
                    filled,
                    is_title: cells.len() > 2 && is_word && is_rest_empty,
                    start: record.start,
                    cells: cells.len(),
                    known,
                    is_faulty: record.quotes != Quotes::Correct,
                    ends_empty: cells.iter().last().is_some_and(str::is_empty),
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

    /// Returns whether the first record lacks the last cell of the others, which is always empty.
    fn has_surplus(&self, cells: usize) -> bool {
        let Some((header, rows)) = self.records.split_first() else {
            return false;
        };
        let mut usual = rows.iter().filter(|row| row.cells == cells);
        header.cells > 1
            && header.cells + 1 == cells
            && !header.ends_empty
            && usual.all(|row| row.ends_empty)
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
        let first = (0..most).find(|index| is_usual(*index) && is_usual(index + 1));
        let first = first.unwrap_or(0);
        // Spreadsheets give a title as many cells as the table. A header without gaps follows it.
        let rest = &self.records[first..];
        let titles = rest.iter().take_while(|record| record.is_title).count();
        match rest.get(titles) {
            Some(header) if header.filled == cells => first + titles,
            _ => first,
        }
    }
}

/// Returns whether a cell looks like something people write into tables.
fn is_known(cell: &str) -> bool {
    let cell = cell.trim();
    if cell.is_empty() {
        return true;
    }
    let is_in = |quote| cell.len() > 1 && cell.starts_with(quote) && cell.ends_with(quote);
    if is_in('"') || is_in('\'') {
        // These are more likely the quotes of the cell.
        return false;
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

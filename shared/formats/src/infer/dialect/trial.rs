//! A dialect, tried on a text.

use std::collections::BTreeMap;

use landfall_domain::{CsvOptions, Format, Quote, Reading, excerpt};

use super::records::Read;
use crate::csv::dialect::Dialect;

/// What a record of a single cell is worth, compared to one of several.
const SINGLE_CELL: f64 = 1e-3;

/// How a dialect reads quotes and spaces.
#[derive(Clone, Copy)]
pub(super) struct Quoting {
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) trim: bool,
}

/// Returns a dialect.
pub(super) fn dialect_of(delimiter: &str, quoting: Quoting) -> Dialect {
    let options = CsvOptions {
        delimiter: Some(delimiter.to_owned()),
        quote: quoting.quote.map_or(Quote::None, Quote::Byte),
        escape: quoting.escape,
        trim: quoting.trim,
        ..CsvOptions::default()
    };
    Dialect::new(&options, &Reading::from(Format::Csv))
}

/// A dialect, and how well it fits.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) dialect: Dialect,
    pub(super) score: f64,
    /// The number of cells of most records.
    pub(super) cells: usize,
    /// The number of lines before the first record with so many cells.
    pub(super) skip_lines: usize,
    /// The length of these lines in bytes.
    pub(super) skipped: usize,
    /// The last of these lines, for people.
    pub(super) last_skipped: String,
    /// Whether all rows, unlike the header, end with a delimiter.
    pub(super) has_surplus: bool,
}

impl Trial {
    /// Returns what fits a text without records.
    pub(super) fn empty(dialect: Dialect) -> Self {
        Self {
            dialect,
            score: 0.0,
            cells: 1,
            skip_lines: 0,
            skipped: 0,
            last_skipped: String::new(),
            has_surplus: false,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "scores are approximate")]
    pub(super) fn new(text: &str, delimiter: &str, quoting: Quoting) -> Option<Self> {
        let dialect = dialect_of(delimiter, quoting);
        let mut read = Read::new(text, &dialect);
        // A wrong quote in the first line must not take the rows below with it.
        let broken = read.broken_line(text);
        if broken > 0 {
            read = Read::new(&text[broken..], &dialect);
        }
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
        let skipped = broken + kept.first().map_or(0, |record| record.start);
        Some(Self {
            dialect,
            score,
            cells: cells - usize::from(has_surplus),
            has_surplus,
            skip_lines: line_ends(&text[..skipped]),
            skipped,
            last_skipped: text[..skipped]
                .split(['\r', '\n'])
                .rfind(|line| !line.is_empty())
                .map_or_else(String::new, excerpt),
        })
    }
}

/// Returns the number of lines that end in a text: with LF, CR, or both.
fn line_ends(text: &str) -> usize {
    let pairs = text.matches("\r\n").count();
    text.matches(['\r', '\n']).count() - pairs
}

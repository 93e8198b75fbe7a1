//! Checks CSV and TSV against a parser that reads all bytes at once, and this parser against the `csv` crate.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use landfall_domain::{CsvOptions, Dataset, Format, ProblemCode, Quote, RejectCode, Value, Values};
use landfall_formats::{Header, decode};

use super::{Outcome, Setup, line_at, outcomes, scan, template};

static ONE_FIELD: LazyLock<Dataset> = LazyLock::new(|| template("", ""));

static TWO_FIELDS: LazyLock<Dataset> =
    LazyLock::new(|| template("", r#"{ name = "v", type = "text" }"#));

const BOM: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug)]
struct Expected {
    start: usize,
    end: usize,
    cells: Vec<Vec<u8>>,
    any_quoted: bool,
    unclosed: bool,
    text_after_quote: bool,
}

impl Expected {
    /// Returns whether the record is skipped because it is blank or names the columns.
    fn is_skipped(&self, options: &CsvOptions) -> bool {
        let is_correct = !self.unclosed && !self.text_after_quote;
        let cells = self.cells.iter().map(|cell| std::str::from_utf8(cell));
        let Ok(cells) = cells.collect::<Result<Vec<&str>, _>>() else {
            return false;
        };
        let mut cells: Vec<&str> = cells.into_iter().map(str::trim).collect();
        cells.truncate(
            cells
                .iter()
                .rposition(|cell| !cell.is_empty())
                .map_or(0, |last| last + 1),
        );
        is_correct
            && (cells == ["k", "v"]
                || cells.is_empty() && !(options.quoted_empty && self.any_quoted))
    }

    /// Returns whether the record is as long as the header, and has the same cells in another order.
    fn is_in_other_order(&self, header: &Self, setup: &Setup, data: &[u8]) -> bool {
        let parser = Parser::new(setup, data);
        let special: Vec<u8> = parser.quote.into_iter().chain(setup.csv.escape).collect();
        let is_special = |byte: &u8| special.contains(byte) || parser.delimiter.contains(byte);
        let trimmed = |record: &Self| -> Vec<Vec<u8>> {
            let cells = record.cells.iter();
            cells.map(|cell| cell.trim_ascii().to_vec()).collect()
        };
        let (names, cells) = (trimmed(header), trimmed(self));
        let different: BTreeSet<_> = names.iter().collect();
        let is_simple = names.iter().all(|name| {
            let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
            name.iter().any(is_letter) && !name.iter().any(is_special)
        });
        let raw = &data[header.start..header.end];
        let is_escaped = setup.csv.escape.is_some_and(|escape| raw.contains(&escape));
        self.end - self.start == raw.len()
            && parser.delimiter.len() == 1
            && is_simple
            && !is_escaped
            && !header.unclosed
            && !header.text_after_quote
            && !self.unclosed
            && !self.text_after_quote
            && different.len() == names.len()
            && different == cells.iter().collect()
            && cells.len() == names.len()
            && cells != names
    }

    /// Returns whether the record names the columns in another place.
    fn is_other_header(&self) -> bool {
        let cells = self.cells.iter().map(|cell| std::str::from_utf8(cell));
        let filled = cells.map(|cell| cell.unwrap_or("?").trim());
        let mut filled: Vec<&str> = filled.filter(|cell| !cell.is_empty()).collect();
        filled.sort_unstable();
        filled == ["k", "v"]
    }
}

pub(super) fn check(setup: &Setup, data: &[u8]) {
    let dataset = setup.dataset(&TWO_FIELDS);
    let found = scan(setup, &dataset, data);
    if !data.is_empty() && lines(data) <= u64::from(setup.csv.skip_lines) {
        assert_eq!(found.end.unwrap_err().code, ProblemCode::HeaderMismatch);
        return;
    }
    let mut expected = Parser::new(setup, data).records();
    if is_plain(&setup.csv)
        && !data
            .strip_prefix(BOM)
            .unwrap_or(data)
            .windows(3)
            .any(|it| it == BOM)
    {
        let cells: Vec<_> = expected.iter().map(|record| record.cells.clone()).collect();
        assert_eq!(cells, parsed_by_csv(setup, data));
    }
    let headers = (setup.csv.header_records as usize).min(expected.len());
    let header: Vec<Expected> = expected.drain(..headers).collect();
    if let [header] = header.as_slice()
        && setup.csv.header_records == 1
        && (header.end - header.start) as u64 <= setup.record_bytes
        && let Some(other) = expected
            .iter()
            .position(|record| record.is_in_other_order(header, setup, data))
    {
        assert_eq!(found.end.unwrap_err().code, ProblemCode::HeaderMismatch);
        let planned: u64 = found.chunks.iter().map(|chunk| chunk.records).sum();
        assert_eq!(planned, other as u64);
        return;
    }
    if let (Some(first), Some(last)) = (header.first(), header.last()) {
        let (start, end) = (first.start as u64, last.end as u64);
        if end - start > setup.record_bytes {
            assert_eq!(found.end.unwrap_err().code, ProblemCode::HeaderMismatch);
            assert!(found.chunks.is_empty());
            return;
        }
        let range = found.end.as_ref().unwrap().header.unwrap();
        assert_eq!(range.start, start);
        assert!(range.end == end || header.len() < setup.csv.header_records as usize);
        if let [only] = header.as_slice() {
            check_header(setup, &data[only.start..only.end], only);
        }
    }
    let summary = found.end.unwrap();
    let last = expected.last().or(header.last());
    let unclosed = last.is_some_and(|last| last.unclosed);
    assert_eq!(summary.open_quote.is_some(), unclosed);
    assert_eq!(summary.records, expected.len() as u64);
    let outcomes = outcomes(setup, &dataset, data, &found.chunks);
    let oversize = |record: &Expected| (record.end - record.start) as u64 > setup.record_bytes;
    expected.retain(|record| oversize(record) || !record.is_skipped(&setup.csv));
    assert_eq!(outcomes.len(), expected.len());
    if expected.iter().any(Expected::is_other_header) {
        return;
    }
    for (outcome, expected) in outcomes.iter().zip(&expected) {
        check_record(setup, data, outcome, expected);
    }
}

/// Returns the number of lines, of which the last one does not end.
fn lines(data: &[u8]) -> u64 {
    line_at(data, data.len() as u64, true)
}

/// Decodes a header record: it can be parsed if the key has exactly one column, and repeats itself.
fn check_header(setup: &Setup, raw: &[u8], expected: &Expected) {
    let dataset = setup.dataset(&ONE_FIELD);
    let texts: Option<Vec<&str>> = expected
        .cells
        .iter()
        .map(|cell| std::str::from_utf8(cell).ok())
        .collect();
    let exact = |texts: &[&str]| texts.iter().filter(|text| **text == "k").count();
    let folded = |texts: &[&str]| texts.iter().filter(|text| text.trim() == "k").count();
    let usable = !raw.contains(&0)
        && !expected.unclosed
        && (setup.csv.lenient || !expected.text_after_quote)
        && texts
            .is_some_and(|texts| exact(&texts) == 1 || (exact(&texts) == 0 && folded(&texts) == 1));
    let header = Header::parse(raw, &dataset, &setup.reading());
    assert_eq!(header.is_ok(), usable, "{header:?}");
    let Ok(header) = header else {
        return;
    };
    let decoded = decode(&dataset, &setup.reading(), Some(&header), raw, 0, 1);
    let is_repeated = !expected.text_after_quote;
    assert_eq!(decoded.skipped.repeated_headers, u64::from(is_repeated));
    assert_eq!(decoded.rows.len(), usize::from(!is_repeated));
}

fn check_record(setup: &Setup, data: &[u8], outcome: &Outcome, expected: &Expected) {
    let (start, end) = (expected.start as u64, expected.end as u64);
    assert_eq!(outcome.offset(), start);
    let raw = &data[expected.start..expected.end];
    if end - start > setup.record_bytes {
        assert!(matches!(outcome, Outcome::Oversize(from, to) if (*from, *to) == (start, end)));
        return;
    }
    let texts: Option<Vec<&str>> = expected
        .cells
        .iter()
        .map(|cell| std::str::from_utf8(cell).ok())
        .collect();
    let code = match &texts {
        _ if expected.unclosed => RejectCode::UnclosedQuote,
        _ if expected.text_after_quote && !setup.csv.lenient => RejectCode::TextAfterQuote,
        None => RejectCode::Encoding,
        Some(_) if raw.contains(&0) => RejectCode::Encoding,
        Some(texts) => match fitting(&setup.csv, texts) {
            None => RejectCode::ColumnCount,
            Some([key, _]) if key.is_none() => RejectCode::Required,
            Some([key, _]) if key.is_some_and(|key| key.len() > landfall_domain::MAX_KEY_BYTES) => {
                RejectCode::KeyLength
            }
            Some(cells) => {
                let Outcome::Row(row) = outcome else {
                    panic!("{outcome:?}, not {texts:?}");
                };
                let values =
                    cells.map(|cell| cell.map_or(Value::Null, |text| Value::Text(text.into())));
                assert_eq!(row.values, Values::from_iter(values));
                return;
            }
        },
    };
    let Outcome::Reject(reject) = outcome else {
        panic!("{outcome:?}, not {code:?}");
    };
    assert_eq!(reject.code, code);
    assert_eq!(reject.raw_bytes, end - start);
    assert_eq!(reject.line, line_at(data, start, true));
}

/// Returns the cells of the two columns, if there are as many as the options allow.
fn fitting<'a>(options: &CsvOptions, texts: &[&'a str]) -> Option<[Option<&'a str>; 2]> {
    let is_flexible = options.flexible && texts.iter().skip(2).all(|text| text.is_empty());
    let cells = [texts.first().copied(), texts.get(1).copied()];
    (texts.len() == 2 || is_flexible).then_some(cells)
}

/// A parser of a whole file, as simple as the rules.
struct Parser<'a> {
    options: &'a CsvOptions,
    delimiter: &'a [u8],
    quote: Option<u8>,
    data: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(setup: &'a Setup, data: &'a [u8]) -> Self {
        let usual = if setup.format == Format::Tsv {
            "\t"
        } else {
            ","
        };
        Self {
            options: &setup.csv,
            delimiter: setup.csv.delimiter.as_deref().unwrap_or(usual).as_bytes(),
            quote: match setup.csv.quote {
                Quote::Usual => Some(b'"'),
                Quote::None => None,
                Quote::Byte(byte) => Some(byte),
            },
            data,
            at: 0,
        }
    }

    fn records(mut self) -> Vec<Expected> {
        if self.sees(BOM) {
            self.at += 3;
        }
        for _ in 0..self.options.skip_lines {
            self.skip_line();
            if self.sees(b"\r\n") {
                self.at += 1;
            }
            self.at = (self.at + 1).min(self.data.len());
        }
        let mut records = Vec::new();
        while let Some(byte) = self.peek() {
            if matches!(byte, b'\r' | b'\n') {
                self.at += 1;
            } else if Some(byte) == self.options.comment {
                self.skip_line();
            } else if self.sees(BOM) {
                self.at += 3;
            } else {
                records.push(self.record());
            }
        }
        records
    }

    fn record(&mut self) -> Expected {
        let mut record = Expected {
            start: self.at,
            end: 0,
            cells: Vec::new(),
            any_quoted: false,
            unclosed: false,
            text_after_quote: false,
        };
        loop {
            let cell = self.cell(&mut record);
            record.cells.push(cell);
            if !self.sees(self.delimiter) {
                record.end = self.at;
                return record;
            }
            self.at += self.delimiter.len();
        }
    }

    fn cell(&mut self, record: &mut Expected) -> Vec<u8> {
        let mut cell = Vec::new();
        self.skip_space();
        let is_quoted = self.quote.is_some() && self.peek() == self.quote;
        if is_quoted {
            record.any_quoted = true;
            self.at += 1;
            record.unclosed = !self.quoted(&mut cell);
            self.skip_space();
        }
        let (kept, start) = (cell.len(), self.at);
        while let Some(byte) = self.peek()
            && !matches!(byte, b'\r' | b'\n')
            && !self.sees(self.delimiter)
        {
            self.at += 1;
            match (Some(byte) == self.options.escape, self.peek()) {
                (true, None) => {}
                (true, Some(next)) => {
                    self.at += 1;
                    let ends = self.peek().is_none_or(|byte| matches!(byte, b'\r' | b'\n'))
                        || self.sees(self.delimiter);
                    if next == b'N' && ends && self.at == start + 2 {
                        cell.push(byte);
                    }
                    cell.push(self.escaped(next));
                }
                (false, _) => cell.push(byte),
            }
        }
        record.text_after_quote |= is_quoted && self.at > start && !record.unclosed;
        while cell.len() > kept && cell.last().is_some_and(|byte| self.is_space(*byte)) {
            cell.pop();
        }
        cell
    }

    /// Reads up to the closing quote, and returns whether there is one.
    fn quoted(&mut self, cell: &mut Vec<u8>) -> bool {
        while let Some(byte) = self.peek() {
            self.at += 1;
            if Some(byte) == self.options.escape {
                cell.extend(self.peek().map(|next| self.escaped(next)));
                self.at = (self.at + 1).min(self.data.len());
            } else if Some(byte) != self.quote {
                cell.push(byte);
            } else if self.peek() == self.quote {
                cell.push(byte);
                self.at += 1;
            } else {
                return true;
            }
        }
        false
    }

    fn escaped(&self, byte: u8) -> u8 {
        let control = "b\x08t\tn\nv\x0bf\x0cr\r".as_bytes().chunks(2);
        let control = control.filter(|_| self.options.escape == Some(b'\\'));
        let mut control = control.filter(|pair| pair[0] == byte);
        control.next().map_or(byte, |pair| pair[1])
    }

    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    fn sees(&self, bytes: &[u8]) -> bool {
        self.data[self.at..].starts_with(bytes)
    }

    fn skip_line(&mut self) {
        while self
            .peek()
            .is_some_and(|byte| !matches!(byte, b'\r' | b'\n'))
        {
            self.at += 1;
        }
    }

    fn is_space(&self, byte: u8) -> bool {
        self.options.trim && matches!(byte, b' ' | b'\t') && !self.delimiter.contains(&byte)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| self.is_space(byte)) {
            self.at += 1;
        }
    }
}

/// Returns whether the `csv` crate knows all of these options.
fn is_plain(options: &CsvOptions) -> bool {
    let delimiter = options.delimiter.as_deref().unwrap_or(",");
    delimiter.len() == 1
        && options.escape.is_none()
        && options.comment.is_none()
        && !options.trim
        && options.skip_lines == 0
}

fn parsed_by_csv(setup: &Setup, data: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let parser = Parser::new(setup, data);
    let mut builder = csv::ReaderBuilder::new();
    builder
        .has_headers(false)
        .flexible(true)
        .delimiter(parser.delimiter[0])
        .quoting(parser.quote.is_some());
    if let Some(quote) = parser.quote {
        builder.quote(quote);
    }
    let mut reader = builder.from_reader(data);
    let records = reader.byte_records().map(|record| {
        let record = record.unwrap();
        record.iter().map(<[u8]>::to_vec).collect()
    });
    records.collect()
}

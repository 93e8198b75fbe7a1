//! Checks CSV and TSV against the `csv` crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use landfall_domain::{Dataset, ProblemCode, RejectCode, Value, Values};
use landfall_formats::{Header, decode};

use super::{Outcome, Setup, line_at, outcomes, scan, template};

static ONE_FIELD: LazyLock<Dataset> = LazyLock::new(|| template("", ""));

static TWO_FIELDS: LazyLock<Dataset> =
    LazyLock::new(|| template("", r#"{ name = "v", type = "text" }"#));

struct Expected {
    start: usize,
    end: usize,
    cells: Vec<Vec<u8>>,
    unclosed: bool,
}

pub(super) fn check(setup: &Setup, data: &[u8]) {
    let dataset = setup.dataset(&TWO_FIELDS);
    let found = scan(setup, &dataset, data);
    let mut expected = records(setup, data);
    if setup.csv.header && !expected.is_empty() {
        let header = expected.remove(0);
        if (header.end - header.start) as u64 > setup.record_bytes {
            assert_eq!(found.end.unwrap_err().code, ProblemCode::HeaderMismatch);
            assert!(found.chunks.is_empty());
            return;
        }
        let range = found.end.as_ref().unwrap().header.unwrap();
        assert_eq!(
            (range.start, range.end),
            (header.start as u64, header.end as u64)
        );
        let raw = &data[header.start..header.end];
        // After blank lines, the csv crate keeps a byte order mark as part of a name; `Header` strips it.
        if !raw.starts_with(b"\xef\xbb\xbf") {
            check_header(setup, raw, &header);
        }
    }
    let summary = found.end.unwrap();
    let unclosed = expected.last().is_some_and(|last| last.unclosed);
    if !expected.is_empty() {
        assert_eq!(summary.open_quote.is_some(), unclosed);
    }
    let outcomes = outcomes(setup, &dataset, data, &found.chunks);
    assert_eq!(outcomes.len(), expected.len());
    for (outcome, expected) in outcomes.iter().zip(&expected) {
        check_record(setup, data, outcome, expected);
    }
}

/// Decodes the header record with itself as the header: every column must contain its own name.
fn check_header(setup: &Setup, raw: &[u8], expected: &Expected) {
    let dataset = setup.dataset(&ONE_FIELD);
    let names: BTreeSet<&[u8]> = expected.cells.iter().map(Vec::as_slice).collect();
    let usable = names.contains(b"k".as_slice())
        && names.len() == expected.cells.len()
        && expected
            .cells
            .iter()
            .all(|cell| std::str::from_utf8(cell).is_ok())
        && !raw.contains(&0)
        && !expected.unclosed;
    let header = Header::parse(raw, &dataset, setup.format);
    assert_eq!(header.is_ok(), usable, "{header:?}");
    let Ok(header) = header else {
        return;
    };
    let decoded = decode(&dataset, setup.format, Some(&header), raw, 0, 1);
    assert_eq!(decoded.rows[0].values[..], [Value::Text("k".into())]);
    let extra = decoded.rows[0].extra.as_deref().unwrap_or("{}");
    let extra: BTreeMap<String, String> = serde_json::from_str(extra).unwrap();
    assert_eq!(extra.len() + 1, names.len());
    assert!(extra.iter().all(|(name, cell)| name == cell));
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
        None => RejectCode::Encoding,
        Some(_) if raw.contains(&0) => RejectCode::Encoding,
        Some(texts) if texts.len() != 2 => RejectCode::ColumnCount,
        Some(texts) if texts[0].len() > landfall_domain::MAX_KEY_BYTES => RejectCode::KeyLength,
        Some(texts) => {
            let Outcome::Row(row) = outcome else {
                panic!("{outcome:?}, not {texts:?}");
            };
            let values: Values = texts
                .iter()
                .map(|text| Value::Text((*text).into()))
                .collect();
            assert_eq!(row.values, values);
            return;
        }
    };
    let Outcome::Reject(reject) = outcome else {
        panic!("{outcome:?}, not {code:?}");
    };
    assert_eq!(reject.code, code);
    assert_eq!(reject.raw_bytes, end - start);
    assert_eq!(reject.line, line_at(data, start));
}

/// Returns every record that the `csv` crate finds, without blank lines and terminators.
fn records(setup: &Setup, data: &[u8]) -> Vec<Expected> {
    let parsed = parse(setup, data);
    // A record appended to the data is found only if the last one is closed.
    let longer = parse(setup, &[data, b"\na"].concat());
    let unclosed = !parsed.is_empty() && longer.len() == parsed.len();
    let mut records = Vec::new();
    for (index, (position, cells)) in parsed.iter().enumerate() {
        let mut start = *position;
        if start == 0 && data.starts_with(b"\xef\xbb\xbf") {
            start = 3;
        }
        while matches!(data[start], b'\r' | b'\n') {
            start += 1;
        }
        let is_last = index + 1 == parsed.len();
        let mut end = if is_last {
            data.len()
        } else {
            parsed[index + 1].0
        };
        while !(is_last && unclosed) && matches!(data[end - 1], b'\r' | b'\n') {
            end -= 1;
        }
        records.push(Expected {
            start,
            end,
            cells: cells.clone(),
            unclosed: is_last && unclosed,
        });
    }
    records
}

fn parse(setup: &Setup, data: &[u8]) -> Vec<(usize, Vec<Vec<u8>>)> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(setup.csv.delimiter_for(setup.format))
        .quote(setup.csv.quote)
        .from_reader(data);
    let records = reader.byte_records().map(|record| {
        let record = record.unwrap();
        let start = usize::try_from(record.position().unwrap().byte()).unwrap();
        (start, record.iter().map(<[u8]>::to_vec).collect())
    });
    records.collect()
}

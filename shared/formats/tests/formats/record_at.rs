//! Records that are found again by their places.

use landfall_domain::{Dataset, JobId, ObjectRef, Outcome, PlannedChunk, Reading, RejectsOrigin};
use landfall_formats::{FoundRecord, Header, Scanner, decode_chunk, detect, record_at};

const FIELDS: &str = r#"[{ name = "sku", type = "text" }, { name = "price", type = "decimal" }]"#;

fn dataset(settings: &str) -> Dataset {
    let text = format!("name = \"d\"\nkey = [\"sku\"]\n{settings}\nfields = {FIELDS}");
    Dataset::from_toml("d.toml", &text).unwrap()
}

/// An object and its chunks.
struct Planned<'a> {
    dataset: &'a Dataset,
    object: &'a [u8],
    reading: Reading,
    chunks: Vec<PlannedChunk>,
    header: Option<Header>,
}

impl<'a> Planned<'a> {
    fn new(dataset: &'a Dataset, reading: Reading, object: &'a [u8], chunk_bytes: u64) -> Self {
        let mut scanner = Scanner::new(dataset, &reading, chunk_bytes);
        let mut chunks = Vec::new();
        scanner.feed(object, &mut chunks).unwrap();
        let summary = scanner.finish(&mut chunks).unwrap();
        let header = summary.header.map(|range| {
            let bytes = part(object, range.start, range.end);
            Header::parse(bytes, dataset, &reading).unwrap()
        });
        Self {
            dataset,
            object,
            reading,
            chunks,
            header,
        }
    }

    fn bytes(&self, chunk: &PlannedChunk) -> &'a [u8] {
        let range = chunk.bytes();
        part(self.object, range.start, range.end)
    }

    fn find(&self, offset: u64) -> Option<FoundRecord> {
        let (dataset, header) = (self.dataset, self.header.as_ref());
        let found = self.chunks.iter().filter_map(|chunk| {
            let bytes = self.bytes(chunk);
            record_at(
                ("orders/1.csv", chunk),
                dataset,
                &self.reading,
                header,
                bytes,
                offset,
            )
        });
        let found: Vec<_> = found.collect();
        assert!(found.len() <= 1, "{found:?}");
        found.into_iter().next()
    }

    /// Returns the places of all rows and rejects.
    fn places(&self) -> Vec<u64> {
        let chunks = self.chunks.iter().flat_map(|chunk| {
            let (header, bytes) = (self.header.as_ref(), self.bytes(chunk));
            let decoded = decode_chunk(
                ("orders/1.csv", chunk),
                self.dataset,
                &self.reading,
                header,
                bytes,
            );
            let rows = decoded.rows.into_iter().map(|row| row.offset);
            let rejects = decoded.rejects.into_iter().map(|reject| reject.offset);
            rows.chain(rejects).collect::<Vec<_>>()
        });
        let mut places: Vec<u64> = chunks.collect();
        places.sort_unstable();
        places
    }
}

fn part(object: &[u8], start: u64, end: u64) -> &[u8] {
    &object[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]
}

/// Asserts the line, the text and the outcome of each record, whatever the size of the chunks.
fn assert_records(settings: &str, name: &str, object: &[u8], expected: &[(u64, &str, Outcome)]) {
    let dataset = dataset(settings);
    let reading = detect(name, object, &dataset).unwrap();
    for chunk_bytes in [1, 20, 1_000] {
        let planned = Planned::new(&dataset, reading.clone(), object, chunk_bytes);
        let found = planned.places().into_iter().map(|place| {
            let FoundRecord { line, record } = planned.find(place).unwrap();
            assert_eq!(record.bytes, record.text.len() as u64);
            assert_eq!(record.reason.is_some(), record.outcome == Outcome::Reject);
            (line, record.text, record.outcome)
        });
        let expected = expected
            .iter()
            .map(|(line, text, outcome)| (*line, (*text).to_owned(), *outcome));
        assert_eq!(
            found.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{name} {chunk_bytes}"
        );
        // Only where a record starts, there is one.
        assert_eq!(planned.find(planned.places()[0] + 1), None);
        assert_eq!(planned.find(object.len() as u64), None);
    }
}

use Outcome::{Delete, Reject, Row};

#[test]
fn records_of_csv_have_their_lines() {
    let file = "sku,price\r\na,1\r\n\r\n\"b\nc\",2\nd,x\n,\ne,3";
    let expected = [
        (2, "a,1", Row),
        (4, "\"b\nc\",2", Row),
        (6, "d,x", Reject),
        (8, "e,3", Row),
    ];
    assert_records("", "d/1.csv", file.as_bytes(), &expected);
    let deletes = "sku,price,op\na,1,\nb,,d\n";
    let operation = "operation = { column = \"op\", delete = [\"d\"] }";
    let expected = [(2, "a,1,", Row), (3, "b,,d", Delete)];
    assert_records(operation, "d/1.csv", deletes.as_bytes(), &expected);
}

#[test]
fn a_record_after_another_header_is_the_reject_that_the_worker_made_of_it() {
    let file = "sku,price,a\nx,1,2\nsku,price\ny,1,2\n";
    let expected = [
        (2, "x,1,2", Row),
        (3, "sku,price", Reject),
        (4, "y,1,2", Reject),
    ];
    let dataset = dataset("csv = { flexible = true }");
    let reading = detect("d/1.csv", file.as_bytes(), &dataset).unwrap();
    let planned = Planned::new(&dataset, reading, file.as_bytes(), 1_000);
    let found = planned.places().into_iter().map(|place| {
        let FoundRecord { line, record } = planned.find(place).unwrap();
        (line, record.text, record.outcome)
    });
    let expected = expected.map(|(line, text, outcome)| (line, text.to_owned(), outcome));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn records_of_json_have_their_lines() {
    let (one, two) = (r#"{"sku":"a"}"#, r#"{"sku":"b","price":"x"}"#);
    let lines = format!("{one}\n\n{one}{two}\n7\n");
    let expected = [
        (1, one, Row),
        (3, one, Row),
        (3, two, Reject),
        (4, "7", Reject),
    ];
    assert_records("", "d/1.ndjson", lines.as_bytes(), &expected);
    let document = format!("[\n{one},\n{two}, {one}]");
    let expected = [(2, one, Row), (3, two, Reject), (3, one, Row)];
    assert_records("", "d/1.json", document.as_bytes(), &expected);
}

#[test]
fn records_in_other_encodings_are_text() {
    let file = "sku,price\ncafé €,1\nb,2\n";
    let utf_16: Vec<u8> = file.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let dataset = dataset("encoding = \"utf-16le\"");
    let reading = detect("d/1.csv", &utf_16, &dataset).unwrap();
    let planned = Planned::new(&dataset, reading, &utf_16, 1_000);
    let texts = planned
        .places()
        .into_iter()
        .map(|place| planned.find(place).unwrap().record.text);
    assert_eq!(texts.collect::<Vec<_>>(), ["café €,1", "b,2"]);
    let latin = b"sku,price\ncaf\xe9,1\nb,2\n";
    let expected = [(2, "café,1", Row), (3, "b,2", Row)];
    let dataset = self::dataset("encoding = \"windows-1252\"");
    let reading = detect("d/1.csv", latin, &dataset).unwrap();
    let planned = Planned::new(&dataset, reading, latin, 1_000);
    for (place, (line, text, outcome)) in planned.places().into_iter().zip(expected) {
        let found = planned.find(place).unwrap();
        assert_eq!(
            (found.line, &*found.record.text, found.record.outcome),
            (line, text, outcome)
        );
    }
}

#[test]
fn long_records_are_cut() {
    let long = format!("sku,price\n{},1\nb,2\n", "é".repeat(20_000));
    let dataset = dataset("");
    let reading = detect("d/1.csv", long.as_bytes(), &dataset).unwrap();
    let planned = Planned::new(&dataset, reading, long.as_bytes(), 1_000);
    let found = planned.find(10).unwrap().record;
    assert_eq!((found.text.len(), found.bytes), (16 * 1024, 40_002));
    let limited = self::dataset("limits = { record_bytes = 100 }");
    let reading = detect("d/1.csv", long.as_bytes(), &limited).unwrap();
    let planned = Planned::new(&limited, reading, long.as_bytes(), 1_000);
    let found = planned.find(10).unwrap();
    assert_eq!(
        (found.line, found.record.bytes, found.record.outcome),
        (2, 40_002, Reject)
    );
}

#[test]
fn a_fixed_reject_is_found_by_the_place_of_its_record() {
    let job = JobId::for_object("inbox", "d/1.csv", "v1");
    let object = ObjectRef {
        bucket: "inbox".to_owned(),
        key: "d/1.csv".to_owned(),
        version: Some("v1".to_owned()),
        etag: String::new(),
        size: 500,
    };
    let line = |offset: u64, price: &str| {
        serde_json::json!({
            "bucket": "inbox", "key": "d/1.csv", "version": "v1", "format": "csv", "offset": offset, "line": 9,
            "code": "type", "message": "no", "raw": "a,x", "raw_bytes": 3, "record": {"sku": "a", "price": price},
        })
        .to_string()
    };
    let (good, bad) = (line(400, "1"), line(300, "y"));
    let file = format!("{good}\nno reject\n{bad}\n");
    let reading = Reading {
        rejects_of: Some(RejectsOrigin {
            job,
            object,
            is_packed: false,
        }),
        ..landfall_domain::Format::Ndjson.into()
    };
    let dataset = dataset("");
    for chunk_bytes in [1, 10_000] {
        let planned = Planned::new(&dataset, reading.clone(), file.as_bytes(), chunk_bytes);
        for (offset, line, text, outcome) in [(400, 1, &good, Row), (300, 3, &bad, Reject)] {
            let found = planned.find(offset).unwrap();
            assert_eq!(
                (found.line, &found.record.text, found.record.outcome),
                (line, text, outcome)
            );
        }
        assert_eq!(planned.find(0), None);
    }
}

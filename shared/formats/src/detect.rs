//! Detects the format of an object from its dataset, its name and its first bytes.

use landfall_domain::{
    Codec, CsvOptions, Dataset, Encoding, Format, Mode, Problem, ProblemCode, Quote, Reading,
    RejectCode, Warning, WarningCode, excerpt,
};
use memchr::{memchr, memchr_iter, memchr2};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::csv::dialect::Dialect;
use crate::csv::records::{Quotes, Records};
use crate::exported;
use crate::json_value::JsonValue;
use crate::syntax::{BOM, is_between_json, is_json_space};
use crate::transcode::Transcoded;

/// The maximum number of bytes of an object that [`detect`] reads.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;

/// Decides how to read the object `key`. `head` contains its first bytes, of which at most 64 KiB are read. Those of a
/// compressed object are unpacked before.
///
/// The format of the dataset takes precedence, then the extension of the key without that of a compressed file, then
/// the content. Blank content matches any format. Files that the API has written are recognized first.
///
/// # Errors
/// `FormatMismatch` if the content does not match the format of the dataset or the extension, or is in
/// a format that Landfall does not read. The message says what was found and what to do.
pub fn detect(key: &str, head: &[u8], dataset: &Dataset) -> Result<Reading, Problem> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let marked = Encoding::for_mark(head).map(|(encoding, _)| encoding);
    let encoding = marked.unwrap_or(dataset.encoding);
    let transcoded = (encoding != Encoding::UTF_8)
        .then(|| Transcoded::new(encoding, &head[..head.len() / 2 * 2]).text);
    let head = transcoded.as_deref().map_or(head, str::as_bytes);
    if let Some(reading) = exported::detect(trimmed(head), marked) {
        if dataset.mode == Mode::Snapshot {
            return Err(mismatch(
                "the content was downloaded from Landfall, and may be a part of the rows only, but files of this \
                 dataset are snapshots, which delete the rows that they lack: upload a complete file from the source"
                    .to_owned(),
            ));
        }
        return Ok(reading);
    }
    let format = detect_format(key, head, dataset)?;
    let mut reading = Reading::from(format);
    reading.encoding = encoding;
    if matches!(format, Format::Csv | Format::Tsv) {
        reading.delimiter = delimiter_line(head, &dataset.csv);
        reading.unquoted = format == Format::Tsv && are_quotes_data(head, &dataset.csv, &reading);
    }
    Ok(reading)
}

/// Returns the warning about quotes that the definition says nothing about, if the object has any.
pub fn quoting_warning(dataset: &Dataset, reading: &Reading, saw_quoted: bool) -> Option<Warning> {
    let is_undecided = dataset.csv.quote == Quote::Usual && reading.format == Format::Tsv;
    let message = match (is_undecided, reading.unquoted, saw_quoted) {
        (true, true, _) => {
            "quotes are kept as data, because the file begins with some that do not enclose a cell: set csv.quote in \
             the definition, to \"\" if that is right"
        }
        (true, false, true) => {
            "quotes around cells are removed: set csv.quote in the definition, to \"\" if they are data"
        }
        _ => return None,
    };
    Some(Warning::new(WarningCode::Quoting, message))
}

/// Returns the delimiter that a first line like `sep=;` sets, which Excel writes and reads.
fn delimiter_line(head: &[u8], options: &CsvOptions) -> Option<String> {
    let text = head.strip_prefix(&BOM).unwrap_or(head);
    let line = &text[..memchr2(b'\r', b'\n', text)?];
    let line = std::str::from_utf8(line).ok()?;
    let quoted = line
        .strip_prefix('"')
        .and_then(|line| line.strip_suffix('"'));
    let (sep, delimiter) = quoted.unwrap_or(line).split_at_checked(4)?;
    if !sep.eq_ignore_ascii_case("sep=") {
        return None;
    }
    let is_one = delimiter.chars().count() == 1 && !delimiter.contains(['"', '\0']);
    (is_one && options.skip_lines == 0).then(|| delimiter.to_owned())
}

/// Returns whether quotes cannot enclose cells: text follows a closing one, or a cell has swallowed a line.
fn are_quotes_data(head: &[u8], options: &CsvOptions, reading: &Reading) -> bool {
    if options.quote != Quote::Usual {
        return false;
    }
    let dialect = Dialect::new(options, reading);
    let mut records = Records::new(head, &dialect);
    let is_whole = head.len() < HEAD_BYTES;
    while let Some(block) = records.next_block() {
        for record in block.records {
            let has_swallowed = || {
                block.cells(record).is_some_and(|cells| {
                    cells
                        .iter()
                        .any(|cell| cell.contains('\n') && cell.contains('\t'))
                }) && memchr(b'\n', record.raw).is_some()
            };
            match record.quotes {
                Quotes::TextAfter => return true,
                Quotes::Unclosed if is_whole || has_swallowed() => return true,
                Quotes::Correct if has_swallowed() => return true,
                Quotes::Unclosed | Quotes::Correct => {}
            }
        }
    }
    false
}

fn detect_format(key: &str, head: &[u8], dataset: &Dataset) -> Result<Format, Problem> {
    if let Some((content, remedy)) = unsupported(head) {
        return Err(mismatch(format!("the content is {content}: {remedy}")));
    }
    if let Some(key) = key_of_rejects(head, dataset) {
        return Err(mismatch(format!(
            "the content is rejects of the file {:?}: upload them on the page of its job, or send them to \
             POST /jobs/<job>/rejects, so that they keep their places",
            excerpt(&key)
        )));
    }
    let declared = dataset.format.or_else(|| by_extension(key));
    match (declared, Content::classify(head, dataset)) {
        (Some(format), Content::Blank)
        | (Some(format @ (Format::Csv | Format::Tsv)), Content::Text) => Ok(format),
        (None, Content::Blank) if dataset.json.path.is_empty() => Ok(Format::Csv),
        (None, Content::Text) => Ok(delimited(head, dataset)),
        // Objects are read in the way that suits them, whether the file is called JSON or NDJSON.
        (Some(Format::Json | Format::Ndjson) | None, Content::Objects(objects)) => {
            Ok(objects.format(declared, head, dataset))
        }
        (Some(Format::Json | Format::Ndjson) | None, Content::Rows) => {
            if dataset.last_position().is_some() {
                return Ok(Format::Ndjson);
            }
            let message = "the content is JSON arrays, one per row: set position for each field in the definition";
            Err(mismatch(message.to_owned()))
        }
        // A line that is not JSON becomes a reject, if other lines are.
        (Some(Format::Ndjson), Content::Text) if has_object_line(head) => Ok(Format::Ndjson),
        (Some(Format::Json) | None, Content::Array) | (None, Content::Blank) => Ok(Format::Json),
        (Some(Format::Json), Content::Text) if trimmed(head).starts_with(b"[") => Ok(Format::Json),
        (Some(format), content) => {
            let (declared_by, remedy) = if dataset.format.is_some() {
                (
                    "definition of the dataset",
                    "upload a file in that format, or change the definition",
                )
            } else {
                ("name of the object", content.remedy())
            };
            Err(mismatch(format!(
                "the content is {}, not {} as the {declared_by} says: {remedy}",
                content.describe(),
                format.as_str(),
            )))
        }
    }
}

/// Returns the key of the object whose rejects the content is, as they were downloaded.
fn key_of_rejects(head: &[u8], dataset: &Dataset) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        key: String,
        #[serde(rename = "bucket")]
        _bucket: String,
        #[serde(rename = "offset")]
        _offset: u64,
        #[serde(rename = "code")]
        _code: RejectCode,
        #[serde(rename = "raw_bytes")]
        _raw_bytes: u64,
    }
    let text = trimmed(head);
    let first = &text[..value_end(text)?];
    let line: Line = serde_json::from_slice(first).ok()?;
    // A dataset may be about rejects.
    let mut fields = dataset.fields.iter();
    fields
        .all(|field| field.column != "raw_bytes")
        .then_some(line.key)
}

fn mismatch(message: String) -> Problem {
    Problem::new(ProblemCode::FormatMismatch, message)
}

fn by_extension(key: &str) -> Option<Format> {
    let name = Codec::unpacked_name(key.rsplit('/').next()?);
    let (_, extension) = name.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "csv" => Some(Format::Csv),
        "tsv" | "tab" => Some(Format::Tsv),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// What the content looks like.
#[derive(Clone, Copy)]
enum Content {
    /// Nothing but white space.
    Blank,
    /// A JSON array.
    Array,
    /// JSON arrays that are rows, one per line.
    Rows,
    /// JSON objects.
    Objects(Objects),
    /// Any other text.
    Text,
}

/// How JSON objects are written, as far as the head shows.
#[derive(Clone, Copy)]
struct Objects {
    /// Whether the first one is valid and ends within the head.
    is_complete: bool,
    /// Whether lines are not records: the first object takes several, or a comma precedes the second.
    is_spread: bool,
    /// Whether another object follows the first one.
    is_followed: bool,
}

impl Content {
    fn classify(head: &[u8], dataset: &Dataset) -> Self {
        let text = trimmed(head);
        let Some(first) = text.first() else {
            return Self::Blank;
        };
        let second = text[1..].iter().find(|byte| !is_json_space(**byte));
        match (first, second) {
            (b'[', second) if is_row(text, second, dataset) => Self::Rows,
            // Cells of CSV may start with a bracket, but rarely continue like JSON.
            (b'[', None | Some(b'{' | b'[' | b'"' | b']')) => Self::Array,
            (b'{', None | Some(b'"' | b'}')) => Self::Objects(Objects::new(text)),
            _ => Self::Text,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Array => "a JSON array",
            Self::Objects(objects) if objects.is_spread => "a JSON document",
            Self::Objects(_) => "JSON objects, one per line",
            Self::Rows => "JSON arrays, one per line",
            Self::Blank | Self::Text => "text that is not JSON",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Array => "name it .json",
            Self::Objects(objects) if objects.is_spread => "name it .json",
            Self::Objects(_) | Self::Rows => "name it .ndjson",
            Self::Blank | Self::Text => "name it .csv or .tsv if that is what it is",
        }
    }
}

impl Objects {
    fn new(text: &[u8]) -> Self {
        let end = value_end(text);
        let (first, rest) = text.split_at(end.unwrap_or(text.len()));
        let is_first_spread = memchr(b'\n', first).is_some();
        let next = rest.iter().position(|byte| !is_between_json(*byte));
        let next = next.map(|next| &rest[next..]);
        let after_comma = next.and_then(|next| next.strip_prefix(b","));
        let followed_by = after_comma.or(next).map(trimmed);
        // A comma at the end of a line is no part of its record.
        let is_list = after_comma.is_some_and(|after| {
            let is_on_line = memchr(b'\n', &rest[..rest.len() - after.len()]).is_none();
            let line = after.split(|byte| *byte == b'\n').next();
            !is_on_line || line.is_some_and(|line| !trimmed(line).is_empty())
        });
        Self {
            is_complete: end.is_some() && serde_json::from_slice::<IgnoredAny>(first).is_ok(),
            is_spread: is_first_spread || is_list,
            is_followed: followed_by.is_some_and(|next| next.first() == Some(&b'{')),
        }
    }

    fn format(self, declared: Option<Format>, head: &[u8], dataset: &Dataset) -> Format {
        let is_lines = declared == Some(Format::Ndjson);
        let is_document = !dataset.json.path.is_empty() && !self.is_followed;
        if is_document && (self.is_spread || !is_lines) {
            return Format::Json;
        }
        // A first line that is broken becomes a reject.
        let is_broken_line = is_lines && !self.is_complete && has_object_line(head);
        if !self.is_spread || is_broken_line {
            Format::Ndjson
        } else {
            Format::Json
        }
    }
}

/// Returns the length of the JSON value at the start of the text, if it ends there.
fn value_end(text: &[u8]) -> Option<usize> {
    let mut value = JsonValue::starting_with(*text.first()?)?;
    let length = value.feed(&text[1..]).ok().flatten()?;
    Some(length + 1)
}

/// Returns whether the JSON array at the start of the text is a row, and not the list of all rows.
fn is_row(text: &[u8], second: Option<&u8>, dataset: &Dataset) -> bool {
    let end = value_end(text);
    let (first, rest) = text.split_at(end.unwrap_or(text.len()));
    if memchr(b'\n', first).is_some() {
        return false;
    }
    let is_json = end.is_none() || serde_json::from_slice::<IgnoredAny>(first).is_ok();
    let is_followed = end.is_some() && trimmed(rest).first() == Some(&b'[');
    let has_positions = dataset.last_position().is_some();
    is_json
        && match second {
            Some(b'{' | b'[') => is_followed && has_positions,
            Some(b'"') => is_followed || has_positions,
            None | Some(b']') => false,
            // Cells of CSV may look like this.
            Some(_) => has_positions,
        }
}

/// Returns the content without byte order mark, leading white space and record separators.
fn trimmed(head: &[u8]) -> &[u8] {
    let text = head.strip_prefix(&BOM).unwrap_or(head);
    let start = text.iter().position(|byte| !is_between_json(*byte));
    start.map_or(&[], |start| &text[start..])
}

/// Returns whether any line looks like a complete JSON object.
fn has_object_line(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .any(|line| line.first() == Some(&b'{') && line.trim_ascii_end().last() == Some(&b'}'))
}

/// Returns whether delimited text is CSV or TSV.
fn delimited(head: &[u8], dataset: &Dataset) -> Format {
    let text = trimmed(head);
    let line = &text[..memchr(b'\n', text).unwrap_or(text.len())];
    let count = |byte| memchr_iter(byte, line).count();
    if dataset.csv.delimiter.is_none() && count(b'\t') > count(b',') {
        Format::Tsv
    } else {
        Format::Csv
    }
}

/// Returns what content in an unsupported format is, and what to do about it.
fn unsupported(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const UNPACK: &str = "unpack it, or compress the file with gzip, zstd, bzip2 or zip";
    const TWICE: &str = "compress the file only once";
    const EXPORT: &str = "export it as CSV, TSV, JSON or NDJSON";
    const NO_ROWS: &str = "check that it is the right file";
    const ERROR_PAGE: &str = "check that it is not an error or log-in page";
    const SIGNATURES: [(&[u8], &str, &str); 18] = [
        (b"\xfd7zXZ\0", "xz", UNPACK),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
        (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
        (b"\x04\x22\x4d\x18", "lz4", UNPACK),
        (
            b"\x1f\x9d",
            "compressed with the Unix tool compress",
            UNPACK,
        ),
        (
            b"\xd0\xcf\x11\xe0",
            "an old Excel workbook",
            "export the sheet as CSV",
        ),
        (b"PAR1", "Parquet", EXPORT),
        (b"Obj\x01", "Avro", EXPORT),
        (b"ARROW1\0", "Arrow", EXPORT),
        (b"SQLite format 3\0", "an SQLite database", EXPORT),
        (b"%PDF-", "PDF", EXPORT),
        (b"\x89PNG", "a PNG image", NO_ROWS),
        (b"\xff\xd8\xff", "a JPEG image", NO_ROWS),
        (b"GIF8", "a GIF image", NO_ROWS),
        (b"\x7fELF", "a program", NO_ROWS),
        (b"<?xml", "XML", EXPORT),
        (b"<!DOCTYPE", "HTML", ERROR_PAGE),
        (b"<html", "HTML", ERROR_PAGE),
    ];
    // What was compressed once is unpacked before.
    match Codec::of(head) {
        Some(Codec::Gzip) => return Some(("gzip in a compressed file", TWICE)),
        Some(Codec::Zstd) => return Some(("zstd in a compressed file", TWICE)),
        Some(Codec::Bzip2) => return Some(("bzip2 in a compressed file", TWICE)),
        Some(Codec::Zip) => {
            return Some((
                "a zip archive or an Excel workbook in a compressed file",
                "compress the file only once, or export the sheet as CSV",
            ));
        }
        None => {}
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(("a tar archive", "upload each of its files by itself"));
    }
    let text = trimmed(head);
    let known = SIGNATURES
        .iter()
        .find(|(magic, _, _)| head.starts_with(magic) || text.starts_with(magic))
        .map(|(_, content, remedy)| (*content, *remedy));
    let is_big_endian = text.first() == Some(&0);
    // A few zero bytes are errors of their records. Text does not contain as many as this.
    let is_binary = || memchr_iter(0, head).count() * 100 > head.len();
    known.or_else(|| {
        is_binary().then_some((
            "binary or UTF-16, as it contains zero bytes",
            if is_big_endian {
                "set encoding = \"utf-16be\" in the definition if it is UTF-16 text, else export it as CSV, TSV, JSON \
                 or NDJSON"
            } else {
                "set encoding = \"utf-16le\" in the definition if it is UTF-16 text, else export it as CSV, TSV, JSON \
                 or NDJSON"
            },
        ))
    })
}

//! Detects the format of an object from its dataset, its name and its first bytes.

use landfall_domain::{
    CsvOptions, Dataset, Encoding, Format, Problem, ProblemCode, Quote, Reading, Warning,
    WarningCode,
};
use memchr::{memchr, memchr_iter, memchr2};
use serde::de::IgnoredAny;

use crate::csv::dialect::Dialect;
use crate::csv::records::{Quotes, Records};
use crate::syntax::{BOM, is_json_space};
use crate::transcode::Transcoded;

/// The maximum number of bytes of an object that [`detect`] reads.
const HEAD_BYTES: usize = 64 * 1024;

/// Decides how to read the object `key`. `head` contains its first bytes, of which at most 64 KiB are read.
///
/// The format of the dataset takes precedence, then the extension of the key, then the content. Blank
/// content matches any format.
///
/// # Errors
/// `FormatMismatch` if the content does not match the format of the dataset or the extension, or is in
/// a format that Landfall does not read. The message says what was found and what to do.
pub fn detect(key: &str, head: &[u8], dataset: &Dataset) -> Result<Reading, Problem> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let encoding = Encoding::for_mark(head).map_or(dataset.encoding, |(encoding, _)| encoding);
    let transcoded = (encoding != Encoding::UTF_8)
        .then(|| Transcoded::new(encoding, &head[..head.len() / 2 * 2]).text);
    let head = transcoded.as_deref().map_or(head, str::as_bytes);
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
    let delimiter = std::str::from_utf8(line).ok()?.strip_prefix("sep=")?;
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
                })
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
    let declared = dataset.format.or_else(|| by_extension(key));
    let content = Content::classify(head);
    match (declared, content) {
        (Some(format), Content::Blank)
        | (Some(format @ (Format::Csv | Format::Tsv)), Content::Text) => Ok(format),
        (None, Content::Blank) if dataset.json.path.is_empty() => Ok(Format::Csv),
        (None, Content::Text) => Ok(delimited(head, dataset)),
        // Many files named .json contain NDJSON. The format of a dataset, in contrast, is binding.
        (Some(Format::Json), Content::Objects) if dataset.format.is_none() => Ok(Format::Ndjson),
        (Some(Format::Ndjson) | None, Content::Objects)
        | (Some(Format::Ndjson), Content::Object { spread: false }) => Ok(Format::Ndjson),
        // A line that is not JSON becomes a reject, if other lines are.
        (Some(Format::Ndjson), Content::Object { .. } | Content::Text) if has_object_line(head) => {
            Ok(Format::Ndjson)
        }
        (None, Content::Object { spread: false }) if dataset.json.path.is_empty() => {
            Ok(Format::Ndjson)
        }
        (Some(Format::Json) | None, Content::Array | Content::Object { .. })
        | (None, Content::Blank) => Ok(Format::Json),
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

fn mismatch(message: String) -> Problem {
    Problem::new(ProblemCode::FormatMismatch, message)
}

fn by_extension(key: &str) -> Option<Format> {
    let name = key.rsplit('/').next()?;
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
    /// One JSON object within the head; `spread` over several lines.
    Object { spread: bool },
    /// JSON objects, one per line.
    Objects,
    /// Any other text.
    Text,
}

impl Content {
    fn classify(head: &[u8]) -> Self {
        let text = trimmed(head);
        let Some(first) = text.first() else {
            return Self::Blank;
        };
        let second = text[1..].iter().find(|byte| !is_json_space(**byte));
        match (first, second) {
            // Cells of CSV may start with a bracket, but rarely continue like JSON.
            (b'[', None | Some(b'{' | b'[' | b'"' | b']')) => Self::Array,
            (b'{', None | Some(b'"' | b'}')) => Self::object(text),
            _ => Self::Text,
        }
    }

    fn object(text: &[u8]) -> Self {
        let Some(end) = memchr(b'\n', text) else {
            return Self::Object { spread: false };
        };
        match serde_json::from_slice::<IgnoredAny>(&text[..end]) {
            Ok(_) if trimmed(&text[end..]).first() == Some(&b'{') => Self::Objects,
            result => Self::Object {
                spread: result.is_err_and(|error| error.is_eof()),
            },
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Array => "a JSON array",
            Self::Object { .. } => "a JSON document",
            Self::Objects => "JSON objects, one per line",
            Self::Blank | Self::Text => "text that is not JSON",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Array | Self::Object { .. } => "name it .json",
            Self::Objects => "name it .ndjson",
            Self::Blank | Self::Text => "name it .csv or .tsv if that is what it is",
        }
    }
}

/// Returns the content without byte order mark and leading white space.
fn trimmed(head: &[u8]) -> &[u8] {
    let text = head.strip_prefix(&BOM).unwrap_or(head);
    let start = text.iter().position(|byte| !is_json_space(*byte));
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
    const UNPACK: &str = "unpack it before the upload";
    const EXPORT: &str = "export it as CSV, TSV, JSON or NDJSON";
    const NO_ROWS: &str = "check that it is the right file";
    const ERROR_PAGE: &str = "check that it is not an error or log-in page";
    const SIGNATURES: [(&[u8], &str, &str); 18] = [
        (b"\x1f\x8b", "gzip", UNPACK),
        (b"\x28\xb5\x2f\xfd", "zstd", UNPACK),
        (b"\xfd7zXZ\0", "xz", UNPACK),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
        (
            b"PK\x03\x04",
            "a zip archive or an Excel workbook",
            "unpack it, or export the sheet as CSV",
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
    let text = trimmed(head);
    let known = SIGNATURES
        .iter()
        .find(|(magic, _, _)| head.starts_with(magic) || text.starts_with(magic))
        .map(|(_, content, remedy)| (*content, *remedy));
    // A few zero bytes are errors of their records. Text does not contain as many as this.
    let is_binary = || memchr_iter(0, head).count() * 100 > head.len();
    known.or_else(|| {
        is_binary().then_some((
            "binary or UTF-16, as it contains zero bytes",
            "set encoding = \"utf-16le\" in the definition if it is UTF-16 text, else export it as CSV, TSV, JSON or NDJSON",
        ))
    })
}

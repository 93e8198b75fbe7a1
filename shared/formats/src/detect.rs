//! What format an object is in, by its dataset, its name and its first bytes.

use landfall_domain::{Dataset, Format, Problem, ProblemCode};
use memchr::{memchr, memchr_iter};
use serde::de::IgnoredAny;

use crate::scan::BOM;
use crate::scan_ndjson::is_space;

/// How many bytes of an object [`detect`] looks at, at most.
pub const HEAD_BYTES: usize = 64 * 1024;

/// The format of the object `key`, of which `head` are the first bytes ([`HEAD_BYTES`] or fewer).
///
/// The dataset's format counts first, then the extension of the key, then the content. Blank content
/// is of whatever format it should be.
///
/// # Errors
/// `FormatMismatch` where the content is not what dataset or name say: the message says what was
/// found and what to do.
pub fn detect(key: &str, head: &[u8], dataset: &Dataset) -> Result<Format, Problem> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    if let Some((what, cure)) = foreign(head) {
        return Err(mismatch(format!("the content is {what}: {cure}")));
    }
    let said = dataset.format.or_else(|| by_extension(key));
    let content = Content::of(head);
    match (said, content) {
        (Some(format), Content::Blank)
        | (Some(format @ (Format::Csv | Format::Tsv)), Content::Text) => Ok(format),
        (None, Content::Blank) if dataset.json.path.is_empty() => Ok(Format::Csv),
        (None, Content::Text) => Ok(delimited(head, dataset)),
        // Many name their lines of JSON .json; a definition that says json means it.
        (Some(Format::Json), Content::Objects) if dataset.format.is_none() => Ok(Format::Ndjson),
        (Some(Format::Ndjson) | None, Content::Objects)
        | (Some(Format::Ndjson), Content::Object { spread: false }) => Ok(Format::Ndjson),
        // A line that is no JSON is one reject, as long as there are others.
        (Some(Format::Ndjson), Content::Object { .. } | Content::Text) if has_object_line(head) => {
            Ok(Format::Ndjson)
        }
        (None, Content::Object { spread: false }) if dataset.json.path.is_empty() => {
            Ok(Format::Ndjson)
        }
        (Some(Format::Json) | None, Content::Array | Content::Object { .. })
        | (None, Content::Blank) => Ok(Format::Json),
        (Some(Format::Json), Content::Text) if text_of(head).starts_with(b"[") => Ok(Format::Json),
        (Some(format), content) => {
            let (who, cure) = if dataset.format.is_some() {
                (
                    "dataset's format",
                    "drop such a file, or change the definition",
                )
            } else {
                ("object's name", content.cure())
            };
            Err(mismatch(format!(
                "the content is {}, not {} as the {who} says: {cure}",
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

/// What text looks like.
#[derive(Clone, Copy)]
enum Content {
    Blank,
    /// A JSON array.
    Array,
    /// One JSON object, at least as far as the head goes; `spread` over several lines.
    Object {
        spread: bool,
    },
    /// JSON objects, one a line.
    Objects,
    /// None of these.
    Text,
}

impl Content {
    fn of(head: &[u8]) -> Self {
        let text = text_of(head);
        let Some(first) = text.first() else {
            return Self::Blank;
        };
        let second = text[1..].iter().find(|byte| !is_space(**byte));
        match (first, second) {
            // Cells of CSV may start with a bracket, but hardly go on like JSON.
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
            Ok(_) if text_of(&text[end..]).first() == Some(&b'{') => Self::Objects,
            result => Self::Object {
                spread: result.is_err_and(|error| error.is_eof()),
            },
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Array => "a JSON array",
            Self::Object { .. } => "a JSON document",
            Self::Objects => "JSON objects, one a line",
            Self::Blank | Self::Text => "text that is not JSON",
        }
    }

    fn cure(self) -> &'static str {
        match self {
            Self::Array | Self::Object { .. } => "name it .json",
            Self::Objects => "name it .ndjson",
            Self::Blank | Self::Text => "name it .csv or .tsv if that is what it is",
        }
    }
}

/// The content without byte order mark and leading white space.
fn text_of(head: &[u8]) -> &[u8] {
    let text = head.strip_prefix(&BOM).unwrap_or(head);
    let start = text.iter().position(|byte| !is_space(*byte));
    start.map_or(&[], |start| &text[start..])
}

/// Whether any line starts as an object does that stands on one line.
fn has_object_line(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .any(|line| line.first() == Some(&b'{') && line.trim_ascii_end().last() == Some(&b'}'))
}

fn delimited(head: &[u8], dataset: &Dataset) -> Format {
    let text = text_of(head);
    let line = &text[..memchr(b'\n', text).unwrap_or(text.len())];
    let count = |byte| memchr_iter(byte, line).count();
    if dataset.csv.delimiter.is_none() && count(b'\t') > count(b',') {
        Format::Tsv
    } else {
        Format::Csv
    }
}

/// Content that no format is, and what to do about it.
fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const UTF_8: &str = "save it as UTF-8";
    const UNPACK: &str = "unpack it before it is dropped";
    const EXPORT: &str = "export it as CSV, TSV, JSON or NDJSON";
    const KINDS: [(&[u8], &str, &str); 20] = [
        (b"\xff\xfe", "UTF-16 text", UTF_8),
        (b"\xfe\xff", "UTF-16 text", UTF_8),
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
        (b"\x89PNG", "a PNG image", "it has no rows"),
        (b"\xff\xd8\xff", "a JPEG image", "it has no rows"),
        (b"GIF8", "a GIF image", "it has no rows"),
        (b"\x7fELF", "a program", "it has no rows"),
        (b"<?xml", "XML", EXPORT),
        (
            b"<!DOCTYPE",
            "HTML",
            "is it the page of an error or a log-in?",
        ),
        (b"<html", "HTML", "is it the page of an error or a log-in?"),
    ];
    let text = text_of(head);
    let known = KINDS
        .iter()
        .find(|(magic, _, _)| head.starts_with(magic) || text.starts_with(magic))
        .map(|(_, what, cure)| (*what, *cure));
    // A stray zero byte is its record's fault; this many are no text.
    let zeros = || memchr_iter(0, head).count() * 100 > head.len();
    known.or_else(|| {
        zeros().then_some((
            "binary or UTF-16: it holds zero bytes",
            "export it as CSV, TSV, JSON or NDJSON in UTF-8",
        ))
    })
}

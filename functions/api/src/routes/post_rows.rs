use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use landfall_auth::Scope;
use landfall_domain::{Codec, Dataset, EXPORT_MARKER, Format, Problem};
use landfall_packed::Unpacker;
use uuid::Uuid;

use super::accepted::Accepted;
use super::row_writes::refuse_numbered;
use crate::auth::Caller;
use crate::extract::{Body, Segments, media_type};
use crate::responses::{BodyErrors, CommonErrors, DatasetErrors, Forbidden};
use crate::{ApiError, Context};

/// The most bytes of a compressed body that are unpacked to check what it holds.
const MAX_UNPACKED: usize = 64 * 1024;

/// Send rows
///
/// The body becomes an object in the inbox, which is ingested like any other file. NDJSON may be compressed, with the
/// header `Content-Encoding` (`gzip` or `zstd`): it is stored as it is, and the job unpacks it, with the limits for
/// files.
#[utoipa::path(
    post,
    path = "/datasets/{dataset}/rows",
    operation_id = "send_rows",
    tag = "rows",
    params(
        ("dataset" = String, Path, description = "Name of the dataset", example = "products"),
        ("content-encoding" = Option<String>, Header, description = "How NDJSON is compressed: gzip or zstd")
    ),
    request_body(
        description = "A JSON array of rows, a JSON object that is one row, or rows as NDJSON, CSV or TSV; at most \
            4 MiB, compressed or not",
        content(
        (Vec<std::collections::BTreeMap<String, serde_json::Value>> = "application/json"),
        (String = "application/x-ndjson"), (String = "text/csv"), (String = "text/tab-separated-values")
    )),
    responses(
        (status = 202, description = "The rows are an object in the inbox",
            body = Accepted, headers(("location" = String, description = "The job"))),
        CommonErrors, Forbidden, DatasetErrors, BodyErrors
    )
)]
pub(crate) async fn post_rows(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    caller.require(Scope::Write, &name)?;
    let (dataset, _) = context.dataset(&name).await?;
    refuse_numbered(&dataset)?;
    let format = format_of(&headers)?;
    let (content, extension) = match codec_of(&headers, format)? {
        None => (Cow::Borrowed(&body[..]), ""),
        Some((codec, extension)) => (Cow::Owned(start_of(codec, &body)?), extension),
    };
    check(&dataset, format, &content)?;
    let key = format!(
        "{name}/api/{}.{}{extension}",
        Uuid::new_v4(),
        format.as_str()
    );
    let stored = context.inbox.put(&key, media_type_of(format), body).await?;
    Ok(Accepted::response(&context, "../../", key, stored))
}

/// The byte order mark that some programs write before UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

pub(super) fn format_of(headers: &HeaderMap) -> Result<Format, ApiError> {
    // Gateways decode the body by its charset, so another one would change the bytes.
    if charset(headers).is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        return Err(ApiError::MediaType("send UTF-8".to_owned()));
    }
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(Format::Json),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
            Ok(Format::Ndjson)
        }
        Some("text/csv") => Ok(Format::Csv),
        Some("text/tab-separated-values") => Ok(Format::Tsv),
        _ => Err(ApiError::MediaType(
            "send Content-Type: application/json, application/x-ndjson, text/csv or text/tab-separated-values"
                .to_owned(),
        )),
    }
}

/// Returns how the body is compressed, and the extension of such files.
fn codec_of(
    headers: &HeaderMap,
    format: Format,
) -> Result<Option<(Codec, &'static str)>, ApiError> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(None);
    };
    let coding = coding.to_str().unwrap_or_default().to_ascii_lowercase();
    let codec = match coding.as_str() {
        "identity" => return Ok(None),
        "gzip" | "x-gzip" => (Codec::Gzip, ".gz"),
        "zstd" => (Codec::Zstd, ".zst"),
        _ => {
            return Err(ApiError::MediaType(
                "send Content-Encoding: gzip or zstd, or the rows uncompressed".to_owned(),
            ));
        }
    };
    // API Gateway decodes the bodies of JSON, CSV and TSV as text, which destroys compressed ones.
    if format != Format::Ndjson {
        return Err(ApiError::MediaType(
            "compressed rows must be NDJSON: send Content-Type: application/x-ndjson".to_owned(),
        ));
    }
    Ok(Some(codec))
}

/// Unpacks the start of a compressed body. One that is short must be complete.
fn start_of(codec: Codec, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    if Codec::of(body) != Some(codec) {
        return Err(ApiError::Invalid(format!(
            "the body is not compressed with {codec}, as Content-Encoding says"
        )));
    }
    let invalid = |problem: Problem| ApiError::Invalid(problem.message);
    let mut unpacker = Unpacker::new(codec, body.len() as u64);
    let mut start = Vec::new();
    unpacker
        .unpack(body, &mut start, MAX_UNPACKED)
        .map_err(invalid)?;
    if start.len() < MAX_UNPACKED {
        unpacker.finish().map_err(invalid)?;
    }
    Ok(start)
}

/// Returns the declared charset of the body.
fn charset(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = text
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='));
    let (_, charset) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"'))
}

pub(super) fn media_type_of(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
        Format::Tsv => "text/tab-separated-values",
    }
}

/// Returns whether the body has rows that the API has written, perhaps.
fn is_marked(body: &[u8]) -> bool {
    let line = body.split(|byte| *byte == b'\n').next();
    let line = line.map(String::from_utf8_lossy);
    line.is_some_and(|line| line.contains(EXPORT_MARKER))
}

/// Refuses a body whose job would certainly fail.
fn check(dataset: &Dataset, format: Format, body: &[u8]) -> Result<(), ApiError> {
    if let Some(expected) = dataset.format
        && expected != format
        && !is_marked(body)
    {
        return Err(ApiError::MediaType(format!(
            "dataset {} accepts only the format {}: send Content-Type: {}",
            dataset.name,
            expected.as_str(),
            media_type_of(expected)
        )));
    }
    let body = body.strip_prefix(BOM).unwrap_or(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let invalid = |message: &str| Err(ApiError::Invalid(message.to_owned()));
    match (first, format) {
        (None, _) => invalid("the body is empty: send rows"),
        (Some(b'[' | b'{'), Format::Json) if dataset.json.path.is_empty() => Ok(()),
        (Some(_), Format::Json) if dataset.json.path.is_empty() => {
            invalid("the body must be a JSON array of rows, or a JSON object, which is one row")
        }
        (Some(b'{'), Format::Json) => Ok(()),
        (Some(_), Format::Json) => invalid(&format!(
            "the body must be a JSON object with the rows at {}, as in the dataset's definition",
            dataset.json.path.join(".")
        )),
        (Some(_), _) => Ok(()),
    }
}

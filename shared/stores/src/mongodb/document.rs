//! Rows as documents.

use landfall_domain::{Dataset, Row, RowVersion, Value};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document, RawDocumentBuf};

use crate::json::Shape;
use crate::schema::{EXTRA, VERSION};
use crate::text::{date_text, timestamp_text};

/// Name of the field that says whether two versions of a row have the same values.
pub(super) const DIGEST: &str = "_digest";

/// JSON deeper than this stays text; servers take 100 levels in all.
const MAX_DEPTH: usize = 90;
/// Servers take documents of up to 16 MiB, and the command around one needs room too.
pub(super) const MAX_BYTES: usize = (16 << 20) - (16 << 10);

/// A row, ready to be written.
pub(super) struct Entry {
    pub(super) id: Bson,
    /// `{_id: id}` in BSON, which stands for the key where it is looked up.
    pub(super) id_bytes: Vec<u8>,
    pub(super) version: RowVersion,
    pub(super) digest: [u8; 16],
    pub(super) document: RawDocumentBuf,
}

/// Makes an entry of a row. Fails where BSON can't hold it.
pub(super) fn entry(
    dataset: &Dataset,
    row: &Row,
    version: RowVersion,
) -> mongodb::bson::error::Result<Entry> {
    let id = id_of(dataset, row);
    let digest = digest_of(dataset, row);
    let document = |json: fn(&str) -> Bson| {
        let mut document = Document::new();
        document.insert("_id", id.clone());
        for (field, value) in dataset.fields.iter().zip(&row.values) {
            document.insert(field.name.clone(), field_value(value, json));
        }
        if let Some(extra) = &row.extra {
            document.insert(EXTRA, extra.as_str());
        }
        document.insert(DIGEST, binary(&digest));
        document.insert(VERSION, binary(version.as_bytes()));
        RawDocumentBuf::try_from(&document)
    };
    let mut encoded = document(json_value)?;
    // Small numbers take many times their text in BSON.
    if encoded.as_bytes().len() > MAX_BYTES {
        encoded = document(|text| Bson::from(text))?;
    }
    Ok(Entry {
        id_bytes: id_bytes(id.clone())?,
        id,
        version,
        digest,
        document: encoded,
    })
}

/// `{_id: id}` in BSON.
pub(super) fn id_bytes(id: Bson) -> mongodb::bson::error::Result<Vec<u8>> {
    let mut document = Document::new();
    document.insert("_id", id);
    document.to_vec()
}

pub(super) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

/// The value of a one-field key, else a document of the key's fields in the key's order.
fn id_of(dataset: &Dataset, row: &Row) -> Bson {
    if let [index] = dataset.key_indexes() {
        return key_value(&row.values[*index]);
    }
    let mut id = Document::new();
    for (field, index) in dataset.key_fields().zip(dataset.key_indexes()) {
        id.insert(field.name.clone(), key_value(&row.values[*index]));
    }
    Bson::Document(id)
}

/// Dates and instants are text in keys: BSON dates would make one of two within a millisecond.
fn key_value(value: &Value) -> Bson {
    match value {
        Value::Date(day) => Bson::String(date_text(*day)),
        Value::Timestamp(instant) => Bson::String(timestamp_text(*instant, 'T', "Z")),
        other => field_value(other, json_value),
    }
}

fn field_value(value: &Value, json: fn(&str) -> Bson) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Text(text) => Bson::String(text.clone()),
        Value::Integer(number) => Bson::Int64(*number),
        // 28 digits fit the 34 of the type.
        Value::Decimal(number) => match number.to_string().parse::<Decimal128>() {
            Ok(decimal) => Bson::Decimal128(decimal),
            Err(_) => Bson::String(number.to_string()),
        },
        Value::Float(number) => Bson::Double(*number),
        Value::Boolean(boolean) => Bson::Boolean(*boolean),
        Value::Date(day) => {
            let days = (*day - jiff::civil::date(1970, 1, 1)).get_days();
            Bson::DateTime(DateTime::from_millis(i64::from(days) * 86_400_000))
        }
        Value::Timestamp(instant) => Bson::DateTime(DateTime::from_millis(
            instant.as_microsecond().div_euclid(1000),
        )),
        Value::Json(text) => json(text),
    }
}

/// JSON as BSON where that says the same, else as text.
fn json_value(text: &str) -> Bson {
    let shape = Shape::of(text);
    if shape.odd_name || shape.inexact_number || shape.depth > MAX_DEPTH {
        return Bson::from(text);
    }
    serde_json::from_str(text).unwrap_or_else(|_| Bson::from(text))
}

/// Digest of all that a row says, whatever a document can hold of it, and of the names it says it by:
/// a document of other fields is another one.
fn digest_of(dataset: &Dataset, row: &Row) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for (field, value) in dataset.fields.iter().zip(&row.values) {
        tagged(&mut hasher, 10, field.name.as_bytes());
        match value {
            Value::Null => hasher.update(&[0]),
            Value::Text(text) => tagged(&mut hasher, 1, text.as_bytes()),
            Value::Integer(number) => tagged(&mut hasher, 2, &number.to_le_bytes()),
            Value::Decimal(number) => tagged(&mut hasher, 3, &number.normalize().serialize()),
            Value::Float(number) => tagged(&mut hasher, 4, &number.to_le_bytes()),
            Value::Boolean(boolean) => tagged(&mut hasher, 5, &[u8::from(*boolean)]),
            Value::Date(day) => tagged(&mut hasher, 6, date_text(*day).as_bytes()),
            Value::Timestamp(instant) => {
                tagged(&mut hasher, 7, &instant.as_microsecond().to_le_bytes())
            }
            Value::Json(text) => tagged(&mut hasher, 8, text.as_bytes()),
        };
    }
    if let Some(extra) = &row.extra {
        tagged(&mut hasher, 9, extra.as_bytes());
    }
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

/// With type and length, so that no two sequences of values give one sequence of bytes.
fn tagged<'a>(hasher: &'a mut blake3::Hasher, tag: u8, bytes: &[u8]) -> &'a mut blake3::Hasher {
    hasher
        .update(&[tag])
        .update(&(bytes.len() as u64).to_le_bytes())
        .update(bytes)
}

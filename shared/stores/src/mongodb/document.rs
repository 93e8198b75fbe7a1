//! Rows as documents.

use landfall_domain::{Dataset, Row, RowVersion, UnknownColumns, Value};
use mongodb::bson::raw::{CString, RawDocument};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, RawBinaryRef, RawBson, RawBsonRef, RawDocumentBuf, cstr,
};

use super::error::refused;
use super::json::to_bson;
use super::key_text;
use crate::changes::{Tracking, now};
use crate::columns::{Columns, Place, Planned};
use crate::error::Result;
use crate::text::{date_text, timestamp_text};

/// Name of the field by which two versions of a row are compared for the same values.
pub(super) const DIGEST: &str = "_digest";
/// Name of the field with the fields of a key of several, in the order of the key.
pub(super) const KEY: &str = "_key";

/// Name of the field with the time of a delete in tombstones.
pub(super) const DELETED_AT: &str = "_deleted_at";

/// Name of the field with the time of a change that no lease has looked at, in milliseconds since 1970.
pub(super) const CHANGED: &str = "_changed";

/// Servers accept documents of up to 16 MiB, and the command around one needs room too.
pub(super) const MAX_BYTES: usize = (16 << 20) - (16 << 10);

pub(super) struct Entry {
    pub(super) version: RowVersion,
    pub(super) digest: [u8; 16],
    /// Begins with `_id`. It is a tombstone if the row deletes its key.
    pub(super) document: RawDocumentBuf,
}

impl Entry {
    pub(super) fn id(&self) -> RawBsonRef<'_> {
        let id = id_of(&self.document);
        debug_assert!(id.is_some(), "a document begins with its key");
        id.unwrap_or(RawBsonRef::Null)
    }

    /// Returns the key in a form that can be hashed.
    pub(super) fn id_bytes(&self) -> Vec<u8> {
        id_bytes(self.id())
    }
}

/// Returns the key of a document, if it is readable.
pub(super) fn id_of(document: &RawDocument) -> Option<RawBsonRef<'_>> {
    document.get("_id").ok().flatten()
}

/// Returns a key in a form that can be hashed.
pub(super) fn id_bytes(id: RawBsonRef<'_>) -> Vec<u8> {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), id);
    document.into_bytes()
}

/// Returns the path of a field in filters and orders. Fields of the key are in `_id`, or in [`KEY`] if there are
/// several, as dates and timestamps are exact there.
pub(super) fn path(dataset: &Dataset, field: &str) -> String {
    if !dataset.key_fields().any(|part| part.name == field) {
        field.to_owned()
    } else if key_text::is_used(dataset) {
        format!("{KEY}.{field}")
    } else {
        "_id".to_owned()
    }
}

/// Returns what filters compare the value of a field with.
pub(super) fn compared(dataset: &Dataset, field: usize, value: &Value) -> Bson {
    let mut document = RawDocumentBuf::new();
    if dataset.key_indexes().contains(&field) {
        append_key(&mut document, cstr!("value"), value);
    } else {
        append(&mut document, cstr!("value"), value, to_bson);
    }
    let value = document.get("value").ok().flatten();
    let value = value.and_then(|value| value.try_into().ok());
    debug_assert!(value.is_some(), "a value that was just encoded is readable");
    value.unwrap_or(Bson::Null)
}

pub(super) fn id_of_key(dataset: &Dataset, key: &[Value]) -> Bson {
    if let ([field], [value]) = (dataset.key_indexes(), key) {
        return compared(dataset, *field, value);
    }
    let mut text = String::new();
    key_text::write(&mut text, key);
    Bson::String(text)
}

pub(super) struct Encoder<'a> {
    dataset: &'a Dataset,
    names: Vec<CString>,
    has_extra: bool,
    /// The time of changes that are to be recorded.
    changed: Option<i64>,
    /// The input of a row's digest.
    digested: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(dataset: &'a Dataset) -> Result<Self> {
        let names = dataset.fields.iter();
        let names = names.map(|field| CString::try_from(field.name.as_str()));
        let names = names.collect::<Result<_, _>>();
        Ok(Self {
            dataset,
            names: names.map_err(|_| refused("a field's name cannot be encoded"))?,
            has_extra: dataset.unknown_columns == UnknownColumns::Keep,
            changed: None,
            digested: Vec::new(),
        })
    }

    /// Returns the encoder of documents that record changes, if the dataset has destinations.
    pub(super) fn with_changes(mut self, tracking: &Tracking) -> Self {
        self.changed = tracking.is_on().then(now);
        self
    }

    /// Appends the field that records a change.
    pub(super) fn append_changed(&self, document: &mut RawDocumentBuf) {
        if let Some(at) = self.changed {
            document.append(cstr!("_changed"), at);
        }
    }

    /// Encodes a row. Fails if `MongoDB` cannot hold it.
    pub(super) fn entry(&mut self, row: &Row, version: RowVersion) -> Result<Entry> {
        let digest = self.digest(row);
        let mut document = self.document(row, version, &digest, to_bson);
        // Small numbers take many times their text in BSON. Only records of more than 1 MiB, the default limit, can
        // have so many of them. JSON is text in the documents of such rows.
        if document.as_bytes().len() > MAX_BYTES {
            document = self.document(row, version, &digest, |text| text.into());
        }
        if document.as_bytes().len() > MAX_BYTES {
            return Err(refused("a row exceeds a document of 16 MiB"));
        }
        Ok(Entry {
            version,
            digest,
            document,
        })
    }

    fn document(
        &self,
        row: &Row,
        version: RowVersion,
        digest: &[u8],
        json: fn(&str) -> RawBson,
    ) -> RawDocumentBuf {
        let mut document = RawDocumentBuf::new();
        self.append_id(&mut document, row);
        if row.deleted {
            document.append(cstr!("_version"), binary(version.as_bytes()));
            match self.changed {
                None => document.append(cstr!("_deleted_at"), DateTime::now()),
                // The server deletes no document whose field is not a date.
                Some(at) => document.append(cstr!("_deleted_at"), at),
            }
            self.append_changed(&mut document);
            return document;
        }
        if key_text::is_used(self.dataset) {
            self.append_key_fields(&mut document, row);
        }
        for (name, value) in self.names.iter().zip(&row.values) {
            append(&mut document, name, value, json);
        }
        if let (true, Some(extra)) = (self.has_extra, &row.extra) {
            document.append(cstr!("_extra"), extra.as_str());
        }
        document.append(cstr!("_digest"), binary(digest));
        document.append(cstr!("_version"), binary(version.as_bytes()));
        self.append_changed(&mut document);
        document
    }

    /// Appends the value of a key of one field, or the text of a key of several.
    pub(super) fn append_id(&self, document: &mut RawDocumentBuf, row: &Row) {
        let key = self.dataset.key_indexes();
        if let [index] = key {
            append_key(document, cstr!("_id"), &row.values[*index]);
            return;
        }
        let mut text = String::new();
        key_text::write(&mut text, key.iter().map(|index| &row.values[*index]));
        document.append(cstr!("_id"), text);
    }

    /// Appends the fields of a key of several.
    fn append_key_fields(&self, document: &mut RawDocumentBuf, row: &Row) {
        let mut fields = RawDocumentBuf::new();
        for index in self.dataset.key_indexes() {
            append_key(&mut fields, &self.names[*index], &row.values[*index]);
        }
        document.append(cstr!("_key"), fields);
    }

    /// Returns the document of a new row that is merged by column. It has no digest.
    pub(super) fn merged_document(
        &self,
        planned: &Planned<'_>,
        columns: &Columns,
        json: fn(&str) -> RawBson,
    ) -> RawDocumentBuf {
        let (row, update) = (planned.row, &planned.update);
        let mut document = RawDocumentBuf::new();
        self.append_id(&mut document, row);
        if key_text::is_used(self.dataset) {
            self.append_key_fields(&mut document, row);
        }
        for (field, (name, value)) in self.names.iter().zip(&row.values).enumerate() {
            let is_taken = |column| update.taken.contains(column);
            if columns.number(field).is_none_or(is_taken) {
                append(&mut document, name, value, json);
            } else {
                document.append(name, RawBsonRef::Null);
            }
        }
        let extra = columns.number(row.values.len());
        let extra = extra.filter(|column| update.taken.contains(*column));
        if let (Some(_), Some(extra)) = (extra, &row.extra) {
            document.append(cstr!("_extra"), extra.as_str());
        }
        document.append(cstr!("_version"), binary(&update.version));
        document.append(cstr!("_versions"), binary(&update.versions));
        self.append_changed(&mut document);
        document
    }

    /// Returns the digest of all values of a row and the names of their fields, whatever a document can hold of them.
    fn digest(&mut self, row: &Row) -> [u8; 16] {
        self.digested.clear();
        for (field, value) in self.dataset.fields.iter().zip(&row.values) {
            self.digest_value(10, field.name.as_bytes());
            match value {
                Value::Null => self.digested.push(0),
                Value::Text(text) => self.digest_value(1, text.as_bytes()),
                Value::Integer(number) => self.digest_value(2, &number.to_le_bytes()),
                Value::Decimal(number) => self.digest_value(3, &number.normalize().serialize()),
                Value::Float(number) => self.digest_value(4, &number.to_le_bytes()),
                Value::Boolean(boolean) => self.digest_value(5, &[u8::from(*boolean)]),
                Value::Date(day) => self.digest_value(6, date_text(*day).as_bytes()),
                Value::Timestamp(instant) => {
                    self.digest_value(7, &instant.as_microsecond().to_le_bytes());
                }
                Value::Json(text) => self.digest_value(8, text.as_bytes()),
            }
        }
        if let Some(extra) = &row.extra {
            self.digest_value(9, extra.as_bytes());
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(&self.digested).as_bytes()[..16]);
        digest
    }

    /// Appends type and length too, so that different sequences of values have different bytes.
    fn digest_value(&mut self, tag: u8, bytes: &[u8]) {
        self.digested.push(tag);
        self.digested
            .extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.digested.extend_from_slice(bytes);
    }
}

/// Returns the fields that change in the document of an existing row that is merged by column. `names` are those of
/// the registered columns. None if the registry has columns that they lack.
pub(super) fn merged_fields(
    planned: &Planned<'_>,
    columns: &Columns,
    names: &[CString],
    json: fn(&str) -> RawBson,
) -> Option<RawDocumentBuf> {
    let (row, update) = (planned.row, &planned.update);
    let mut fields = RawDocumentBuf::new();
    for column in update.taken.iter() {
        let name = names.get(column)?;
        match (columns.place(column), &row.extra) {
            (Some(Place::Field(field)), _) => {
                append(&mut fields, name, &row.values[field], json);
            }
            (Some(Place::Extra), Some(extra)) => fields.append(name, extra.as_str()),
            _ => fields.append(name, RawBsonRef::Null),
        }
    }
    for column in update.nulls.iter() {
        fields.append(names.get(column)?, RawBsonRef::Null);
    }
    Some(fields)
}

pub(super) fn binary(bytes: &[u8]) -> RawBsonRef<'_> {
    RawBsonRef::Binary(RawBinaryRef {
        subtype: BinarySubtype::Generic,
        bytes,
    })
}

pub(super) fn binary_value(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

/// Appends a value of a key. Dates and timestamps are text: BSON dates would merge two within a millisecond.
fn append_key(
    document: &mut RawDocumentBuf,
    name: impl AsRef<mongodb::bson::raw::CStr>,
    value: &Value,
) {
    match value {
        Value::Date(day) => document.append(name, date_text(*day)),
        Value::Timestamp(instant) => {
            document.append(name, timestamp_text(instant.to_datetime(), 'T', "Z"));
        }
        other => append(document, name, other, to_bson),
    }
}

fn append(
    document: &mut RawDocumentBuf,
    name: impl AsRef<mongodb::bson::raw::CStr>,
    value: &Value,
    json: fn(&str) -> RawBson,
) {
    match value {
        Value::Null => document.append(name, RawBsonRef::Null),
        Value::Text(text) => document.append(name, text.as_str()),
        Value::Integer(number) => document.append(name, *number),
        Value::Decimal(number) => document.append(name, decimal(*number)),
        Value::Float(number) => document.append(name, *number),
        Value::Boolean(boolean) => document.append(name, *boolean),
        Value::Date(day) => {
            let days = (*day - jiff::civil::date(1970, 1, 1)).get_days();
            document.append(name, DateTime::from_millis(i64::from(days) * 86_400_000));
        }
        Value::Timestamp(instant) => {
            let milliseconds = instant.as_microsecond().div_euclid(1000);
            document.append(name, DateTime::from_millis(milliseconds));
        }
        Value::Json(text) => document.append(name, json(text)),
    }
}

/// Converts a decimal to `Decimal128`, without rounding: it has 34 digits, `rust_decimal` at most 29. Packs sign,
/// exponent and coefficient by hand.
fn decimal(number: rust_decimal::Decimal) -> Decimal128 {
    const EXPONENT_BIAS: u128 = 6176;
    let sign = u128::from(number.is_sign_negative() && !number.is_zero()) << 127;
    let exponent = (EXPONENT_BIAS - u128::from(number.scale())) << 113;
    let coefficient = number.mantissa().unsigned_abs();
    Decimal128::from_bytes((sign | exponent | coefficient).to_le_bytes())
}

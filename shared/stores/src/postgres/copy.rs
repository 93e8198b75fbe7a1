//! Rows in the binary format of `COPY`.
//!
//! A row is a count of fields (16 bits), then each field as its length (32 bits, -1 for null) and its bytes as the
//! type's `recv` function reads them; all big-endian.

use jiff::civil::{Date, date};
use landfall_domain::{Row, RowVersion, Timestamp, Value};
use rust_decimal::Decimal;

use crate::columns::{Columns, Place, Planned};
use crate::json::{has_huge_number, quoted};

/// Precedes the rows: signature, flags, length of the extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// The epoch of days and microseconds.
const EPOCH: Date = date(2000, 1, 1);
/// The same in microseconds since 1970.
pub(super) const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

pub(super) fn put_key(out: &mut Vec<u8>, row: &Row, key: &[usize], version: &RowVersion) {
    put_count(out, key.len() + 1);
    for index in key {
        put_value(out, &row.values[*index]);
    }
    put_field(out, |out| out.extend_from_slice(version.as_bytes()));
}

/// Appends a changed key, with the version and the time of the change.
pub(super) fn put_change(
    out: &mut Vec<u8>,
    row: &Row,
    key: &[usize],
    version: &RowVersion,
    at: i64,
) {
    put_count(out, key.len() + 2);
    for index in key {
        put_value(out, &row.values[*index]);
    }
    put_field(out, |out| out.extend_from_slice(version.as_bytes()));
    put_field(out, |out| out.extend_from_slice(&at.to_be_bytes()));
}

/// Appends one row: its values, `_extra` if kept, `_version`.
pub(super) fn put_row(out: &mut Vec<u8>, row: &Row, has_extra: bool, version: &RowVersion) {
    put_count(out, row.values.len() + usize::from(has_extra) + 1);
    for value in &row.values {
        put_value(out, value);
    }
    if has_extra {
        match &row.extra {
            None => put_null(out),
            Some(extra) => put_field(out, |out| put_json(out, extra)),
        }
    }
    put_field(out, |out| out.extend_from_slice(version.as_bytes()));
}

/// Appends the number of a row and its key.
pub(super) fn put_numbered_key(out: &mut Vec<u8>, number: i32, row: &Row, key: &[usize]) {
    put_count(out, key.len() + 1);
    put_field(out, |out| out.extend_from_slice(&number.to_be_bytes()));
    for index in key {
        put_value(out, &row.values[*index]);
    }
}

/// Appends a row that is merged by column: its key, the registered columns, the versions of the row and of its columns,
/// and the mask of the columns that keep their stored values.
pub(super) fn put_planned(
    out: &mut Vec<u8>,
    planned: &Planned<'_>,
    key: &[usize],
    columns: &Columns,
) {
    let row = planned.row;
    put_count(out, key.len() + columns.count() + 3);
    for index in key {
        put_value(out, &row.values[*index]);
    }
    for column in 0..columns.count() {
        match (planned.place(columns, column), &row.extra) {
            (Some(Place::Field(field)), _) => put_value(out, &row.values[field]),
            (Some(Place::Extra), Some(extra)) => put_field(out, |out| put_json(out, extra)),
            _ => put_null(out),
        }
    }
    let update = &planned.update;
    put_field(out, |out| out.extend_from_slice(&update.version));
    put_field(out, |out| out.extend_from_slice(&update.versions));
    put_field(out, |out| out.extend_from_slice(&planned.kept(columns)));
}

fn put_count(out: &mut Vec<u8>, fields: usize) {
    out.extend_from_slice(&narrow::<i16>(fields).to_be_bytes());
}

/// Narrows a number that the limits of datasets, records and values keep small.
fn narrow<T: Default>(number: impl TryInto<T>) -> T {
    let narrow = number.try_into();
    debug_assert!(
        narrow.is_ok(),
        "a number is beyond the limits of the format"
    );
    narrow.unwrap_or_default()
}

fn put_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i32).to_be_bytes());
}

/// Appends a field: its length, then what `put` appends.
fn put_field(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out);
    let length: i32 = narrow(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    if value.is_null() {
        return put_null(out);
    }
    put_field(out, |out| match value {
        Value::Null => {}
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Integer(number) => out.extend_from_slice(&number.to_be_bytes()),
        Value::Decimal(number) => put_numeric(out, *number),
        Value::Float(number) => out.extend_from_slice(&number.to_be_bytes()),
        Value::Boolean(boolean) => out.push(u8::from(*boolean)),
        Value::Date(day) => out.extend_from_slice(&days(*day).to_be_bytes()),
        Value::Timestamp(instant) => out.extend_from_slice(&microseconds(*instant).to_be_bytes()),
        Value::Json(text) => put_json(out, text),
    });
}

fn days(day: Date) -> i32 {
    (day - EPOCH).get_days()
}

fn microseconds(instant: Timestamp) -> i64 {
    instant.as_microsecond() - EPOCH_MICROSECONDS
}

/// `jsonb`: a format number, then the text. Text that `jsonb` cannot hold becomes a JSON string.
fn put_json(out: &mut Vec<u8>, text: &str) {
    out.push(1);
    if has_huge_number(text) {
        out.extend_from_slice(quoted(text).as_bytes());
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// `numeric`: digits in base 10,000, the power of the first one, sign, and displayed decimals.
fn put_numeric(out: &mut Vec<u8>, number: Decimal) {
    let scale = number.scale();
    // Pads so that the decimal point falls between two digits; 10^29 x 10^3 fits 128 bits.
    let padding = (4 - scale % 4) % 4;
    let mut rest = number.mantissa().unsigned_abs() * 10_u128.pow(padding);
    let mut digits = Vec::with_capacity(8);
    while rest > 0 {
        digits.push(narrow::<u16>(rest % 10_000));
        rest /= 10_000;
    }
    let after_point: i16 = narrow((scale + padding) / 4);
    let count: i16 = narrow(digits.len());
    let weight = if count == 0 {
        0
    } else {
        count - 1 - after_point
    };
    let sign: u16 = if number.is_sign_negative() && count > 0 {
        0x4000
    } else {
        0
    };
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&narrow::<u16>(scale).to_be_bytes());
    for digit in digits.iter().rev() {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

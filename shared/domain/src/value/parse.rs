//! Parsers of the types of fields. `None` means that the text is not a value of the type.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

pub(super) fn integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        // Spreadsheets and data frames write whole numbers as 12.0.
        let (whole, fraction) = text.split_once('.')?;
        let is_whole = !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0');
        is_whole.then(|| whole.parse().ok()).flatten()
    })
}

pub(super) fn decimal(text: &str) -> Option<Decimal> {
    // `Decimal` accepts underscores between digits, as Rust literals do.
    if text.contains('_') {
        return None;
    }
    let number = match text.find(['e', 'E']) {
        None => Decimal::from_str_exact(text).ok()?,
        Some(_) => Decimal::from_scientific(text).ok()?,
    };
    // `Decimal` rounds numbers that do not fit its mantissa of 96 bits; only exact ones are accepted.
    let digits = text
        .split(['e', 'E'])
        .next()?
        .trim_start_matches(['+', '-', '0', '.'])
        .bytes()
        .filter(u8::is_ascii_digit)
        .count();
    let number = number.normalize();
    (digits <= 28).then_some(if number.is_zero() {
        Decimal::ZERO
    } else {
        number
    })
}

pub(super) fn float(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    // -0 equals 0, but its bytes differ.
    let number = if number == 0.0 { 0.0 } else { number };
    number.is_finite().then_some(number)
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    const TRUE: [&str; 5] = ["true", "t", "1", "yes", "y"];
    const FALSE: [&str; 5] = ["false", "f", "0", "no", "n"];
    let is_one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(&TRUE) {
        Some(true)
    } else {
        is_one_of(&FALSE).then_some(false)
    }
}

pub(super) fn date(text: &str, pattern: Option<&str>) -> Option<Date> {
    let date = match pattern {
        Some(pattern) => Date::strptime(pattern, text).ok()?,
        // Only the ISO form of a date: jiff also parses the date of a timestamp.
        None => (text.len() == 10).then(|| text.parse().ok())??,
    };
    (date.year() >= 1).then_some(date)
}

pub(super) fn timestamp(text: &str, pattern: Option<&str>) -> Option<Timestamp> {
    let instant = match pattern {
        Some(pattern) => Timestamp::strptime(pattern, text).ok().or_else(|| {
            let time = DateTime::strptime(pattern, text)
                .ok()
                .or_else(|| Date::strptime(pattern, text).ok().map(DateTime::from))?;
            in_utc(time)
        })?,
        // A time without an offset is in UTC.
        None => text
            .parse()
            .ok()
            .or_else(|| text.parse().ok().and_then(in_utc))?,
    };
    let instant = Timestamp::from_microsecond(instant.as_microsecond()).ok()?;
    let year = instant.to_zoned(TimeZone::UTC).year();
    (1..=9999).contains(&year).then_some(instant)
}

fn in_utc(time: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(time).ok()
}

//! Parsers of numbers. `None` means that the text is not a value of the type.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

pub(super) fn integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        // Spreadsheets and data frames write whole numbers as 12.0, and some serializers as 1.2E1.
        let number = decimal(text)?;
        (number.is_integer() && !text.ends_with('.')).then(|| number.to_i64())?
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

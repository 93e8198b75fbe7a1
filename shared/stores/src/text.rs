//! Text forms of values. Each has a fixed length, so that texts sort as their values do.

use jiff::civil::{Date, DateTime};

/// Returns a date as `2026-11-20`.
pub(crate) fn date_text(day: Date) -> String {
    let mut text = String::with_capacity(10);
    write_date(&mut text, day);
    text
}

/// Returns a time as `2026-11-20T08:30:00.000000Z`, with this separator and suffix.
pub(crate) fn timestamp_text(time: DateTime, separator: char, end: &str) -> String {
    let mut text = String::with_capacity(32);
    write_timestamp(&mut text, time, separator, end);
    text
}

/// Appends [`date_text`].
pub(crate) fn write_date(text: &mut String, day: Date) {
    debug_assert!(day.year() >= 0, "fields have no dates before the year 1");
    digits(text, day.year().unsigned_abs().into(), 4);
    text.push('-');
    digits(text, day.month().unsigned_abs().into(), 2);
    text.push('-');
    digits(text, day.day().unsigned_abs().into(), 2);
}

/// Appends [`timestamp_text`].
pub(crate) fn write_timestamp(text: &mut String, at: DateTime, separator: char, end: &str) {
    write_date(text, at.date());
    for (before, number) in [
        (separator, at.hour()),
        (':', at.minute()),
        (':', at.second()),
    ] {
        text.push(before);
        digits(text, number.unsigned_abs().into(), 2);
    }
    text.push('.');
    digits(text, at.subsec_nanosecond().unsigned_abs() / 1000, 6);
    text.push_str(end);
}

/// Removes trailing zeros of a decimal number, which databases may add.
pub(crate) fn without_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// Appends the last `count` digits. Much faster than `format!`, which matters as this runs for each row.
fn digits(text: &mut String, number: u32, count: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_one_length() {
        assert_eq!(date_text(jiff::civil::date(7, 1, 2)), "0007-01-02");
        let time: DateTime = "2026-11-20T08:30:59.012345".parse().unwrap();
        let text = timestamp_text(time, ' ', "+00");
        assert_eq!(text, "2026-11-20 08:30:59.012345+00");
    }
}

//! Errors of values, with the setting that would make the text a value.
//!
//! A setting is suggested only if the text can be parsed with it.

use jiff::fmt::strtime::BrokenDownTime;

use super::error::ValueError;
use super::notation::{BooleanWords, EpochUnit, NumberNotation, TimeFormat, TimeNotation};
use super::time::{self, TimeError};
use super::{FieldType, Value};

const IF_NULL: &str = "name it in nulls if it means null";
/// Decimal and thousands separators, the most usual first.
const SEPARATORS: [(char, Option<char>); 8] = [
    ('.', None),
    (',', None),
    ('.', Some(',')),
    (',', Some('.')),
    (',', Some(' ')),
    ('.', Some(' ')),
    ('.', Some('\'')),
    (',', Some('\'')),
];
/// Patterns of dates, the most usual first.
const DATES: [&str; 15] = [
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d %b %Y",
    "%b %d, %Y",
    "%b %d %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%Y%m%d",
];
/// Patterns of what follows a date.
const TIMES: [&str; 10] = [
    "",
    " %H:%M:%S",
    " %H:%M",
    " %I:%M:%S %p",
    " %I:%M %p",
    " %H:%M:%S%.f",
    "T%H:%M:%S",
    "T%H:%M:%SZ",
    ", %H:%M",
    ", %I:%M:%S %p",
];

/// Returns the error of a text that is not a number of this type.
#[cold]
pub(super) fn number(kind: FieldType, notation: Option<&NumberNotation>, text: &str) -> ValueError {
    let expected = match kind {
        FieldType::Integer => "a 64-bit integer",
        FieldType::Decimal => "a decimal number of at most 28 significant digits, like 12.50",
        _ => "a finite number",
    };
    let settings = notation.map(NumberNotation::settings).unwrap_or_default();
    let written = if settings.is_empty() {
        String::new()
    } else {
        format!(" written with {settings}")
    };
    ValueError::not_a(
        &format!("{expected}{written}"),
        text,
        &number_hint(kind, text),
    )
}

fn number_hint(kind: FieldType, text: &str) -> String {
    let trimmed = text.trim();
    // Spreadsheets write #DIV/0! for an error.
    if trimmed.starts_with('#') || !trimmed.contains(|character: char| character.is_ascii_digit()) {
        return IF_NULL.to_owned();
    }
    let is_part = |character: char| {
        character.is_ascii_digit() || " +-.,'()\u{a0}\u{202f}\u{2212}".contains(character)
    };
    let bare = trimmed.trim_matches(|character: char| "()+- \u{a0}\u{2212}".contains(character));
    let before: String = bare.chars().take_while(|char| !is_part(*char)).collect();
    let after = bare.trim_end_matches(|character: char| !is_part(character));
    let currency = [before.as_str(), &bare[after.len()..]]
        .into_iter()
        .find(|sign| is_currency(sign))
        .map(str::to_owned);
    let accounting = trimmed.contains('(') || trimmed.ends_with('-');
    let notations = SEPARATORS
        .into_iter()
        .map(|(decimal, thousands)| NumberNotation {
            decimal,
            thousands,
            currency: currency.clone(),
            accounting,
        });
    let fitting = notations.filter_map(|notation| {
        let settings = notation.settings();
        let plain = notation.plain(trimmed)?;
        let is_used = match (notation.decimal, notation.thousands) {
            (',', Some('.')) | ('.', _) => true,
            (decimal, _) => trimmed.contains(decimal),
        };
        let is_grouped = notation.thousands.is_none() || {
            let thousands = None;
            let ungrouped = NumberNotation {
                thousands,
                ..notation.clone()
            };
            ungrouped.plain(trimmed).is_none()
        };
        let is_value =
            is_used && is_grouped && !settings.is_empty() && Value::number(kind, &plain).is_some();
        is_value.then_some(settings)
    });
    let settings: Vec<String> = fitting.take(2).collect();
    if settings.is_empty() {
        return String::new();
    }
    format!(
        "set {} if the file writes numbers so",
        settings.join(", or ")
    )
}

/// Returns whether this may be a currency, rather than a unit or any other text.
fn is_currency(sign: &str) -> bool {
    let is_code =
        (2..=3).contains(&sign.len()) && sign.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code
        || ["kr", "zł", "Kč", "Ft"].contains(&sign)
        || (1..=8).contains(&sign.len())
            && !sign.contains(|sign: char| sign.is_ascii_lowercase() || sign == '%')
            && !sign.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Returns the error of a text that is neither true nor false.
#[cold]
pub(super) fn boolean(words: Option<&BooleanWords>, text: &str) -> ValueError {
    let expected = match words {
        None => "true or false".to_owned(),
        Some(BooleanWords { yes, no }) => format!("one of {yes:?} or {no:?}"),
    };
    let hint = "name it in true_values, false_values or nulls";
    ValueError::not_a(&expected, text, hint)
}

/// Returns the error of a text that is not a date or timestamp.
#[cold]
pub(super) fn time(
    kind: FieldType,
    notation: &TimeNotation,
    text: &str,
    error: TimeError,
) -> ValueError {
    let format = notation.format.as_ref();
    let expected = expected_time(kind, format);
    match error {
        TimeError::Form => ValueError::not_a(&expected, text, &time_hint(kind, format, text)),
        TimeError::ShortYear => {
            let hint = "%Y stands for four digits; use %y for years of two digits";
            ValueError::not_a(&expected, text, hint)
        }
        TimeError::Range => {
            let hint = epoch_hint(text).filter(|_| matches!(format, Some(TimeFormat::Epoch(_))));
            let hint = hint.unwrap_or_else(|| IF_NULL.to_owned());
            ValueError::of(
                text,
                &format!("is not in the years 1 to 9999 of UTC; {hint}"),
            )
        }
        TimeError::Precision => ValueError::of(
            text,
            "has more precision than a microsecond, or a leap second, and a key is never cut; round it, or make the \
             field a text",
        ),
        TimeError::Zone(message) => ValueError::of(text, &format!("has a time zone: {message}")),
        TimeError::Offset(zone) => ValueError::of(
            text,
            &format!("has an offset that {zone} does not have then; remove the offset or the zone"),
        ),
        TimeError::Repeated(zone) => ValueError::of(
            text,
            &format!(
                "occurs twice in {zone}, because clocks are set back; add the offset, or set fold = \"earlier\" or \
                 fold = \"later\""
            ),
        ),
        TimeError::Skipped(zone) => ValueError::of(
            text,
            &format!(
                "never occurs in {zone}, because clocks are set forward; correct it, or set timezone, or \
                 fold = \"earlier\" or fold = \"later\""
            ),
        ),
    }
}

fn expected_time(kind: FieldType, format: Option<&TimeFormat>) -> String {
    let kind = kind.as_str();
    match format {
        None if kind == "date" => "a date like 2026-11-20".to_owned(),
        None => "a timestamp like 2026-11-20T08:30:00Z".to_owned(),
        Some(TimeFormat::Pattern(pattern)) => format!("a {kind} like {pattern}"),
        Some(TimeFormat::Excel) if kind == "date" => {
            "a whole number of days since 1899-12-30".to_owned()
        }
        Some(TimeFormat::Excel) => "a number of days since 1899-12-30".to_owned(),
        Some(TimeFormat::Epoch(unit)) => {
            let units = match unit {
                EpochUnit::Seconds => "seconds",
                EpochUnit::Milliseconds => "milliseconds",
                EpochUnit::Microseconds => "microseconds",
            };
            format!("a number of {units} since 1970")
        }
    }
}

/// Returns which `format` would parse a text, if any.
pub(super) fn time_hint(kind: FieldType, format: Option<&TimeFormat>, text: &str) -> String {
    let text = text.trim();
    // MySQL writes 0000-00-00 for a missing date.
    if !text.contains(|character: char| matches!(character, '1'..='9')) {
        return IF_NULL.to_owned();
    }
    let iso = TimeNotation::default();
    let is_iso = || match kind {
        FieldType::Date => time::date(text, &iso).is_ok(),
        _ => time::timestamp(text, &iso, &mut false).is_ok(),
    };
    if format.is_some() && is_iso() {
        return "the text is in ISO 8601, which needs no format".to_owned();
    }
    if let Some(hint) = epoch_hint(text) {
        return match kind {
            FieldType::Date => format!("make the field a timestamp and {hint}"),
            _ => hint,
        };
    }
    if is_serial(text) {
        return "set format = \"excel\" if it counts the days since 1899-12-30".to_owned();
    }
    let patterns = patterns_of(text);
    if patterns.is_empty() {
        let hint = match format {
            Some(_) => "check that there is such a date and time, and that format fits",
            None if is_impossible(text) => "there is no such day",
            None => "set format to its strptime pattern, like \"%d/%m/%Y\"",
        };
        return hint.to_owned();
    }
    format!("set format = {}", patterns.join(" or format = "))
}

/// Returns the unit of a number since 1970 that would be in the years 1970 to 2286.
fn epoch_hint(text: &str) -> Option<String> {
    let whole = text.trim().split('.').next()?;
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let format = match whole.len() {
        9..=10 => "epoch_s",
        12..=13 => "epoch_ms",
        15..=16 => "epoch_us",
        _ => return None,
    };
    Some(format!("set format = {format:?}"))
}

/// Returns whether a number of days since 1899-12-30 would be in the years 1954 to 2118.
fn is_serial(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole) && are_digits(fraction) && matches!(whole.parse(), Ok(20_000..80_000_u32))
}

/// Returns whether a text begins with an ISO date that is not in the calendar.
fn is_impossible(text: &str) -> bool {
    const ISO: &str = "%Y-%m-%d";
    let is_day =
        || BrokenDownTime::parse_prefix(ISO, text).is_ok_and(|(day, _)| day.to_date().is_ok());
    begins_like(text, ISO) && !is_day()
}

/// Returns at most two quoted patterns that parse a text.
fn patterns_of(text: &str) -> Vec<String> {
    let may_fit = |date: &&str| begins_like(text, date);
    let dates = DATES.into_iter().filter(may_fit).filter_map(|date| {
        let (_, length) = BrokenDownTime::parse_prefix(date, text).ok()?;
        let rest = text.get(length..)?;
        let follows = |time: &&str| {
            time.chars().next() == rest.chars().next() && BrokenDownTime::parse(time, rest).is_ok()
        };
        let pattern = format!("{date}{}", TIMES.into_iter().find(follows)?);
        time::is_dated(&pattern, text).then(|| format!("{pattern:?}"))
    });
    dates.take(2).collect()
}

/// Returns whether a text may begin with a date of this pattern. Files can have millions of wrong dates, and parsing
/// each by every pattern would take longer than everything else that is done with them.
fn begins_like(text: &str, pattern: &str) -> bool {
    let mut rest = text.as_bytes();
    let mut pattern = pattern.bytes();
    while let Some(byte) = pattern.next() {
        let (is_part, most): (fn(&u8) -> bool, usize) = match (byte, pattern.clone().next()) {
            (b'%', Some(b'Y')) => (u8::is_ascii_digit, 4),
            (b'%', Some(b'b')) => (u8::is_ascii_alphabetic, 3),
            (b'%', _) => (u8::is_ascii_digit, 2),
            _ if rest.first() == Some(&byte) => {
                rest = &rest[1..];
                continue;
            }
            _ => return false,
        };
        pattern.next();
        let length = rest
            .iter()
            .take(most)
            .take_while(|byte| is_part(byte))
            .count();
        if length == 0 {
            return false;
        }
        rest = &rest[length..];
    }
    !rest.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_setting_that_helps() {
        let decimal = FieldType::Decimal;
        for (kind, text, hint) in [
            (decimal, "12,50", "set decimal = \",\" if"),
            (
                decimal,
                "1.234,56",
                "set decimal = \",\" and thousands = \".\" if",
            ),
            (decimal, "1,234.50", "set thousands = \",\" if"),
            (
                decimal,
                "1,234",
                "set decimal = \",\", or thousands = \",\" if",
            ),
            (FieldType::Integer, "1,234", "set thousands = \",\" if"),
            (
                FieldType::Float,
                "1 234,5",
                "set decimal = \",\" and thousands = \" \" if",
            ),
            (
                decimal,
                "12,50 €",
                "set decimal = \",\" and currency = \"€\" if",
            ),
            (decimal, "$12.50", "set currency = \"$\" if"),
            (
                decimal,
                "-EUR 1'000",
                "set thousands = \"'\" and currency = \"EUR\" if",
            ),
            (decimal, "(12.50)", "set accounting = true if"),
            (decimal, "NaN", "name it in nulls"),
            (FieldType::Integer, "-", "name it in nulls"),
            (decimal, "#DIV/0!", "name it in nulls"),
            (decimal, "12,34,567.5", "set thousands = \",\" if"),
            (FieldType::Date, "2026-02-29", "there is no such day"),
            (FieldType::Date, "45697", "set format = \"excel\" if"),
            (FieldType::Timestamp, "45697.5", "set format = \"excel\" if"),
            (FieldType::Date, "0000-00-00", "name it in nulls"),
            (
                FieldType::Date,
                "1767609000",
                "make the field a timestamp and set format",
            ),
            (FieldType::Boolean, "ja", "name it in true_values"),
            (FieldType::Date, "31/12/2024", "set format = \"%d/%m/%Y\""),
            (
                FieldType::Date,
                "1/2/2024",
                "set format = \"%d/%m/%Y\" or format = \"%m/%d/%Y\"",
            ),
            (FieldType::Date, "31/12/24", "set format = \"%d/%m/%y\""),
            (FieldType::Date, "20241231", "set format = \"%Y%m%d\""),
            (
                FieldType::Date,
                "2024-12-31 00:00:00",
                "set format = \"%Y-%m-%d %H:%M:%S\"",
            ),
            (
                FieldType::Timestamp,
                "06/14/2019 07:00:00 PM",
                "\"%m/%d/%Y %I:%M:%S %p\"",
            ),
            (
                FieldType::Timestamp,
                "Jan 1, 2024",
                "set format = \"%b %d, %Y\"",
            ),
            (
                FieldType::Timestamp,
                "1767609000",
                "set format = \"epoch_s\"",
            ),
            (
                FieldType::Timestamp,
                "1767609000123",
                "set format = \"epoch_ms\"",
            ),
            (
                FieldType::Timestamp,
                "week 3",
                "set format to its strptime pattern",
            ),
            (FieldType::Timestamp, "never", "name it in nulls"),
        ] {
            let error = Value::from_text(kind, text).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        for (kind, text) in [
            (decimal, "1.2.3"),
            (FieldType::Integer, "1.5"),
            (decimal, "12 x 3"),
            (decimal, "12%"),
            (decimal, "12 kg"),
        ] {
            let error = Value::from_text(kind, text).unwrap_err().to_string();
            assert!(!error.contains(';'), "{error}");
        }
    }
}

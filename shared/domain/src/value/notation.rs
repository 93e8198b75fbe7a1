//! How the values of a field are written in files, where that differs from the default.

use jiff::tz::TimeZone;
use serde::Deserialize;

/// How the values of a field are written in files. The default is what `Value::from_text` parses.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Notation {
    pub(crate) time: TimeNotation,
    pub(crate) number: Option<NumberNotation>,
    pub(crate) boolean: Option<BooleanWords>,
}

/// How dates and timestamps are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TimeNotation {
    /// By default ISO 8601.
    pub(crate) format: Option<TimeFormat>,
    /// The time zone of times without an offset; by default UTC.
    pub(crate) zone: Option<TimeZone>,
    /// What local times mean that occur twice or never; by default they are errors.
    pub(crate) fold: Option<Fold>,
    /// Whether timestamps with more precision than a microsecond are errors. Otherwise they are cut.
    pub(crate) is_exact: bool,
}

/// The form of dates and timestamps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TimeFormat {
    /// A `strptime` pattern.
    Pattern(String),
    /// A number of units since 1970, which may have a fraction.
    Epoch(EpochUnit),
    /// A number of days since 1899-12-30, as spreadsheets count them.
    Excel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochUnit {
    Seconds,
    Milliseconds,
    Microseconds,
}

/// Which instant is meant by a local time that occurs twice, or never, because clocks are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fold {
    /// The earlier of the two.
    Earlier,
    /// The later of the two.
    Later,
}

/// How numbers are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumberNotation {
    /// Precedes the fraction.
    pub(crate) decimal: char,
    /// Separates groups of three digits.
    pub(crate) thousands: Option<char>,
    /// Sign or code before or after the number.
    pub(crate) currency: Option<String>,
    /// Whether brackets around a number, or a minus after it, make it negative.
    pub(crate) accounting: bool,
}

impl Default for NumberNotation {
    fn default() -> Self {
        Self {
            decimal: '.',
            thousands: None,
            currency: None,
            accounting: false,
        }
    }
}

impl NumberNotation {
    /// Returns the settings of a definition that mean this notation, or an empty text for the default.
    pub(crate) fn settings(&self) -> String {
        let mut settings = Vec::new();
        if self.decimal != '.' {
            settings.push(format!("decimal = \"{}\"", self.decimal));
        }
        settings.extend(self.thousands.map(|sign| format!("thousands = \"{sign}\"")));
        let currency = self.currency.as_ref();
        settings.extend(currency.map(|sign| format!("currency = {sign:?}")));
        if self.accounting {
            settings.push("accounting = true".to_owned());
        }
        settings.join(" and ")
    }

    /// Returns the number as Rust writes it, or `None` if the text is not a number in this notation.
    pub(super) fn plain(&self, text: &str) -> Option<String> {
        let mut rest = text.trim();
        let (mut is_bare, mut sign) = (self.currency.is_none(), None);
        // Signs, brackets and currency may surround the digits in any order: "(12.50) $", "-$12.50", "$-12.50".
        loop {
            if !is_bare && let Some(inner) = self.without_currency(rest) {
                (is_bare, rest) = (true, inner.trim());
            } else if sign.is_none()
                && let Some((found, inner)) = self.sign(rest)
            {
                (sign, rest) = (Some(found), inner.trim());
            } else {
                break;
            }
        }
        let exponent = rest.find(['e', 'E']).unwrap_or(rest.len());
        let (mantissa, exponent) = rest.split_at(exponent);
        let (whole, fraction) = match mantissa.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let groups: Vec<&str> = whole.split(|sign| self.is_thousands(sign)).collect();
        if !self.are_groups(&groups) {
            return None;
        }
        let mut number = String::with_capacity(rest.len() + 1);
        number.extend(sign.filter(|sign| *sign == '-'));
        number.extend(groups);
        if let Some(fraction) = fraction {
            number.push('.');
            number.push_str(fraction);
        }
        number.push_str(exponent);
        are_digits(fraction.unwrap_or_default()).then_some(number)
    }

    /// Returns whether these are groups of three digits, or of two before the last three, as in India: `1,23,456`.
    fn are_groups(&self, groups: &[&str]) -> bool {
        let is_right_length = match groups {
            [] | [_] => true,
            [first, middle @ .., last] => {
                let are_of = |size| {
                    (1..=size).contains(&first.len())
                        && middle.iter().all(|group| group.len() == size)
                };
                last.len() == 3 && (are_of(3) || self.thousands == Some(',') && are_of(2))
            }
        };
        is_right_length && groups.iter().all(|group| are_digits(group))
    }

    fn without_currency<'t>(&self, text: &'t str) -> Option<&'t str> {
        let currency = self.currency.as_deref()?;
        text.strip_prefix(currency)
            .or_else(|| text.strip_suffix(currency))
    }

    fn sign<'t>(&self, text: &'t str) -> Option<(char, &'t str)> {
        if let Some(rest) = text.strip_prefix(['-', '\u{2212}']) {
            return Some(('-', rest));
        }
        if let Some(rest) = text.strip_prefix('+') {
            return Some(('+', rest));
        }
        if !self.accounting {
            return None;
        }
        let inner = text
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'));
        inner
            .or_else(|| text.strip_suffix('-'))
            .map(|inner| ('-', inner))
    }

    /// Returns whether this separates thousands. The characters that are printed alike are accepted alike.
    fn is_thousands(&self, sign: char) -> bool {
        match self.thousands {
            Some(' ') => matches!(sign, ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}'),
            Some('\'') => matches!(sign, '\'' | '\u{2019}'),
            thousands => thousands == Some(sign),
        }
    }
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The words for true and false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BooleanWords {
    pub(crate) yes: Vec<String>,
    pub(crate) no: Vec<String>,
}

impl Default for BooleanWords {
    fn default() -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            yes: owned(&TRUE),
            no: owned(&FALSE),
        }
    }
}

impl BooleanWords {
    pub(super) fn parse(&self, text: &str) -> Option<bool> {
        let is_one_of = |words: &[String]| words.iter().any(|word| is_same_word(word, text));
        boolean(is_one_of(&self.yes), is_one_of(&self.no))
    }
}

const TRUE: [&str; 5] = ["true", "t", "1", "yes", "y"];
const FALSE: [&str; 5] = ["false", "f", "0", "no", "n"];

/// Parses one of the usual words for true and false.
pub(super) fn usual_boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    boolean(is_one_of(&TRUE), is_one_of(&FALSE))
}

fn boolean(yes: bool, no: bool) -> Option<bool> {
    yes.then_some(true).or(no.then_some(false))
}

/// Returns whether two words are the same apart from case and surrounding white space.
pub(crate) fn is_same_word(word: &str, other: &str) -> bool {
    let (word, other) = (word.trim(), other.trim());
    word.eq_ignore_ascii_case(other)
        || !word.is_ascii() && word.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notation(decimal: char, thousands: &str, currency: &str) -> NumberNotation {
        NumberNotation {
            decimal,
            thousands: thousands.chars().next(),
            currency: (!currency.is_empty()).then(|| currency.to_owned()),
            accounting: true,
        }
    }

    #[test]
    fn numbers_are_rewritten() {
        for (notation, text, plain) in [
            (notation(',', ".", "€"), "1.234,56", Some("1234.56")),
            (notation(',', ".", "€"), "1234,56", Some("1234.56")),
            (notation(',', ".", "€"), "-2,40", Some("-2.40")),
            (notation(',', ".", "€"), "12,50 €", Some("12.50")),
            (notation(',', ".", "€"), "€\u{a0}12,50", Some("12.50")),
            (notation(',', ".", "€"), "-€12", Some("-12")),
            (notation(',', ".", "€"), "€ -12", Some("-12")),
            (notation(',', ".", "€"), "(12,50 €)", Some("-12.50")),
            (notation(',', ".", "€"), "(12,50) €", Some("-12.50")),
            (notation(',', ".", "€"), "12,50-", Some("-12.50")),
            (notation(',', ".", "€"), "\u{2212}1,5e3", Some("-1.5e3")),
            (notation(',', ".", ""), ",5", Some(".5")),
            (
                notation(',', " ", ""),
                "1\u{202f}234\u{a0}567,8",
                Some("1234567.8"),
            ),
            (
                notation('.', "'", "Fr."),
                "Fr. 1\u{2019}234.50",
                Some("1234.50"),
            ),
            // Groups have three digits, and only before the fraction.
            (notation(',', ".", ""), "12.5", None),
            (notation(',', ".", ""), "1234.567", None),
            (notation(',', ".", ""), ".567", None),
            (notation(',', ".", ""), "1..234", None),
            (notation(',', ".", ""), "1,234.567", None),
            (notation(',', ".", ""), "1.234.56", None),
            (notation('.', ",", ""), "1,234,56", None),
            (notation('.', ",", ""), "1,23,456.5", Some("123456.5")),
            (notation('.', ",", ""), "12,34,56,789", Some("123456789")),
            (notation('.', ",", ""), "123,45,678", None),
            (notation('.', ",", ""), "1,234,56,789", None),
            (notation(',', ".", ""), "1.23.456", None),
            (notation('.', "", ""), "1,234", None),
            (notation(',', "", ""), "12.5", None),
            // One sign, one currency.
            (notation(',', ".", "€"), "(-12,50)", None),
            (notation(',', ".", "€"), "€ 12,50 €", None),
            (notation(',', ".", "€"), "12,50 $", None),
            (notation(',', ".", "€"), "(12,50", None),
            (notation(',', ".", "€"), "1,2,3", None),
        ] {
            assert_eq!(notation.plain(text).as_deref(), plain, "{text}");
        }
        let strict = NumberNotation {
            accounting: false,
            ..notation(',', ".", "")
        };
        assert_eq!(strict.plain("(12,50)"), None);
        assert_eq!(strict.plain("12,50-"), None);
    }

    #[test]
    fn words_are_folded() {
        let words = BooleanWords {
            yes: vec!["Ja".to_owned(), "Ö".to_owned()],
            no: vec!["Nein".to_owned()],
        };
        assert_eq!(words.parse(" JA "), Some(true));
        assert_eq!(words.parse("ö"), Some(true));
        assert_eq!(words.parse("nein"), Some(false));
        assert_eq!(words.parse("true"), None);
    }
}

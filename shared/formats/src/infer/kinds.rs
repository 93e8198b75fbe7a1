//! The kinds of values that are recognized: types of fields, with the settings that they need.

use std::sync::LazyLock;

use landfall_domain::{Dataset, Field, FieldType};

/// Texts that often stand for null.
pub(super) const NULLS: [&str; 19] = [
    "NA",
    "N/A",
    "n/a",
    "na",
    "NULL",
    "null",
    "Null",
    "None",
    "none",
    "NaN",
    "nan",
    "\\N",
    "-",
    "--",
    "?",
    "#N/A",
    ".",
    // MySQL writes these for a missing date.
    "0000-00-00",
    "0000-00-00 00:00:00",
];

/// Of so many dates or times, one may be impossible, such as 30 February.
const IMPOSSIBLE_ONE_IN: u64 = 100;

/// The longest number that is one rather than a code, in digits.
pub(super) const MAX_DIGITS: usize = 15;

/// A type with its settings.
pub(super) struct Kind {
    /// The settings of a field of this kind in TOML, besides its type.
    pub(super) settings: &'static [(&'static str, &'static str)],
    pub(super) field: Field,
    shape: Shape,
}

/// What a text must look like beside being a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nothing but digits and a sign, and otherwise a number.
    Integer,
    /// Digits without leading zeros, and not too many of them.
    Number,
    /// Not a mere number.
    Word,
    /// Eight digits that are a day of 1900 to 2099.
    Day,
    /// An object or array.
    Brackets,
    Any,
}

/// All kinds, the preferred first.
pub(super) struct Kinds(pub(super) Vec<Kind>);

type Settings = &'static [(&'static str, &'static str)];

const KINDS: &[(&str, Shape, Settings)] = &[
    ("integer", Shape::Integer, &[]),
    ("decimal", Shape::Number, &[]),
    ("decimal", Shape::Number, &[("thousands", ",")]),
    ("decimal", Shape::Number, &[("decimal", ",")]),
    (
        "decimal",
        Shape::Number,
        &[("decimal", ","), ("thousands", ".")],
    ),
    (
        "decimal",
        Shape::Number,
        &[("decimal", ","), ("thousands", " ")],
    ),
    ("decimal", Shape::Number, &[("thousands", " ")]),
    ("decimal", Shape::Number, &[("thousands", "'")]),
    (
        "decimal",
        Shape::Number,
        &[("currency", "$"), ("thousands", ",")],
    ),
    (
        "decimal",
        Shape::Number,
        &[
            ("currency", "$"),
            ("thousands", ","),
            ("accounting", "true"),
        ],
    ),
    (
        "decimal",
        Shape::Number,
        &[("currency", "£"), ("thousands", ",")],
    ),
    (
        "decimal",
        Shape::Number,
        &[("currency", "€"), ("decimal", ","), ("thousands", ".")],
    ),
    (
        "decimal",
        Shape::Number,
        &[("currency", "€"), ("thousands", ",")],
    ),
    ("decimal", Shape::Number, &[("currency", "%")]),
    (
        "decimal",
        Shape::Number,
        &[("currency", "%"), ("decimal", ",")],
    ),
    (
        "decimal",
        Shape::Number,
        &[("accounting", "true"), ("thousands", ",")],
    ),
    ("float", Shape::Number, &[]),
    ("boolean", Shape::Word, &[]),
    ("date", Shape::Any, &[]),
    ("date", Shape::Any, &[("format", "%Y/%m/%d")]),
    ("date", Shape::Any, &[("format", "%d.%m.%Y")]),
    ("date", Shape::Any, &[("format", "%m/%d/%Y")]),
    ("date", Shape::Any, &[("format", "%d/%m/%Y")]),
    ("date", Shape::Any, &[("format", "%m-%d-%Y")]),
    ("date", Shape::Any, &[("format", "%d-%m-%Y")]),
    ("date", Shape::Any, &[("format", "%m/%d/%y")]),
    ("date", Shape::Any, &[("format", "%d/%m/%y")]),
    ("date", Shape::Any, &[("format", "%d.%m.%y")]),
    ("date", Shape::Any, &[("format", "%d-%b-%Y")]),
    ("date", Shape::Any, &[("format", "%d-%b-%y")]),
    ("date", Shape::Any, &[("format", "%d %b %Y")]),
    ("date", Shape::Any, &[("format", "%b %d, %Y")]),
    ("date", Shape::Any, &[("format", "%b %d %Y")]),
    ("date", Shape::Any, &[("format", "%B %d, %Y")]),
    ("date", Shape::Any, &[("format", "%d %B %Y")]),
    ("date", Shape::Day, &[("format", "%Y%m%d")]),
    ("timestamp", Shape::Any, &[]),
    ("timestamp", Shape::Any, &[("format", "%Y/%m/%d %H:%M:%S")]),
    ("timestamp", Shape::Any, &[("format", "%Y/%m/%d %H:%M")]),
    ("timestamp", Shape::Any, &[("format", "%m/%d/%Y %H:%M:%S")]),
    ("timestamp", Shape::Any, &[("format", "%d/%m/%Y %H:%M:%S")]),
    ("timestamp", Shape::Any, &[("format", "%m/%d/%Y %H:%M")]),
    ("timestamp", Shape::Any, &[("format", "%d/%m/%Y %H:%M")]),
    ("timestamp", Shape::Any, &[("format", "%d.%m.%Y %H:%M:%S")]),
    ("timestamp", Shape::Any, &[("format", "%d.%m.%Y %H:%M")]),
    (
        "timestamp",
        Shape::Any,
        &[("format", "%m/%d/%Y %I:%M:%S %p")],
    ),
    ("timestamp", Shape::Any, &[("format", "%m/%d/%Y %I:%M %p")]),
    (
        "timestamp",
        Shape::Any,
        &[("format", "%d/%b/%Y:%H:%M:%S %z")],
    ),
    (
        "timestamp",
        Shape::Any,
        &[("format", "%a, %d %b %Y %H:%M:%S %z")],
    ),
    (
        "timestamp",
        Shape::Any,
        &[("format", "%a, %d %b %Y %H:%M:%S GMT")],
    ),
    ("timestamp", Shape::Any, &[("format", "%b %d %Y %H:%M:%S")]),
    ("timestamp", Shape::Any, &[("format", "%b %d %Y")]),
    (
        "timestamp",
        Shape::Any,
        &[("format", "%a %b %d %H:%M:%S %z %Y")],
    ),
    ("json", Shape::Brackets, &[]),
];

impl Kinds {
    /// Returns all kinds.
    pub(super) fn get() -> &'static Self {
        static KINDS_READ: LazyLock<Kinds> = LazyLock::new(Kinds::read);
        &KINDS_READ
    }

    fn read() -> Self {
        let kinds = KINDS.iter().filter_map(|(kind, shape, settings)| {
            let field = field(kind, settings)?;
            Some(Kind {
                settings,
                field,
                shape: *shape,
            })
        });
        Self(kinds.collect())
    }
}

/// Returns a field with these settings, as the reader of definitions makes it.
fn field(kind: &str, settings: Settings) -> Option<Field> {
    let settings = settings.iter().map(|(name, value)| {
        let value = match *value {
            "true" => "true".to_owned(),
            text => super::write::quoted(text),
        };
        format!(", {name} = {value}")
    });
    let text = format!(
        "name = \"kinds\"\nkey = [\"key\"]\nfields = [{{ name = \"key\", type = \"text\" }}, {{ name = \"field\", type \
         = \"{kind}\"{} }}]",
        settings.collect::<String>()
    );
    let dataset = Dataset::from_toml("kinds.toml", &text);
    debug_assert!(dataset.is_ok(), "{dataset:?}");
    dataset.ok()?.fields.pop()
}

impl Kind {
    /// Returns whether a text is a value of this kind.
    fn accepts(&self, text: &str) -> bool {
        self.shape.fits(text) && self.field.parse(text).is_ok()
    }

    /// Returns whether its values are dates or times.
    fn is_time(&self) -> bool {
        matches!(self.field.kind, FieldType::Date | FieldType::Timestamp)
    }

    /// Returns the type and the settings, as in a definition.
    pub(super) fn describe(&self) -> String {
        let settings = self.settings.iter();
        let settings = settings.map(|(name, value)| format!("{name} = {value:?}"));
        let settings: Vec<_> = settings.collect();
        match settings[..] {
            [] => self.field.kind.as_str().to_owned(),
            _ => format!("{} with {}", self.field.kind.as_str(), settings.join(", ")),
        }
    }

    /// Returns whether another kind would read the same values without a complaint, but as something else.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        let is_decimal = |kind: &Self| kind.settings.iter().any(|(name, _)| *name == "decimal");
        match (self.field.kind, other.field.kind) {
            (FieldType::Integer, FieldType::Date) => true,
            (FieldType::Decimal, FieldType::Decimal) => is_decimal(self) != is_decimal(other),
            (a, b) => self.is_time() && a == b,
        }
    }
}

impl Shape {
    fn is_numeric(self) -> bool {
        matches!(self, Self::Integer | Self::Number)
    }

    fn fits(self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Word => !text.starts_with(|char: char| char.is_ascii_digit()),
            Self::Brackets => text.starts_with(['{', '[']),
            Self::Day => {
                text.len() == 8
                    && text.bytes().all(|byte| byte.is_ascii_digit())
                    && (text.starts_with("19") || text.starts_with("20"))
            }
            Self::Integer => is_plain_integer(text),
            Self::Number => {
                let mut digits = text.chars().filter(char::is_ascii_digit);
                let count = digits.clone().count();
                let fraction = text.find(['.', ',']);
                let is_zero_first = digits.next() == Some('0');
                let whole = text[..fraction.unwrap_or(text.len())].chars();
                let whole = whole.filter(char::is_ascii_digit).count();
                // A zero before others is one of a code; before a point, it is the number zero.
                let is_code = is_zero_first && whole > 1;
                let is_long = whole > MAX_DIGITS || (fraction.is_none() && count > MAX_DIGITS);
                !is_code && !is_long && !text.starts_with('+')
            }
        }
    }
}

/// Returns whether a text is an integer without leading zeros, and not a long one, which all numeric kinds accept.
fn is_plain_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_short = (1..=MAX_DIGITS).contains(&digits.len());
    is_short && digits.iter().all(u8::is_ascii_digit) && (digits[0] != b'0' || digits.len() == 1)
}

/// What the values of a column can be.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Whether each kind accepts all values so far, without the impossible ones; empty before the first one.
    fits: Vec<bool>,
    /// The value that the last numeric kind did not accept.
    pub(super) not_numeric: Option<String>,
    /// The value that the last kind of dates and times did not accept, although these accepted values before.
    not_time: Option<String>,
    pub(super) values: u64,
    /// The pattern of the first value.
    pattern: String,
    /// The number of values that are written like the dates or times, but are none of the calendar.
    impossible: u64,
    /// The first of them.
    first_impossible: Option<String>,
}

impl Seen {
    pub(super) fn add(&mut self, kinds: &Kinds, text: &str) {
        self.values += 1;
        if self.fits.is_empty() {
            self.fits = vec![true; kinds.0.len()];
            self.pattern = pattern(text);
        }
        let is_integer = is_plain_integer(text);
        let fits = self.fits.iter().zip(&kinds.0).map(|(fits, kind)| {
            *fits && ((is_integer && kind.shape.is_numeric()) || kind.accepts(text))
        });
        let fits: Vec<bool> = fits.collect();
        let loses = |which: fn(&Kind) -> bool| {
            let has = |fits: &[bool]| {
                fits.iter()
                    .zip(&kinds.0)
                    .any(|(fits, kind)| *fits && which(kind))
            };
            has(&self.fits) && !has(&fits)
        };
        if self.values > 1 && loses(Kind::is_time) {
            if !fits.contains(&true) && pattern(text) == self.pattern {
                self.impossible += 1;
                self.first_impossible.get_or_insert_with(|| text.to_owned());
                return;
            }
            self.not_time = Some(text.to_owned());
        }
        if loses(|kind| kind.shape.is_numeric()) {
            self.not_numeric = Some(text.to_owned());
        }
        self.fits = fits;
    }

    /// Returns the kinds that accept all values, or all but a few, the preferred first.
    pub(super) fn kinds<'k>(&self, kinds: &'k Kinds) -> Vec<&'k Kind> {
        if self.is_often_impossible() {
            return Vec::new();
        }
        let fitting = kinds.0.iter().zip(&self.fits);
        let fitting = fitting.filter(|(_, fits)| **fits);
        fitting.map(|(kind, _)| kind).collect()
    }

    /// Returns the value because of which the others are no dates or times.
    pub(super) fn not_time(&self) -> Option<&str> {
        let impossible = self.first_impossible.as_deref();
        let impossible = impossible.filter(|_| self.is_often_impossible());
        self.not_time.as_deref().or(impossible)
    }

    /// Returns how many values are impossible, and the first of them, if there are few.
    pub(super) fn impossible(&self) -> Option<(u64, &str)> {
        let first = self.first_impossible.as_deref();
        let first = first.filter(|_| !self.is_often_impossible())?;
        Some((self.impossible, first))
    }

    fn is_often_impossible(&self) -> bool {
        self.impossible > self.values / IMPOSSIBLE_ONE_IN
    }
}

/// Returns a text with one sign for each run of digits, and one for each run of letters.
fn pattern(text: &str) -> String {
    let mut pattern = String::new();
    for char in text.chars() {
        let sign = match char {
            _ if char.is_ascii_digit() => '9',
            _ if char.is_alphabetic() => 'a',
            _ => char,
        };
        if !(matches!(sign, '9' | 'a') && pattern.ends_with(sign)) {
            pattern.push(sign);
        }
    }
    pattern
}

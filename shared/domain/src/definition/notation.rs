//! The settings that say how values are written, of the dataset and of single fields.

use toml::Spanned;

use super::text::{DefinitionText, InvalidDefinition};
use crate::dataset::Field;
use crate::value::{
    BooleanWords, EpochUnit, FieldType, Fold, Notation, NumberNotation, TimeFormat, is_same_word,
    pattern_fault, zone,
};

/// The settings as they are in a definition. Those of a field precede those of the dataset.
#[derive(Clone, Copy)]
pub(super) struct RawNotation<'r> {
    pub(super) timezone: Option<&'r Spanned<String>>,
    pub(super) fold: Option<&'r Spanned<Fold>>,
    pub(super) decimal: Option<&'r Spanned<String>>,
    pub(super) thousands: Option<&'r Spanned<String>>,
    pub(super) currency: Option<&'r Spanned<String>>,
    pub(super) accounting: Option<&'r Spanned<bool>>,
    pub(super) true_values: Option<&'r Spanned<Vec<String>>>,
    pub(super) false_values: Option<&'r Spanned<Vec<String>>>,
}

/// Makes the [`RawNotation`] of a raw dataset or field.
macro_rules! raw_notation {
    ($raw:expr) => {
        RawNotation {
            timezone: $raw.timezone.as_ref(),
            fold: $raw.fold.as_ref(),
            decimal: $raw.decimal.as_ref(),
            thousands: $raw.thousands.as_ref(),
            currency: $raw.currency.as_ref(),
            accounting: $raw.accounting.as_ref(),
            true_values: $raw.true_values.as_ref(),
            false_values: $raw.false_values.as_ref(),
        }
    };
}
pub(super) use raw_notation;

impl RawNotation<'_> {
    fn or(self, other: Self) -> Self {
        Self {
            timezone: self.timezone.or(other.timezone),
            fold: self.fold.or(other.fold),
            decimal: self.decimal.or(other.decimal),
            thousands: self.thousands.or(other.thousands),
            currency: self.currency.or(other.currency),
            accounting: self.accounting.or(other.accounting),
            true_values: self.true_values.or(other.true_values),
            false_values: self.false_values.or(other.false_values),
        }
    }
}

/// Checks the settings of the dataset, also those that none of its fields has a use for.
pub(super) fn check_dataset(
    source: &DefinitionText<'_>,
    raw: RawNotation<'_>,
) -> Result<(), InvalidDefinition> {
    check_zone(source, None, raw)?;
    check_numbers(source, None, raw)?;
    check_words(source, None, raw, &[])?;
    Ok(())
}

/// Returns how the values of a field are written, without the form of times, which [`check_format`] returns.
pub(super) fn check_field(
    source: &DefinitionText<'_>,
    field: &Field,
    own: RawNotation<'_>,
    of_dataset: RawNotation<'_>,
    explicit_nulls: &[String],
) -> Result<Notation, InvalidDefinition> {
    check_use(source, field, own)?;
    let name = Some(field.name.as_str());
    let raw = own.or(of_dataset);
    let mut notation = Notation::default();
    match field.kind {
        FieldType::Timestamp => {
            notation.time.zone = check_zone(source, name, raw)?;
            notation.time.fold = raw.fold.map(|fold| *fold.get_ref());
        }
        FieldType::Integer | FieldType::Decimal | FieldType::Float => {
            notation.number = check_numbers(source, name, raw)?;
        }
        FieldType::Boolean => {
            notation.boolean = check_words(source, name, raw, explicit_nulls)?;
        }
        FieldType::Text | FieldType::Date | FieldType::Json => {}
    }
    Ok(notation)
}

/// Checks that a field has no settings that only concern other types.
fn check_use(
    source: &DefinitionText<'_>,
    field: &Field,
    own: RawNotation<'_>,
) -> Result<(), InvalidDefinition> {
    let is_number = matches!(
        field.kind,
        FieldType::Integer | FieldType::Decimal | FieldType::Float
    );
    let is_timestamp = field.kind == FieldType::Timestamp;
    let is_boolean = field.kind == FieldType::Boolean;
    let numbers = "only integers, decimals and floats";
    for (setting, span, is_used, kinds) in [
        (
            "timezone",
            own.timezone.map(Spanned::span),
            is_timestamp,
            "only timestamps",
        ),
        (
            "fold",
            own.fold.map(Spanned::span),
            is_timestamp,
            "only timestamps",
        ),
        (
            "decimal",
            own.decimal.map(Spanned::span),
            is_number,
            numbers,
        ),
        (
            "thousands",
            own.thousands.map(Spanned::span),
            is_number,
            numbers,
        ),
        (
            "currency",
            own.currency.map(Spanned::span),
            is_number,
            numbers,
        ),
        (
            "accounting",
            own.accounting.map(Spanned::span),
            is_number,
            numbers,
        ),
        (
            "true_values",
            own.true_values.map(Spanned::span),
            is_boolean,
            "only booleans",
        ),
        (
            "false_values",
            own.false_values.map(Spanned::span),
            is_boolean,
            "only booleans",
        ),
    ] {
        if let Some(span) = span.filter(|_| !is_used) {
            let kind = field.kind.as_str();
            let message = format!("{kinds} can have {setting}, and this field is a {kind}");
            return Err(source.error(&span, &field.name, message));
        }
    }
    Ok(())
}

/// Checks the `format` of a field.
pub(super) fn check_format(
    source: &DefinitionText<'_>,
    field: &Field,
    raw: Option<&Spanned<String>>,
) -> Result<Option<TimeFormat>, InvalidDefinition> {
    source.check_optional(&field.name, raw, |pattern| {
        let is_date = field.kind == FieldType::Date;
        if !is_date && field.kind != FieldType::Timestamp {
            return Err("only dates and timestamps can have a format".to_owned());
        }
        let unit = match pattern.as_str() {
            "epoch_s" | "%s" => EpochUnit::Seconds,
            "epoch_ms" => EpochUnit::Milliseconds,
            "epoch_us" => EpochUnit::Microseconds,
            "excel" => return Ok(TimeFormat::Excel),
            _ => {
                return match pattern_fault(pattern, is_date) {
                    None => Ok(TimeFormat::Pattern(pattern.clone())),
                    Some(fault) => Err(format!("{pattern:?} {fault}")),
                };
            }
        };
        if is_date {
            return Err(format!(
                "{pattern:?} is the format of timestamps; make the field a timestamp"
            ));
        }
        Ok(TimeFormat::Epoch(unit))
    })
}

fn check_zone(
    source: &DefinitionText<'_>,
    field: Option<&str>,
    raw: RawNotation<'_>,
) -> Result<Option<jiff::tz::TimeZone>, InvalidDefinition> {
    source.check_optional(field.unwrap_or("timezone"), raw.timezone, |name| zone(name))
}

fn check_numbers(
    source: &DefinitionText<'_>,
    field: Option<&str>,
    raw: RawNotation<'_>,
) -> Result<Option<NumberNotation>, InvalidDefinition> {
    let decimal = source.check_optional(field.unwrap_or("decimal"), raw.decimal, |text| {
        separator("decimal", text)
    })?;
    let thousands =
        source.check_optional(
            field.unwrap_or("thousands"),
            raw.thousands,
            |text| match text.as_str() {
                "" => Ok(None),
                text => separator("thousands", text).map(Some),
            },
        )?;
    let currency = source.check_optional(field.unwrap_or("currency"), raw.currency, |text| {
        currency(text)
    })?;
    let notation = NumberNotation {
        decimal: decimal.unwrap_or('.'),
        thousands: thousands.flatten(),
        currency: currency.flatten(),
        accounting: raw
            .accounting
            .is_some_and(|accounting| *accounting.get_ref()),
    };
    if notation.thousands == Some(notation.decimal) {
        let span = raw.thousands.or(raw.decimal).map_or(0..0, Spanned::span);
        let message = match raw.decimal {
            Some(_) => "thousands must differ from decimal".to_owned(),
            None => {
                "thousands must differ from decimal, which is \".\"; set decimal = \",\" as well"
                    .to_owned()
            }
        };
        return Err(source.error(&span, field.unwrap_or("thousands"), message));
    }
    Ok((notation != NumberNotation::default()).then_some(notation))
}

fn separator(setting: &str, text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(sign), None) if !sign.is_alphanumeric() && !"+-()\r\n\t\0".contains(sign) => Ok(sign),
        _ => Err(format!(
            "{setting} must be one character, and neither letter, digit, sign nor bracket"
        )),
    }
}

fn currency(text: &str) -> Result<Option<String>, &'static str> {
    let text = text.trim();
    if text.contains(|sign: char| sign.is_ascii_digit() || "+-()".contains(sign)) {
        return Err("currency must be a sign or code like \"€\" or \"EUR\"");
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn check_words(
    source: &DefinitionText<'_>,
    field: Option<&str>,
    raw: RawNotation<'_>,
    explicit_nulls: &[String],
) -> Result<Option<BooleanWords>, InvalidDefinition> {
    if raw.true_values.is_none() && raw.false_values.is_none() {
        return Ok(None);
    }
    let listed = |setting: &str, words: Option<&Spanned<Vec<String>>>| {
        source.check_optional(field.unwrap_or(setting), words, |words| {
            if words.is_empty() {
                return Err(format!("{setting} must list at least one text"));
            }
            let is_null = |word: &&String| explicit_nulls.contains(word);
            match words.iter().find(is_null) {
                Some(word) => Err(format!("{word:?} is in nulls too; remove one of the two")),
                None => Ok(words.clone()),
            }
        })
    };
    let usual = BooleanWords::default();
    let words = BooleanWords {
        yes: listed("true_values", raw.true_values)?.unwrap_or(usual.yes),
        no: listed("false_values", raw.false_values)?.unwrap_or(usual.no),
    };
    let is_both = |word: &&String| words.no.iter().any(|other| is_same_word(word, other));
    if let Some(word) = words.yes.iter().find(is_both) {
        let (setting, name, problem) = match (raw.true_values, raw.false_values) {
            (Some(_), Some(setting)) => {
                let problem = "is in true_values too; remove one of the two";
                (setting, "false_values", problem)
            }
            (Some(setting), None) => {
                let problem = "means false by default; set false_values as well";
                (setting, "true_values", problem)
            }
            (None, Some(setting)) => {
                let problem = "means true by default; set true_values as well";
                (setting, "false_values", problem)
            }
            (None, None) => return Ok(None),
        };
        let message = format!("{word:?} {problem}");
        return Err(source.error(&setting.span(), field.unwrap_or(name), message));
    }
    Ok(Some(words))
}

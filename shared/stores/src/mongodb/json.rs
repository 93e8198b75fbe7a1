//! JSON as BSON, in one form for all values: objects are documents, arrays are arrays, and numbers are numbers.
//!
//! - Names that `MongoDB` restricts are escaped: a dot is `%2E`, a dollar sign at the start is `%24`, and the empty
//!   name is `%`. A percent sign that would make a name look escaped is `%25`. Reading undoes this.
//! - Integers of 64 bits are `Int64`, and other numbers are doubles. A number that both would change is a `Decimal128`,
//!   or a double if it has more than the 34 digits of that. Servers compare all of them by value.
//! - Of properties with the same name, the last one is kept.
//! - Nothing is extended JSON: `{"$oid": "…"}` is a document.

use mongodb::bson::{Bson, Decimal128, Document, RawBson, RawBsonRef};

/// Values that are deeper are not valid here; see `landfall_domain::check_json`.
const MAX_DEPTH: usize = 90;
/// A normal double preserves any 15 digits, and writers print doubles with up to 17.
const DOUBLE_DIGITS: usize = 17;

/// Returns a valid JSON text as BSON.
pub(super) fn to_bson(text: &str) -> RawBson {
    let value = Parser { text, at: 0 }.value(0);
    debug_assert!(value.is_some(), "the text was checked");
    let value = value.and_then(|value| RawBson::try_from(value).ok());
    value.unwrap_or_else(|| text.into())
}

/// Returns the JSON text of a value that [`to_bson`] returned.
pub(super) fn to_text(value: RawBsonRef<'_>) -> Option<String> {
    let mut text = String::new();
    write(&mut text, value)?;
    Some(text)
}

/// Parses JSON that is known to be valid.
struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn value(&mut self, depth: usize) -> Option<Bson> {
        match self.peek()? {
            b'{' | b'[' if depth == MAX_DEPTH => None,
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.string().map(Bson::String),
            _ => scalar(self.token()),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Bson> {
        let mut document = Document::new();
        self.at += 1;
        while self.peek()? != b'}' {
            let name = escaped(self.string()?);
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            document.insert(name, self.value(depth)?);
            self.skip_comma()?;
        }
        self.at += 1;
        Some(Bson::Document(document))
    }

    fn array(&mut self, depth: usize) -> Option<Bson> {
        let mut values = Vec::new();
        self.at += 1;
        while self.peek()? != b']' {
            values.push(self.value(depth)?);
            self.skip_comma()?;
        }
        self.at += 1;
        Some(Bson::Array(values))
    }

    fn string(&mut self) -> Option<String> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + 1;
        let mut has_escapes = false;
        while *bytes.get(end)? != b'"' {
            let is_escape = bytes[end] == b'\\';
            has_escapes |= is_escape;
            end += 1 + usize::from(is_escape);
        }
        self.at = end + 1;
        if has_escapes {
            serde_json::from_str(self.text.get(start..=end)?).ok()
        } else {
            self.text.get(start + 1..end).map(str::to_owned)
        }
    }

    /// Consumes a number or a literal.
    fn token(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|end: char| matches!(end, ',' | ']' | '}') || end.is_ascii_whitespace());
        let token = &rest[..end.unwrap_or(rest.len())];
        self.at += token.len();
        token
    }

    /// Returns the next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_comma(&mut self) -> Option<()> {
        self.at += usize::from(self.peek()? == b',');
        Some(())
    }
}

fn scalar(token: &str) -> Option<Bson> {
    Some(match token {
        "null" => Bson::Null,
        "true" => Bson::Boolean(true),
        "false" => Bson::Boolean(false),
        number => match number.parse() {
            Ok(integer) => Bson::Int64(integer),
            Err(_) => inexact(number)?,
        },
    })
}

/// Returns a number that is not an integer of 64 bits.
fn inexact(number: &str) -> Option<Bson> {
    let double: f64 = number.parse().ok()?;
    let mantissa = number.split(['e', 'E']).next()?;
    let digits = mantissa.trim_start_matches(['-', '0', '.']);
    let digits = digits.bytes().filter(u8::is_ascii_digit).count();
    let is_fraction = number.contains(['.', 'e', 'E']);
    let is_kept = double.is_normal() || (double == 0.0 && digits == 0);
    if is_fraction && is_kept && digits <= DOUBLE_DIGITS {
        return Some(Bson::Double(double));
    }
    let decimal = number.parse::<Decimal128>().map(Bson::Decimal128);
    Some(decimal.unwrap_or(Bson::Double(double)))
}

fn write(text: &mut String, value: RawBsonRef<'_>) -> Option<()> {
    match value {
        RawBsonRef::Document(document) => {
            let mut before = '{';
            for element in document {
                let (name, value) = element.ok()?;
                text.push(before);
                *text += &serde_json::Value::from(unescaped(name.as_str())).to_string();
                text.push(':');
                write(text, value)?;
                before = ',';
            }
            *text += if before == '{' { "{}" } else { "}" };
        }
        RawBsonRef::Array(array) => {
            let mut before = '[';
            for value in array {
                text.push(before);
                write(text, value.ok()?)?;
                before = ',';
            }
            *text += if before == '[' { "[]" } else { "]" };
        }
        // As a number: extended JSON has a form for it.
        RawBsonRef::Decimal128(number) => *text += &number.to_string(),
        scalar => *text += &serde_json::to_string(&Bson::try_from(scalar).ok()?).ok()?,
    }
    Some(())
}

/// Returns a name in the form in which servers store any name.
fn escaped(name: String) -> String {
    let is_plain = !name.is_empty() && !name.contains(['.', '%']) && !name.starts_with('$');
    if is_plain {
        return name;
    }
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for (index, character) in name.char_indices() {
        let after = &name[index + character.len_utf8()..];
        match character {
            '.' => escaped += "%2E",
            '$' if index == 0 => escaped += "%24",
            '%' if name.len() == 1
                || ["2E", "24", "25"]
                    .iter()
                    .any(|code| after.starts_with(code)) =>
            {
                escaped += "%25";
            }
            other => escaped.push(other),
        }
    }
    escaped
}

fn unescaped(name: &str) -> String {
    if name == "%" {
        return String::new();
    }
    let mut parts = name.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.as_bytes() {
            [b'2', b'E', ..] => ('.', &part[2..]),
            [b'2', b'4', ..] => ('$', &part[2..]),
            [b'2', b'5', ..] => ('%', &part[2..]),
            _ => ('%', part),
        };
        text.push(character);
        text += rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn bson(text: &str) -> Bson {
        Bson::try_from(to_bson(text)).unwrap()
    }

    fn text(text: &str) -> String {
        to_text(to_bson(text).as_raw_bson_ref()).unwrap()
    }

    #[test]
    fn values_have_one_type_whatever_they_contain() {
        for (json, expected) in [
            (
                r#"{"a.b": 1, "$x": [true, null], "": "$y.z"}"#,
                doc! {
                    "a%2Eb": 1_i64, "%24x": [true, Bson::Null], "%": "$y.z"
                },
            ),
            (r#"{"$oid": "5f"}"#, doc! { "%24oid": "5f" }),
            (
                r#"{"\u0024a\u002e": {}, "b$": [ ]}"#,
                doc! { "%24a%2E": {}, "b$": [] },
            ),
            (
                r#"{"twice": 1, "x": 2, "twice": "3\n"}"#,
                doc! { "twice": "3\n", "x": 2_i64 },
            ),
            (
                r#"{"5%": -1, "%2E": 2.5, "%": 3}"#,
                doc! { "5%": -1_i64, "%252E": 2.5, "%25": 3_i64 },
            ),
        ] {
            assert_eq!(bson(json), Bson::Document(expected), "{json}");
        }
        let nested = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert!(matches!(bson(&nested), Bson::Array(_)));
    }

    #[test]
    fn numbers_keep_their_digits_if_any_type_can_hold_them() {
        for json in ["1.5", "-2.5e3", "0.0", "3.141592653589793", "1e300"] {
            assert_eq!(bson(json), Bson::Double(json.parse().unwrap()), "{json}");
        }
        for json in ["0", "-9223372036854775808", "9007199254740993"] {
            assert_eq!(bson(json), Bson::Int64(json.parse().unwrap()), "{json}");
        }
        for (json, expected) in [
            ("9223372036854775808", "9223372036854775808"),
            (
                "-1234567890.123456789012345678",
                "-1234567890.123456789012345678",
            ),
            ("1e-400", "1E-400"),
            ("18446744073709551616", "18446744073709551616"),
        ] {
            assert!(matches!(bson(json), Bson::Decimal128(_)), "{json}");
            assert_eq!(text(json), expected);
        }
        for long in ["0.1234567890123456789012345678901234567890", "1e-99999"] {
            assert_eq!(bson(long), Bson::Double(long.parse().unwrap()), "{long}");
        }
    }

    #[test]
    fn json_is_read_as_it_was_written() {
        for json in [
            r#"{"a.b":{"$x":[1,2.5,"é\n\"",null,false]},"":{},"%":[],"%2E":1,"%25%24.$":2,"5% x":3}"#,
            r#"[{"n":12345678901234567890}]"#,
            r#""text""#,
            "null",
            "{}",
        ] {
            assert_eq!(text(json), json);
        }
        assert_eq!(text(" [ 1 , { \"a\" : 2 } ] "), r#"[1,{"a":2}]"#);
    }
}

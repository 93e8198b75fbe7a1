//! Checks that every store accepts a JSON text. The syntax alone permits more than databases do.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::ValueError;

/// The maximum nesting depth. `MongoDB` accepts 100 levels, including those around the value.
const MAX_DEPTH: usize = 90;

/// Checks that a text is JSON that every store accepts.
///
/// # Errors
/// Beyond syntax errors, unpaired surrogates and U+0000 in strings, numbers outside the range of
/// floats, and nesting deeper than 90 levels.
pub fn check_json(text: &str) -> Result<(), ValueError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let checked = Checked { depth: 0 }.deserialize(&mut json);
    checked.and_then(|()| json.end()).map_err(|error| {
        let expected = format!("JSON that databases accept: {error}");
        ValueError::not_a(&expected, text, "")
    })
}

/// Checks a value at this depth.
struct Checked {
    depth: usize,
}

impl Checked {
    /// Returns the check of the values in this array or object.
    fn inner<E: Error>(&self) -> Result<impl Fn() -> Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            let message = format_args!("the nesting is deeper than {MAX_DEPTH} levels");
            return Err(E::custom(message));
        }
        Ok(move || Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(E::custom("a string contains U+0000"));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let inner = self.inner::<A::Error>()?;
        while values.next_element_seed(inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.inner::<A::Error>()?;
        while entries.next_key_seed(inner())?.is_some() {
            entries.next_value_seed(inner())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_limited() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check_json(&nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 100_000] {
            let error = check_json(&nested(depth)).unwrap_err().to_string();
            assert!(error.contains("deeper than 90 levels"), "{error}");
        }
        let objects = "{\"a\":".repeat(91) + "1" + &"}".repeat(91);
        assert!(check_json(&objects).is_err());
        assert!(check_json("[1] 2").is_err());
    }
}

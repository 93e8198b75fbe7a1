//! What a JSON text contains that some stores cannot hold.

/// Returns whether a valid JSON text has a number of more than 1,000 digits, or with an exponent beyond ±400.
pub(crate) fn has_huge_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let rest = &bytes[at..];
                let end = rest.iter().position(|byte| {
                    !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
                });
                let end = end.map_or(bytes.len(), |length| at + length);
                if is_huge(&text[at..end]) {
                    return true;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    false
}

fn is_huge(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = exponent.parse();
    let exponent_fits = exponent.is_ok_and(|exponent: i32| exponent.abs() <= 400);
    mantissa.len() > 1000 || !exponent_fits
}

/// Returns the index after the closing quote of the string that opens at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

/// Returns the text as a JSON string, for JSON that a store cannot hold as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_numbers_are_found() {
        for huge in [
            "1e401",
            "[1e-99999999999]",
            &"1".repeat(1001),
            "{\"a\\\"\":1E500}",
        ] {
            assert!(has_huge_number(huge), "{huge}");
        }
        let plain =
            r#" {"a": [1, -2.5e3, "1e401", "\"1e401", null], "é": {"b": 9007199254740993}} "#;
        for plain in [plain, "7", "1e400"] {
            assert!(!has_huge_number(plain), "{plain}");
        }
    }
}

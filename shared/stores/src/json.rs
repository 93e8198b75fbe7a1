//! What a JSON text contains that some stores cannot hold.

/// Properties of a JSON text that decide whether a store can hold it as JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) depth: usize,
    /// A number of more than 1,000 digits or with an exponent beyond ±400.
    pub(crate) huge_number: bool,
    /// A number that neither an `i64` nor a double represents exactly.
    pub(crate) inexact_number: bool,
    /// An object has a name that is empty, starts with `$` or contains a dot.
    pub(crate) odd_name: bool,
}

impl Shape {
    /// Scans a text that is valid JSON.
    pub(crate) fn scan(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut shape = Self::default();
        let (mut at, mut depth) = (0, 0_usize);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                    at += 1;
                }
                b'}' | b']' => {
                    debug_assert!(depth > 0, "the text is valid JSON");
                    depth = depth.saturating_sub(1);
                    at += 1;
                }
                b'"' => {
                    let end = end_of_string(bytes, at);
                    shape.scan_string(text, at, end);
                    at = end;
                }
                b'-' | b'0'..=b'9' => {
                    let end = bytes[at..]
                        .iter()
                        .position(|byte| {
                            !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
                        })
                        .map_or(bytes.len(), |length| at + length);
                    shape.scan_number(&text[at..end]);
                    at = end;
                }
                _ => at += 1,
            }
        }
        shape
    }

    /// `start` is at the opening quote, `end` after the closing one.
    fn scan_string(&mut self, text: &str, start: usize, end: usize) {
        let inner = text
            .get(start + 1..end.saturating_sub(1))
            .unwrap_or_default();
        let is_name = text[end..].trim_start().starts_with(':');
        if is_name {
            let is_odd =
                |name: &str| name.is_empty() || name.starts_with('$') || name.contains('.');
            self.odd_name |= if inner.contains('\\') {
                serde_json::from_str::<String>(&text[start..end]).map_or(true, |name| is_odd(&name))
            } else {
                is_odd(inner)
            };
        }
    }

    fn scan_number(&mut self, number: &str) {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let exponent_fits = exponent
            .parse()
            .is_ok_and(|exponent: i32| exponent.abs() <= 400);
        self.huge_number |= mantissa.len() > 1000 || !exponent_fits;
        self.inexact_number |= if number.contains(['.', 'e', 'E']) {
            let digits = mantissa.trim_start_matches(['-', '0', '.']);
            let digits = digits.bytes().filter(u8::is_ascii_digit).count();
            // A normal double preserves any 15 digits; writers print doubles with up to 17.
            let is_normal = |double: f64| double.is_normal() || (double == 0.0 && digits == 0);
            digits > 17 || !number.parse().is_ok_and(is_normal)
        } else {
            number.parse::<i64>().is_err()
        };
    }
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
    fn plain_json_is_plain() {
        let shape = Shape::scan(
            r#" {"a": [1, -2.5e3, "x.y", "$z", "\ud83d\ude00", null], "é": {"b": 9007199254740993}} "#,
        );
        assert_eq!(
            shape,
            Shape {
                depth: 2,
                ..Shape::default()
            }
        );
        assert_eq!(Shape::scan("7"), Shape::default());
    }

    #[test]
    fn each_trait_is_seen() {
        for huge in ["1e401", "[1e-99999999999]", &"1".repeat(1001)] {
            assert!(Shape::scan(huge).huge_number, "{huge}");
        }
        for inexact in "9223372036854775808 0.123456789012345678 1e400 1e-400".split(' ') {
            assert!(Shape::scan(inexact).inexact_number, "{inexact}");
        }
        for exact in "-9223372036854775808 0.1 0.0 1e300 3.141592653589793".split(' ') {
            assert!(!Shape::scan(exact).inexact_number, "{exact}");
        }
        for odd in [
            r#"{"a.b":1}"#,
            r#"{"$a" :1}"#,
            r#"[{"":1}]"#,
            r#"{"\u0024a":1}"#,
        ] {
            assert!(Shape::scan(odd).odd_name, "{odd}");
        }
        assert_eq!(Shape::scan(&"[".repeat(100_000)).depth, 100_000);
    }
}

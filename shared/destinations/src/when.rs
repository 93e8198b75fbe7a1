//! Which rows a service gets.

use std::cmp::Ordering;

use landfall_domain::{Dataset, FieldType, MAX_FILTERS, Value};

/// Conditions on a row, all of which must hold: `status != draft and total >= 10`.
///
/// A value is compared as its type is ordered, and texts by their bytes. Null is only equal to `null`, and neither less
/// nor greater than anything. A value in quotes is a text as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct When(Vec<Test>);

#[derive(Clone, Debug, PartialEq)]
struct Test {
    field: usize,
    comparison: Comparison,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// The comparisons, each before those that it starts like.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

const RULE: &str =
    "write a field, one of = != < <= > >= and a value; several conditions are joined by and";

impl When {
    /// Parses conditions.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn parse(dataset: &Dataset, text: &str) -> Result<Self, String> {
        let mut tests = Vec::new();
        let mut rest = text.trim();
        loop {
            let (test, after) = Test::parse(dataset, rest)?;
            tests.push(test);
            if tests.len() > MAX_FILTERS {
                return Err(format!("has more than {MAX_FILTERS} conditions"));
            }
            if after.is_empty() {
                return Ok(Self(tests));
            }
            rest = after
                .strip_prefix("and ")
                .ok_or_else(|| format!("{after:?} is not a condition: {RULE}"))?
                .trim_start();
        }
    }

    /// Returns whether a row meets all conditions.
    pub(crate) fn holds(&self, row: &[Value]) -> bool {
        self.0.iter().all(|test| test.holds(row))
    }
}

impl Test {
    /// Parses a condition, and returns what follows it.
    fn parse<'t>(dataset: &Dataset, text: &'t str) -> Result<(Self, &'t str), String> {
        let malformed = || format!("{text:?} is not a condition: {RULE}");
        let end = text.find(['=', '!', '<', '>']).ok_or_else(malformed)?;
        let (name, rest) = (text[..end].trim(), &text[end..]);
        let fields = &dataset.fields;
        let field = fields
            .iter()
            .position(|field| field.name == name)
            .ok_or_else(|| format!("the dataset {} has no field {name:?}", dataset.name))?;
        let (sign, comparison) = COMPARISONS
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(malformed)?;
        let rest = rest[sign.len()..].trim_start();
        let (value, is_quoted, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, rest) = quoted.split_once('"').ok_or_else(malformed)?;
                (value, true, rest)
            }
            None => match rest.split_once(" and ") {
                Some((value, _)) => (value.trim(), false, &rest[value.len()..]),
                None => (rest.trim(), false, ""),
            },
        };
        if value.is_empty() && !is_quoted {
            return Err(malformed());
        }
        let kind = fields[field].kind;
        let is_ordered = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let value = match value {
            "null" if !is_quoted && is_ordered => {
                return Err(
                    "null is neither less nor greater than anything; use = or !=".to_owned(),
                );
            }
            "null" if !is_quoted => Value::Null,
            _ if kind == FieldType::Json => {
                return Err(format!(
                    "{name} is of type json, and can only be compared with null"
                ));
            }
            _ => Value::from_text(kind, value).map_err(|error| format!("{name}: {error}"))?,
        };
        let test = Self {
            field,
            comparison,
            value,
        };
        Ok((test, rest.trim()))
    }

    fn holds(&self, row: &[Value]) -> bool {
        let stored = row.get(self.field).unwrap_or(&Value::Null);
        let order = match (stored, &self.value) {
            (Value::Null, Value::Null) => Some(Ordering::Equal),
            (Value::Null, _) | (_, Value::Null) => None,
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
            // The value was parsed with the type of the field.
            (a, b) if a.kind() == b.kind() => Some(a.cmp_key(b)),
            _ => None,
        };
        match self.comparison {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::Unequal => order != Some(Ordering::Equal),
            Comparison::Below => order == Some(Ordering::Less),
            Comparison::AtMost => order.is_some_and(Ordering::is_le),
            Comparison::Above => order == Some(Ordering::Greater),
            Comparison::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        let definition = r#"
name = "orders"
key = ["id"]
fields = [
    { name = "id", type = "integer" },
    { name = "status", type = "text" },
    { name = "total", type = "decimal" },
    { name = "weight", type = "float" },
    { name = "details", type = "json" },
]
"#;
        Dataset::from_toml("orders.toml", definition).unwrap()
    }

    fn row(status: Option<&str>, total: &str) -> Vec<Value> {
        vec![
            Value::Integer(1),
            status.map_or(Value::Null, |status| Value::Text(status.into())),
            Value::from_text(FieldType::Decimal, total).unwrap(),
            Value::Float(1.5),
            Value::Json("{}".into()),
        ]
    }

    #[test]
    fn rows_are_compared_with_all_conditions() {
        for (when, status, total, expected) in [
            ("status != draft", Some("open"), "1", true),
            ("status != draft", Some("draft"), "1", false),
            ("status != draft", None, "1", true),
            ("status = null", None, "1", true),
            ("status != null", None, "1", false),
            ("status = \"null\"", Some("null"), "1", true),
            ("status=\"a and b\" and total>1", Some("a and b"), "2", true),
            ("status = open and total >= 10", Some("open"), "9.99", false),
            ("status = open and total >= 10", Some("open"), "10.00", true),
            ("total < 10 and weight <= 1.5", None, "9", true),
            ("weight > 1.5", None, "9", false),
            ("details != null", None, "9", true),
        ] {
            let parsed = When::parse(&dataset(), when).unwrap();
            assert_eq!(parsed.holds(&row(status, total)), expected, "{when}");
        }
        assert!(When::default().holds(&row(None, "1")));
    }

    #[test]
    fn errors_say_what_would_be_valid() {
        for (when, expected) in [
            ("", "write a field"),
            ("status", "write a field"),
            ("status !", "write a field"),
            ("status = ", "write a field"),
            ("status = \"open", "write a field"),
            ("status = \"open\" or total = 1", "joined by and"),
            ("state = open", "no field \"state\""),
            ("total > cheap", "total: \"cheap\" is not a decimal"),
            ("total > null", "use = or !="),
            ("details = {}", "only be compared with null"),
        ] {
            let error = When::parse(&dataset(), when).unwrap_err();
            assert!(error.contains(expected), "{when}: {error}");
        }
    }
}

//! Questions about the rows of a dataset, and the texts that they are asked in.

use crate::{Dataset, Field, FieldType, Value, excerpt};

/// The most rows of a page.
pub const MAX_PAGE_ROWS: u32 = 1000;
/// The most conditions of a question.
pub const MAX_FILTERS: usize = 16;
/// How many characters of a text decide its place where rows are sorted by it; more would not fit the index
/// of every store. Rows that have all of them in common are in the order of their keys.
pub const SORTED_CHARS: usize = 200;

/// Which rows, in which order, from where on.
#[derive(Clone, Debug, PartialEq)]
pub struct RowQuery {
    /// Conditions that all hold; at most [`MAX_FILTERS`].
    pub filters: Vec<Filter>,
    /// The order; that of the key where there is none.
    pub sort: Option<Sort>,
    /// Where the page starts.
    pub start: Start,
    /// The most rows, 1 to [`MAX_PAGE_ROWS`].
    pub limit: u32,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Index in the dataset's fields. Any but those of JSON.
    pub field: usize,
    /// What its value must be. A null fulfils nothing.
    pub test: Test,
}

/// What a value must be. Texts compare by their bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// This value.
    Equals(Value),
    /// This value or more.
    AtLeast(Value),
    /// More than this value.
    Above(Value),
    /// This value or less.
    AtMost(Value),
    /// Less than this value.
    Below(Value),
    /// A text that starts so.
    Prefix(String),
}

/// An order by a field, then by key, both in one direction. Nulls come last, and first in the descending order,
/// which is the exact reverse of the ascending one. Of texts the first [`SORTED_CHARS`] characters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Index in the dataset's fields; [`Dataset::can_sort_by`] it.
    pub field: usize,
    /// Whether the greatest come first.
    pub descending: bool,
}

/// Where a page starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// At the first row.
    First,
    /// After the row of this place: `next` of the page before. It need not be there any more.
    After(Vec<Value>),
    /// After so many rows; takes longer the more there are. Rows that come or go move the pages.
    Skip(u64),
}

/// Why a question can't be asked, and what can.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// A condition that is not `field:op:value`.
    #[error(
        "{0:?} is not a condition: write field:op:value, where op is eq, gte, gt, lte, lt or prefix"
    )]
    Condition(String),
    /// No field of this name.
    #[error("dataset {dataset} has no field {name:?}")]
    Field {
        /// The dataset.
        dataset: String,
        /// What it does not have.
        name: String,
    },
    /// A value of another type.
    #[error("{field}: {message}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A condition on a field whose type has none such.
    #[error("{field} is {kind}: {rule}")]
    Test {
        /// The field.
        field: String,
        /// Its type.
        kind: &'static str,
        /// What is possible.
        rule: &'static str,
    },
    /// Too many conditions.
    #[error("there are more than {MAX_FILTERS} conditions: leave some out")]
    Filters,
    /// A field that rows can't be sorted by.
    #[error(
        "rows can't be sorted by {0}: sort by the first field of the key, or by one that the definition gives index = true"
    )]
    Sort(String),
    /// A page of no rows, or of too many.
    #[error("a page has 1 to {MAX_PAGE_ROWS} rows")]
    Limit,
    /// A cursor that is none, or was given with the answer to another question.
    #[error(
        "the cursor is not of this question: start again without one, and change neither store, sort nor conditions while paging"
    )]
    Cursor,
    /// Other than one value for each field of the key.
    #[error("the key has {0} parts")]
    Key(usize),
    /// A store without totals.
    #[error("only SQL databases have totals")]
    NoTotals,
}

impl RowQuery {
    /// The question for the row of a key.
    pub fn of_key(dataset: &Dataset, key: &[Value]) -> Result<Self, QueryError> {
        if key.len() != dataset.key_indexes().len() {
            return Err(QueryError::Key(dataset.key_indexes().len()));
        }
        let filters = dataset.key_indexes().iter().zip(key);
        let query = Self {
            filters: filters
                .map(|(field, value)| Filter {
                    field: *field,
                    test: Test::Equals(value.clone()),
                })
                .collect(),
            sort: None,
            start: Start::First,
            limit: 1,
        };
        query.check(dataset).map(|()| query)
    }

    /// Whether the question can be asked of this dataset.
    pub fn check(&self, dataset: &Dataset) -> Result<(), QueryError> {
        if self.filters.len() > MAX_FILTERS {
            return Err(QueryError::Filters);
        }
        for filter in &self.filters {
            filter.check(dataset)?;
        }
        if let Some(sort) = self.sort {
            sort.check(dataset)?;
        }
        if let Start::After(place) = &self.start {
            let kinds = place_kinds(dataset, self.sort);
            let fits = place.len() == kinds.len()
                && place
                    .iter()
                    .zip(&kinds)
                    .enumerate()
                    .all(|(at, (value, kind))| {
                        // The sort's value, which comes before the key, may be null.
                        let may_be_null = at == 0 && kinds.len() > dataset.key_indexes().len();
                        value.kind().map_or(may_be_null, |is| is == *kind)
                    });
            if !fits {
                return Err(QueryError::Cursor);
            }
        }
        if !(1..=MAX_PAGE_ROWS).contains(&self.limit) {
            return Err(QueryError::Limit);
        }
        Ok(())
    }

    /// The field that rows are sorted by before their key; none where the key alone decides.
    pub fn sort_field(&self, dataset: &Dataset) -> Option<usize> {
        sort_field(dataset, self.sort)
    }

    /// Whether the greatest come first.
    pub fn is_descending(&self) -> bool {
        self.sort.is_some_and(|sort| sort.descending)
    }
}

impl Filter {
    /// Reads `field:op:value`; the value is all after the second colon.
    pub fn parse(dataset: &Dataset, text: &str) -> Result<Self, QueryError> {
        let wrong = || QueryError::Condition(excerpt(text));
        let (name, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (op, value) = rest.split_once(':').ok_or_else(wrong)?;
        let field = index_of(dataset, name)?;
        let kind = match op {
            // So that a prefix of a number is refused as such.
            "prefix" => FieldType::Text,
            _ => dataset.fields[field].kind,
        };
        let value = Value::from_text(kind, value).map_err(|error| QueryError::Value {
            field: name.to_owned(),
            message: error.to_string(),
        })?;
        let test = match (op, value) {
            ("eq", value) => Test::Equals(value),
            ("gte", value) => Test::AtLeast(value),
            ("gt", value) => Test::Above(value),
            ("lte", value) => Test::AtMost(value),
            ("lt", value) => Test::Below(value),
            ("prefix", Value::Text(prefix)) => Test::Prefix(prefix.into()),
            _ => return Err(wrong()),
        };
        let filter = Self { field, test };
        filter.check(dataset).map(|()| filter)
    }

    fn check(&self, dataset: &Dataset) -> Result<(), QueryError> {
        let field = field_at(dataset, self.field)?;
        let refused = |rule| {
            Err(QueryError::Test {
                field: field.name.clone(),
                kind: field.kind.as_str(),
                rule,
            })
        };
        match &self.test {
            _ if field.kind == FieldType::Json => refused("there are no conditions on JSON"),
            Test::Prefix(_) if field.kind != FieldType::Text => {
                refused("only texts start with something; use gte and lt")
            }
            Test::Prefix(_) => Ok(()),
            Test::Equals(value)
            | Test::AtLeast(value)
            | Test::Above(value)
            | Test::AtMost(value)
            | Test::Below(value) => match value.kind() {
                Some(kind) if kind == field.kind => Ok(()),
                _ => refused("the value is of another type"),
            },
        }
    }
}

impl Sort {
    /// Reads `field`, or `-field` for the descending order.
    pub fn parse(dataset: &Dataset, text: &str) -> Result<Self, QueryError> {
        let name = text.strip_prefix('-');
        let sort = Self {
            field: index_of(dataset, name.unwrap_or(text))?,
            descending: name.is_some(),
        };
        sort.check(dataset).map(|()| sort)
    }

    fn check(self, dataset: &Dataset) -> Result<(), QueryError> {
        let field = field_at(dataset, self.field)?;
        if dataset.can_sort_by(self.field) {
            Ok(())
        } else {
            Err(QueryError::Sort(field.name.clone()))
        }
    }
}

/// Types of the values of a place in an order: the sort's, where the key alone does not decide, then the key's.
pub(crate) fn place_kinds(dataset: &Dataset, sort: Option<Sort>) -> Vec<FieldType> {
    let sort = sort_field(dataset, sort);
    let fields = sort.iter().chain(dataset.key_indexes());
    fields.map(|field| dataset.fields[*field].kind).collect()
}

fn sort_field(dataset: &Dataset, sort: Option<Sort>) -> Option<usize> {
    let field = sort?.field;
    (dataset.key_indexes().first() != Some(&field)).then_some(field)
}

fn index_of(dataset: &Dataset, name: &str) -> Result<usize, QueryError> {
    let index = dataset.fields.iter().position(|field| field.name == name);
    index.ok_or_else(|| unknown(dataset, name))
}

fn field_at(dataset: &Dataset, index: usize) -> Result<&Field, QueryError> {
    let field = dataset.fields.get(index);
    field.ok_or_else(|| unknown(dataset, &index.to_string()))
}

fn unknown(dataset: &Dataset, name: &str) -> QueryError {
    QueryError::Field {
        dataset: dataset.name.clone(),
        name: excerpt(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings() -> Dataset {
        let definition = r#"
name = "readings"
key = ["sensor", "at"]
fields = [
    { name = "sensor", type = "text" },
    { name = "at", type = "timestamp" },
    { name = "celsius", type = "decimal", index = true },
    { name = "seen", type = "date", format = "%d/%m/%Y" },
    { name = "place", type = "json" },
]
"#;
        Dataset::from_toml("readings.toml", definition).unwrap()
    }

    #[test]
    fn conditions_are_read() {
        let dataset = readings();
        let parse = |text| Filter::parse(&dataset, text).unwrap();
        let decimal = |text| Value::from_text(FieldType::Decimal, text).unwrap();
        let cold = parse("celsius:lt:-1.50");
        assert_eq!((cold.field, cold.test), (2, Test::Below(decimal("-1.5"))));
        // The value may have colons, and be empty.
        let at = Value::from_text(FieldType::Timestamp, "2026-11-20T08:30:00Z").unwrap();
        assert_eq!(
            parse("at:gte:2026-11-20T09:30:00+01:00").test,
            Test::AtLeast(at)
        );
        assert_eq!(
            parse("sensor:eq:").test,
            Test::Equals(Value::Text("".into()))
        );
        assert_eq!(
            parse("sensor:prefix:a:b").test,
            Test::Prefix("a:b".to_owned())
        );
        // Dates are asked for by ISO 8601, whatever files have.
        assert!(matches!(
            parse("seen:eq:2026-11-20").test,
            Test::Equals(Value::Date(_))
        ));
    }

    #[test]
    fn wrong_questions_are_told_what_is_right() {
        let dataset = readings();
        for (text, told) in [
            ("celsius", "write field:op:value"),
            ("celsius:eq", "write field:op:value"),
            ("celsius:ne:1", "eq, gte, gt, lte, lt or prefix"),
            ("humidity:eq:1", "no field \"humidity\""),
            ("celsius:eq:warm", "celsius: \"warm\" is not a decimal"),
            ("seen:eq:20/11/2026", "a date like 2026-11-20"),
            ("celsius:prefix:1", "use gte and lt"),
            ("place:eq:{}", "no conditions on JSON"),
        ] {
            let error = Filter::parse(&dataset, text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        let sort = |text| Sort::parse(&dataset, text).map(|sort| (sort.field, sort.descending));
        assert_eq!(sort("-celsius"), Ok((2, true)));
        assert_eq!(sort("sensor"), Ok((0, false)));
        for unsorted in ["at", "seen"] {
            assert_eq!(sort(unsorted), Err(QueryError::Sort(unsorted.to_owned())));
        }
        assert!(sort("+celsius").is_err());
    }

    #[test]
    fn texts_of_values_are_read_back() {
        for (kind, text) in [
            (FieldType::Integer, "-9223372036854775808"),
            (FieldType::Decimal, "0.0000000000000000000000000001"),
            (FieldType::Float, "1.7976931348623157e308"),
            (FieldType::Float, "5e-324"),
            (FieldType::Boolean, "true"),
            (FieldType::Date, "0001-01-01"),
            (FieldType::Timestamp, "0001-01-02T00:00:00.000001Z"),
            (FieldType::Timestamp, "9999-12-30T21:59:59.999999Z"),
            (FieldType::Text, " a:b,\n"),
        ] {
            let value = Value::from_text(kind, text).unwrap();
            let again = Value::from_text(kind, &value.to_text().unwrap());
            assert_eq!(again, Ok(value), "{text}");
        }
    }
}

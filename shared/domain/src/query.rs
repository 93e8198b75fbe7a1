//! Queries for the rows of a dataset, and how conditions and sort orders are parsed.

use crate::dataset::{Dataset, Field};
use crate::excerpt::excerpt;
use crate::search::{Search, SearchError};
use crate::value::{FieldType, Value};

/// The maximum number of rows in a page.
pub const MAX_PAGE_ROWS: u32 = 1000;
/// The maximum number of conditions in a query.
pub const MAX_FILTERS: usize = 16;
/// The number of characters of a text by which rows are sorted; more would not fit the index of every
/// store. Rows that share all of them are sorted by key.
pub const SORTED_CHARS: usize = 200;

/// A query for one page of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RowQuery {
    /// Conditions, all of which must hold; at most [`MAX_FILTERS`].
    pub filters: Vec<Filter>,
    /// The words that rows must have in the searched fields of the dataset.
    pub search: Option<Search>,
    /// The sort order; by key if there is none.
    pub sort: Option<Sort>,
    /// Whether rows that match the search best come first, instead of a sort order.
    pub by_relevance: bool,
    /// Where the page starts.
    pub start: Start,
    /// The maximum number of rows, 1 to [`MAX_PAGE_ROWS`].
    pub limit: u32,
}

/// A condition on one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Index among the fields of the dataset. The field is not of type JSON.
    pub field: usize,
    /// What the value must be. Null meets no condition.
    pub condition: Condition,
}

/// A comparison with a value. Texts are compared by their bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Equal to this value.
    Equals(Value),
    /// Greater than or equal to this value.
    AtLeast(Value),
    /// Greater than this value.
    Above(Value),
    /// Less than or equal to this value.
    AtMost(Value),
    /// Less than this value.
    Below(Value),
    /// A text with this prefix.
    Prefix(String),
}

/// A sort order by a field, then by key, both in one direction.
///
/// Nulls come last, and first in descending order, which is the exact reverse of ascending order. Texts
/// are compared by their first [`SORTED_CHARS`] characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Index among the fields of the dataset, for which [`Dataset::can_sort_by`] holds.
    pub field: usize,
    /// Whether the order is descending.
    pub descending: bool,
}

/// Where a page starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// At the first row.
    First,
    /// After this position, the `next` of the previous page. The row at the position may be gone.
    After(Vec<Value>),
    /// After this number of rows. Slower the larger the number, and pages shift when rows come or go.
    Skip(u64),
}

/// Why a query is invalid, and what would be valid.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// A condition is not of the form `field:op:value`.
    #[error(
        "{0:?} is not a condition: write field:op:value, where op is eq, gte, gt, lte, lt or prefix"
    )]
    Condition(String),
    /// The dataset has no field of this name.
    #[error("the dataset {dataset} has no field {name:?}")]
    Field {
        /// The dataset.
        dataset: String,
        /// The unknown name.
        name: String,
    },
    /// A value does not have the type of its field.
    #[error("{field}: {message}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong with the value.
        message: String,
    },
    /// The type of a field does not support a condition.
    #[error("{field} is of type {kind}: {rule}")]
    Unsupported {
        /// The field.
        field: String,
        /// Its type.
        kind: &'static str,
        /// What is supported.
        rule: &'static str,
    },
    /// There are too many conditions.
    #[error("there are more than {MAX_FILTERS} conditions: remove some")]
    Filters,
    /// Rows cannot be sorted by this field.
    #[error(
        "rows cannot be sorted by {0}: sort by the first field of the key, or by a field whose definition \
        has index = true"
    )]
    Sort(String),
    /// The page size is out of range.
    #[error("the limit must be from 1 to {MAX_PAGE_ROWS}")]
    Limit,
    /// The cursor is invalid, or belongs to another query.
    #[error(
        "the cursor is invalid or belongs to another query: repeat the request without it; keep store, sort and \
        conditions unchanged while paging"
    )]
    Cursor,
    /// The number of values is not that of the key fields.
    #[error("the key must have {0} parts, one for each key field")]
    Key(usize),
    /// The dataset has no searched fields.
    #[error(
        "the dataset {0} cannot be searched: list text fields in its definition, such as search = [\"name\"]"
    )]
    NoSearch(String),
    /// The query for words is too long.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The store cannot search.
    #[error(
        "only SQL databases can be searched: leave out store=mongodb, or connect an SQL database"
    )]
    NotSearchable,
    /// The store does not keep totals.
    #[error("only SQL databases have totals: read them from the SQL store")]
    NoTotals,
}

impl RowQuery {
    /// Returns the query for the row with a key.
    pub fn of_key(dataset: &Dataset, key: &[Value]) -> Result<Self, QueryError> {
        let fields = dataset.key_indexes();
        if key.len() != fields.len() {
            return Err(QueryError::Key(fields.len()));
        }
        let filters = fields.iter().zip(key).map(|(field, value)| Filter {
            field: *field,
            condition: Condition::Equals(value.clone()),
        });
        let query = Self {
            filters: filters.collect(),
            search: None,
            sort: None,
            by_relevance: false,
            start: Start::First,
            limit: 1,
        };
        query.check(dataset).map(|()| query)
    }

    /// Checks that the query is valid for this dataset.
    pub fn check(&self, dataset: &Dataset) -> Result<(), QueryError> {
        if self.filters.len() > MAX_FILTERS {
            return Err(QueryError::Filters);
        }
        for filter in &self.filters {
            filter.check(dataset)?;
        }
        if self.search.is_some() && dataset.search.is_empty() {
            return Err(QueryError::NoSearch(dataset.name.clone()));
        }
        if let Some(sort) = self.sort {
            sort.check(dataset)?;
        }
        if self.by_relevance && (self.search.is_none() || self.sort.is_some()) {
            return Err(QueryError::Sort("relevance".to_owned()));
        }
        if let Start::After(position) = &self.start {
            let kinds = position_kinds(dataset, self.sort, self.by_relevance);
            // The value of the sort field, which precedes the key, may be null.
            let first = kinds.len() - dataset.key_indexes().len();
            let nullable = if self.by_relevance { 0 } else { first };
            let fits = |(at, (value, kind)): (usize, (&Value, &FieldType))| {
                value.kind().map_or(at < nullable, |found| found == *kind)
            };
            let mut pairs = position.iter().zip(&kinds).enumerate();
            if position.len() != kinds.len() || !pairs.all(fits) {
                return Err(QueryError::Cursor);
            }
        }
        if !(1..=MAX_PAGE_ROWS).contains(&self.limit) {
            return Err(QueryError::Limit);
        }
        Ok(())
    }

    /// Returns the field that rows are sorted by before their key, if the order is not that of the key.
    pub fn sort_field(&self, dataset: &Dataset) -> Option<usize> {
        sort_field(dataset, self.sort)
    }

    /// Returns whether the order is descending.
    pub fn is_descending(&self) -> bool {
        self.sort.is_some_and(|sort| sort.descending)
    }
}

impl Filter {
    /// Parses `field:op:value`. The value is everything after the second colon.
    pub fn parse(dataset: &Dataset, text: &str) -> Result<Self, QueryError> {
        let malformed = || QueryError::Condition(excerpt(text));
        let (name, rest) = text.split_once(':').ok_or_else(malformed)?;
        let (op, value) = rest.split_once(':').ok_or_else(malformed)?;
        let field = field_index(dataset, name)?;
        let kind = match op {
            // A prefix is text whatever the type of its field, which is checked below.
            "prefix" => FieldType::Text,
            _ => dataset.fields[field].kind,
        };
        let value = Value::from_text(kind, value).map_err(|error| QueryError::Value {
            field: name.to_owned(),
            message: error.to_string(),
        })?;
        let condition = match (op, value) {
            ("eq", value) => Condition::Equals(value),
            ("gte", value) => Condition::AtLeast(value),
            ("gt", value) => Condition::Above(value),
            ("lte", value) => Condition::AtMost(value),
            ("lt", value) => Condition::Below(value),
            ("prefix", Value::Text(prefix)) => Condition::Prefix(prefix.into()),
            _ => return Err(malformed()),
        };
        let filter = Self { field, condition };
        filter.check(dataset).map(|()| filter)
    }

    fn check(&self, dataset: &Dataset) -> Result<(), QueryError> {
        let field = field_at(dataset, self.field)?;
        let unsupported = |rule| {
            Err(QueryError::Unsupported {
                field: field.name.clone(),
                kind: field.kind.as_str(),
                rule,
            })
        };
        match &self.condition {
            _ if field.kind == FieldType::Json => unsupported("JSON fields support no conditions"),
            Condition::Prefix(_) if field.kind != FieldType::Text => {
                unsupported("only text fields support prefix; use gte and lt")
            }
            Condition::Prefix(_) => Ok(()),
            Condition::Equals(value)
            | Condition::AtLeast(value)
            | Condition::Above(value)
            | Condition::AtMost(value)
            | Condition::Below(value) => match value.kind() {
                Some(kind) if kind == field.kind => Ok(()),
                _ => unsupported("the value has another type"),
            },
        }
    }
}

impl Sort {
    /// Parses `field`, or `-field` for descending order.
    pub fn parse(dataset: &Dataset, text: &str) -> Result<Self, QueryError> {
        let name = text.strip_prefix('-');
        let sort = Self {
            field: field_index(dataset, name.unwrap_or(text))?,
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

/// Returns the types of the values of a position: that of the sort field, unless the order is that of the
/// key, or that of the relevance, then those of the key.
pub(crate) fn position_kinds(
    dataset: &Dataset,
    sort: Option<Sort>,
    by_relevance: bool,
) -> Vec<FieldType> {
    let rank = by_relevance.then_some(FieldType::Integer);
    let sort = sort_field(dataset, sort);
    let fields = sort.iter().chain(dataset.key_indexes());
    let kinds = fields.map(|field| dataset.fields[*field].kind);
    rank.into_iter().chain(kinds).collect()
}

fn sort_field(dataset: &Dataset, sort: Option<Sort>) -> Option<usize> {
    let field = sort?.field;
    (dataset.key_indexes().first() != Some(&field)).then_some(field)
}

fn field_index(dataset: &Dataset, name: &str) -> Result<usize, QueryError> {
    let index = dataset.fields.iter().position(|field| field.name == name);
    index.ok_or_else(|| unknown_field(dataset, name))
}

fn field_at(dataset: &Dataset, index: usize) -> Result<&Field, QueryError> {
    let field = dataset.fields.get(index);
    field.ok_or_else(|| unknown_field(dataset, &index.to_string()))
}

fn unknown_field(dataset: &Dataset, name: &str) -> QueryError {
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
    fn conditions_are_parsed() {
        let dataset = readings();
        let value = |kind, text| Value::from_text(kind, text).unwrap();
        let cold = value(FieldType::Decimal, "-1.5");
        let at = value(FieldType::Timestamp, "2026-11-20T08:30:00Z");
        let day = value(FieldType::Date, "2026-11-20");
        for (text, field, condition) in [
            ("celsius:lt:-1.50", 2, Condition::Below(cold)),
            // The value may contain colons, and may be empty.
            (
                "at:gte:2026-11-20T09:30:00+01:00",
                1,
                Condition::AtLeast(at),
            ),
            ("sensor:eq:", 0, Condition::Equals(Value::Text("".into()))),
            ("sensor:prefix:a:b", 0, Condition::Prefix("a:b".to_owned())),
            // Dates in conditions are in ISO 8601, whatever pattern files use.
            ("seen:eq:2026-11-20", 3, Condition::Equals(day)),
        ] {
            assert_eq!(
                Filter::parse(&dataset, text),
                Ok(Filter { field, condition })
            );
        }
    }

    #[test]
    fn errors_say_what_would_be_valid() {
        let dataset = readings();
        for (text, expected) in [
            ("celsius", "write field:op:value"),
            ("celsius:eq", "write field:op:value"),
            ("celsius:ne:1", "eq, gte, gt, lte, lt or prefix"),
            ("humidity:eq:1", "no field \"humidity\""),
            ("celsius:eq:warm", "celsius: \"warm\" is not a decimal"),
            ("seen:eq:20/11/2026", "a date like 2026-11-20"),
            ("celsius:prefix:1", "use gte and lt"),
            ("place:eq:{}", "JSON fields support no conditions"),
        ] {
            let error = Filter::parse(&dataset, text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
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
    fn values_are_parsed_back_from_their_text() {
        for (kind, text) in [
            (FieldType::Integer, "-9223372036854775808"),
            (FieldType::Decimal, "0.0000000000000000000000000001"),
            (FieldType::Float, "1.7976931348623157e308"),
            (FieldType::Float, "5e-324"),
            (FieldType::Boolean, "true"),
            (FieldType::Date, "0001-01-01"),
            (FieldType::Timestamp, "0001-01-01T00:00:00.000001Z"),
            (FieldType::Timestamp, "9999-12-31T23:59:59.999999Z"),
            (FieldType::Text, " a:b,\n"),
        ] {
            let value = Value::from_text(kind, text).unwrap();
            let again = Value::from_text(kind, &value.to_text().unwrap());
            assert_eq!(again, Ok(value), "{text}");
        }
    }
}

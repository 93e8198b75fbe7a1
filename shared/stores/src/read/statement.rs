//! Statements that read, the same for every SQL database but for what its [`Dialect`] says.

use landfall_domain::{Dataset, FieldType, RowQuery, SORTED_CHARS, Value};

use super::gather::first_chars;
use super::plan::{Bound, Comparison, Span, comparisons};
use crate::schema::list;

/// How a database writes what statements are made of.
pub(crate) trait Dialect: Send + Sync {
    /// Whether `(a, b) > (c, d)` takes an index.
    const HAS_ROW_VALUES: bool;
    /// Whether an index has rows of one value in the order of their keys only if the order names that value's
    /// column, too; elsewhere they are sorted if it does.
    const ORDERS_BY_CONSTANTS: bool;

    /// The place of the `nth` value (from 1), which is of this type.
    fn place(&self, nth: usize, kind: FieldType) -> String;

    /// What has the order of an expression's values.
    fn ordered(&self, kind: FieldType, expression: &str) -> String;

    /// That an expression with the order of a column is not null, so that an index finds it.
    fn present(&self, kind: FieldType, ordered: &str) -> String;
}

/// A table as statements read it.
#[derive(Debug)]
pub(crate) struct ReadTable {
    /// Its name, quoted.
    pub(crate) name: String,
    /// A column for each field of the dataset, or of a total.
    pub(crate) columns: Vec<ReadColumn>,
    /// What gives the columns that the dataset does not name, where they are kept.
    pub(crate) extra: Option<String>,
    /// What follows the name to have rows by key.
    pub(crate) by_key: &'static str,
}

/// A column as statements read it. What is not there is a null of the type.
#[derive(Debug)]
pub(crate) struct ReadColumn {
    pub(crate) kind: FieldType,
    /// The column.
    pub(crate) raw: String,
    /// What gives its values.
    pub(crate) value: String,
    /// What has the order of its values.
    pub(crate) ordered: String,
    /// What has the order of their beginnings, where these are what an index has.
    pub(crate) beginning: Option<String>,
    /// What follows the table's name to have rows in the order of the column.
    pub(crate) by_index: String,
}

impl ReadColumn {
    /// What rows are sorted by.
    fn sorted(&self) -> &str {
        self.beginning.as_ref().unwrap_or(&self.ordered)
    }
}

/// A statement and the values for its places.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

/// What statements about the rows of a dataset are made of.
pub(crate) struct Rows<'a, D> {
    pub(crate) dialect: &'a D,
    pub(crate) dataset: &'a Dataset,
    pub(crate) table: &'a ReadTable,
    pub(crate) query: &'a RowQuery,
}

impl<D: Dialect> Rows<'_, D> {
    /// The rows of a span, but for the first ones.
    pub(crate) fn select(&self, span: &Span, limit: usize, skip: u64) -> Statement {
        let values = list(&self.table.columns, ", ", |column| column.value.clone());
        let extra = self.table.extra.as_ref();
        let extra = extra.map_or(String::new(), |extra| format!(", {extra}"));
        let Statement { sql, values: bound } = self.conditions(span);
        let direction = if self.query.is_descending() {
            " DESC"
        } else {
            ""
        };
        let sort = self.query.sort_field(self.dataset);
        let is_constant = matches!(span.sort, Bound::Is(_) | Bound::Null);
        let ordered = sort.filter(|_| !is_constant || D::ORDERS_BY_CONSTANTS);
        let ordered = ordered.map(|field| self.table.columns[field].sorted());
        let ties = self
            .ties()
            .map(|field| self.table.columns[field].raw.as_str());
        let order = list(ordered.into_iter().chain(ties), ", ", |expression| {
            format!("{expression}{direction}")
        });
        // With conditions, another index may be the better one.
        let index = match sort {
            _ if !self.query.filters.is_empty() => "",
            None => self.table.by_key,
            Some(field) => &self.table.columns[field].by_index,
        };
        Statement {
            sql: format!(
                "SELECT {values}{extra} FROM {}{index}{sql} ORDER BY {order} {}",
                self.table.name,
                limited(limit, skip)
            ),
            values: bound,
        }
    }

    /// How many rows a span has.
    pub(crate) fn count(&self, span: &Span) -> Statement {
        let mut statement = self.conditions(span);
        statement.sql = format!("SELECT COUNT(*) FROM {}{}", self.table.name, statement.sql);
        statement
    }

    /// The key fields that decide where the sort does not.
    fn ties(&self) -> impl Iterator<Item = usize> {
        let sort = self.query.sort_field(self.dataset);
        let key = self.dataset.key_indexes().iter().copied();
        key.filter(move |field| Some(*field) != sort)
    }

    fn conditions(&self, span: &Span) -> Statement {
        let mut conditions = Conditions::new(self.dialect);
        for filter in &self.query.filters {
            let column = &self.table.columns[filter.field];
            let is_key = self.dataset.key_indexes().contains(&filter.field);
            for (comparison, value) in comparisons(filter) {
                if let (Some(beginning), Value::Text(text)) = (&column.beginning, &value) {
                    let begins = first_chars(text);
                    let is_short = begins.chars().nth(SORTED_CHARS - 1).is_none();
                    let (comparison, begins) = if is_short {
                        (comparison, value.clone())
                    } else {
                        (comparison.or_equal(), Value::Text(begins.into()))
                    };
                    conditions.compare(column.kind, beginning, comparison, &begins);
                    // The beginning alone tells how a text is to one that is shorter than it.
                    if is_short {
                        continue;
                    }
                }
                if is_key && comparison == Comparison::Equal {
                    conditions.is(column, &value);
                } else {
                    conditions.compare(column.kind, &column.ordered, comparison, &value);
                }
            }
        }
        if let Some(field) = self.query.sort_field(self.dataset) {
            self.bound(&mut conditions, field, &span.sort);
        }
        if let Some(key) = &span.after {
            let key = self.dataset.key_indexes().iter().zip(key);
            let ties = self.ties();
            let ties: Vec<(&ReadColumn, &Value)> = ties
                .filter_map(|tie| {
                    let (_, value) = key.clone().find(|(field, _)| **field == tie)?;
                    Some((&self.table.columns[tie], value))
                })
                .collect();
            conditions.after(&ties, self.query.is_descending());
        }
        conditions.end()
    }

    fn bound(&self, conditions: &mut Conditions<'_, D>, field: usize, bound: &Bound) {
        let column = &self.table.columns[field];
        let sorted = column.sorted();
        match bound {
            Bound::Any => {}
            Bound::Present => conditions.add(self.dialect.present(column.kind, sorted)),
            Bound::Null => conditions.add(format!("{sorted} IS NULL")),
            Bound::Is(value) => conditions.compare(column.kind, sorted, Comparison::Equal, value),
            Bound::Beyond(value) => {
                let comparison = if self.query.is_descending() {
                    Comparison::Below
                } else {
                    Comparison::Above
                };
                conditions.compare(column.kind, sorted, comparison, value);
            }
        }
    }
}

impl Comparison {
    fn operator(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }

    /// What holds of the beginnings of two texts of which this holds.
    fn or_equal(self) -> Self {
        match self {
            Self::Above => Self::AtLeast,
            Self::Below => Self::AtMost,
            other => other,
        }
    }
}

/// Conditions that all hold, while they are written.
pub(crate) struct Conditions<'a, D> {
    dialect: &'a D,
    all: Vec<String>,
    values: Vec<Value>,
}

impl<'a, D: Dialect> Conditions<'a, D> {
    pub(crate) fn new(dialect: &'a D) -> Self {
        Self {
            dialect,
            all: Vec::new(),
            values: Vec::new(),
        }
    }

    fn add(&mut self, condition: String) {
        self.all.push(condition);
    }

    /// The place of a value of the column, as the column stands in its key.
    fn place(&mut self, kind: FieldType, value: &Value) -> String {
        self.values.push(value.clone());
        self.dialect.place(self.values.len(), kind)
    }

    fn is(&mut self, column: &ReadColumn, value: &Value) {
        let place = self.place(column.kind, value);
        self.add(format!("{} = {place}", column.raw));
    }

    fn compare(&mut self, kind: FieldType, ordered: &str, comparison: Comparison, value: &Value) {
        let place = self.place(kind, value);
        let place = self.dialect.ordered(kind, &place);
        self.add(format!("{ordered} {} {place}", comparison.operator()));
    }

    /// That these columns, none of them null, come after these values.
    fn after(&mut self, columns: &[(&ReadColumn, &Value)], is_descending: bool) {
        let operator = if is_descending { "<" } else { ">" };
        if D::HAS_ROW_VALUES {
            let raw = list(columns, ", ", |(column, _)| column.raw.clone());
            let places: Vec<String> = columns
                .iter()
                .map(|(column, value)| self.place(column.kind, value))
                .collect();
            self.add(format!("({raw}) {operator} ({})", places.join(", ")));
            return;
        }
        let mut any = Vec::with_capacity(columns.len());
        for (at, (last, value)) in columns.iter().enumerate() {
            let mut all = Vec::with_capacity(at + 1);
            for (column, value) in &columns[..at] {
                all.push(format!(
                    "{} = {}",
                    column.raw,
                    self.place(column.kind, value)
                ));
            }
            let place = self.place(last.kind, value);
            all.push(format!("{} {operator} {place}", last.raw));
            any.push(format!("({})", all.join(" AND ")));
        }
        self.add(format!("({})", any.join(" OR ")));
    }

    /// That a group comes after the one with these values, where nulls come last.
    pub(crate) fn after_group(&mut self, columns: &[(&ReadColumn, &Value)]) {
        let mut any = Vec::with_capacity(columns.len());
        for (at, (last, value)) in columns.iter().enumerate() {
            if value.is_null() {
                continue;
            }
            let mut all = Vec::with_capacity(at + 1);
            for (column, value) in &columns[..at] {
                let sorted = column.sorted();
                all.push(if value.is_null() {
                    format!("{sorted} IS NULL")
                } else {
                    let place = self.place(column.kind, value);
                    format!("{sorted} = {}", self.dialect.ordered(column.kind, &place))
                });
            }
            let sorted = last.sorted();
            let place = self.place(last.kind, value);
            let place = self.dialect.ordered(last.kind, &place);
            all.push(format!("({sorted} > {place} OR {sorted} IS NULL)"));
            any.push(format!("({})", all.join(" AND ")));
        }
        self.add(format!("({})", any.join(" OR ")));
    }

    pub(crate) fn end(self) -> Statement {
        let sql = if self.all.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.all.join(" AND "))
        };
        Statement {
            sql,
            values: self.values,
        }
    }
}

/// A page of the groups of a table of totals: its columns are those of the group, the measures, and the name of
/// the group (a digest, in `SQLite` its values), which tells apart those that begin alike.
pub(crate) fn groups(
    dialect: &impl Dialect,
    table: &ReadTable,
    place: Option<&[Value]>,
    by: usize,
    limit: usize,
    skip: u64,
) -> Statement {
    let name = table.columns.len() - 1;
    let ordered: Vec<&ReadColumn> = table.columns[..by]
        .iter()
        .chain(&table.columns[name..])
        .collect();
    let mut conditions = Conditions::new(dialect);
    if let Some(place) = place {
        let columns: Vec<_> = ordered.iter().copied().zip(place).collect();
        conditions.after_group(&columns);
    }
    let Statement { sql, values } = conditions.end();
    let select = list(&table.columns, ", ", |column| column.value.clone());
    let order = list(&ordered, ", ", |column| {
        let sorted = column.sorted();
        format!("CASE WHEN {sorted} IS NULL THEN 1 ELSE 0 END, {sorted}")
    });
    Statement {
        sql: format!(
            "SELECT {select} FROM {}{sql} ORDER BY {order} {}",
            table.name,
            limited(limit, skip)
        ),
        values,
    }
}

fn limited(limit: usize, skip: u64) -> String {
    match skip {
        0 => format!("LIMIT {limit}"),
        skip => format!("LIMIT {limit} OFFSET {skip}"),
    }
}

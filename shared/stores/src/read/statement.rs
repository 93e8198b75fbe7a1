//! Statements that read. They are the same for every SQL database, except for its [`Dialect`].

use landfall_domain::{Clause, Dataset, FieldType, RowQuery, SORTED_CHARS, Search, Value};

use super::StoredRow;
use super::conditions::Conditions;
use super::page::first_chars;
use super::plan::{Bound, Comparison, Span, comparisons};
use crate::schema::list;

/// How a database writes the parts of statements.
pub(crate) trait Dialect: Send + Sync {
    /// Whether `(a, b) > (c, d)` uses an index.
    const HAS_ROW_VALUES: bool;
    /// Whether rows of one value come from an index in the order of their keys only if `ORDER BY` includes the
    /// value's column. Elsewhere, including it causes a sort.
    const ORDERS_BY_CONSTANTS: bool;

    /// Returns the placeholder of the `nth` value (from 1), which has this type.
    fn place(&self, nth: usize, kind: FieldType) -> String;

    /// Returns an expression that sorts as the values of `expression` do.
    fn ordered(&self, _kind: FieldType, expression: &str) -> String {
        expression.to_owned()
    }

    /// Returns the table of a dataset's tombstones, as `FROM` names it.
    fn tombstones(&self, dataset: &str) -> String;

    /// Returns the expression of the time of a tombstone as RFC 3339.
    fn deleted_at(&self) -> &'static str;

    /// Returns a null of the type of versions.
    fn no_bytes(&self) -> &'static str {
        "NULL"
    }

    /// Returns a null of the type of texts.
    fn no_text(&self) -> &'static str {
        "NULL"
    }

    /// Whether conditions find the candidates of a search by an index.
    const INDEXES_WORDS: bool = true;

    /// Whether an index finds the rows that match a search only if the statement neither sorts nor limits them.
    const MATCHES_BEFORE_SORTING: bool = false;

    /// Quotes a name.
    fn quoted(&self, name: &str) -> String;

    /// Returns the condition that a column of words contains the text at a place.
    fn contains(&self, column: &str, place: &str) -> String;

    /// Returns the text that an index has for a term, as [`Dialect::contains`] compares it.
    fn needle(&self, clause: &Clause) -> String;

    /// Returns the condition of the candidates of a search, with `?` for the placeholder, and its value; none if the
    /// other conditions are all that an index needs.
    fn candidates(
        &self,
        _dataset: &Dataset,
        _columns: &[String],
        _search: &Search,
    ) -> Option<(String, String)> {
        None
    }

    /// Returns the condition that a sort expression is not null, in a form that uses an index.
    fn present(&self, _kind: FieldType, ordered: &str) -> String {
        format!("{ordered} IS NOT NULL")
    }
}

#[derive(Debug)]
pub(crate) struct ReadTable {
    pub(crate) name: String,
    /// One for each field of the dataset, or for each column of a total.
    pub(crate) columns: Vec<ReadColumn>,
    /// The expression of the columns that the dataset does not define, if they are kept.
    pub(crate) extra: Option<String>,
    /// Follows the name to read rows by key.
    pub(crate) by_key: &'static str,
}

impl ReadTable {
    /// Reads a row. `value` reads a column of this type at this position of the result, and `extra` the text at its
    /// position.
    pub(crate) fn row<E>(
        &self,
        value: impl Fn(FieldType, usize) -> Result<Value, E>,
        extra: impl FnOnce(usize) -> Result<Option<String>, E>,
    ) -> Result<StoredRow, E> {
        let columns = self.columns.iter().enumerate();
        let values = columns.map(|(place, column)| value(column.kind, place));
        Ok(StoredRow {
            values: values.collect::<Result<_, E>>()?,
            extra: match self.extra {
                Some(_) => extra(self.columns.len())?,
                None => None,
            },
        })
    }
}

/// A column as statements read it. A column that does not exist is a null of its type.
#[derive(Debug)]
pub(crate) struct ReadColumn {
    pub(crate) kind: FieldType,
    pub(crate) raw: String,
    /// The expression of its values.
    pub(crate) value: String,
    /// The expression that sorts as its values do.
    pub(crate) ordered: String,
    /// The expression of the beginnings of its values, if these are what an index has.
    pub(crate) beginning: Option<String>,
    /// Follows the table's name to read rows in the order of the column.
    pub(crate) by_index: String,
}

impl ReadColumn {
    /// Returns a column that is selected and sorted as it is.
    pub(crate) fn new(kind: FieldType, raw: String) -> Self {
        Self {
            kind,
            value: raw.clone(),
            ordered: raw.clone(),
            beginning: None,
            by_index: String::new(),
            raw,
        }
    }

    pub(super) fn sorted(&self) -> &str {
        self.beginning.as_ref().unwrap_or(&self.ordered)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

/// A list of the keys of the rows that may match a search, for databases in which that is not a condition.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Precedes the table's name.
    pub(crate) rows: String,
    /// The condition that a row of the table has a key of the list.
    pub(crate) on: String,
    /// The values of its placeholders.
    pub(crate) values: Vec<Value>,
}

/// Builds the statements that read rows of a dataset.
pub(crate) struct Rows<'a, D> {
    pub(crate) dialect: &'a D,
    pub(crate) dataset: &'a Dataset,
    pub(crate) table: &'a ReadTable,
    pub(crate) query: &'a RowQuery,
    /// Whether a search looks for candidates in its index. If many rows match, it is faster to read rows in their
    /// order.
    pub(crate) uses_index: bool,
    /// Where the rows that match a search are, if that is not all of the table.
    pub(crate) candidates: Option<&'a Candidates>,
}

impl<D: Dialect> Rows<'_, D> {
    /// Returns the statement that selects the rows of a span, except the first `skip`.
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
        let is_constant = matches!(span.sort, Bound::Equal(_) | Bound::Null);
        let ordered = sort.filter(|_| !is_constant || D::ORDERS_BY_CONSTANTS);
        let ordered = ordered.map(|field| self.table.columns[field].sorted());
        let ties = self
            .ties()
            .map(|field| self.table.columns[field].raw.as_str());
        let order = list(ordered.into_iter().chain(ties), ", ", |expression| {
            format!("{expression}{direction}")
        });
        // With filters, another index may be better.
        let index = match sort {
            _ if !self.query.filters.is_empty() || self.query.search.is_some() => "",
            None => self.table.by_key,
            Some(field) => &self.table.columns[field].by_index,
        };
        let mut bound = bound;
        let order = match self
            .query
            .search
            .as_ref()
            .filter(|_| self.query.by_relevance)
        {
            Some(search) => {
                let mut ranked = Conditions::with_values(self.dialect, bound);
                let rank = super::search::rank(self, &mut ranked, search);
                bound = ranked.values;
                format!("{rank} DESC, {order}")
            }
            None => order,
        };
        let name = &self.table.name;
        let from = if D::MATCHES_BEFORE_SORTING && self.uses_index && self.query.search.is_some() {
            format!("(SELECT * FROM {name}{sql} OFFSET 0) t")
        } else {
            format!("{}{sql}", self.from(index))
        };
        Statement {
            sql: format!(
                "SELECT {values}{extra} FROM {from} ORDER BY {order} {}",
                limited(limit, skip)
            ),
            values: bound,
        }
    }

    /// Returns the statement that counts the rows of a span, up to a number.
    pub(crate) fn count_up_to(&self, span: &Span, most: u64) -> Statement {
        let mut statement = self.conditions(span);
        statement.sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {}{} LIMIT {most}) found",
            self.from(""),
            statement.sql
        );
        statement
    }

    /// Returns the rows that conditions apply to. `index` follows the name of the table.
    fn from(&self, index: &str) -> String {
        let ReadTable { name, by_key, .. } = self.table;
        match self.candidates {
            Some(Candidates { rows, on, .. }) => format!("{rows} {name}{by_key} ON {on}"),
            None => format!("{name}{index}"),
        }
    }

    pub(crate) fn count(&self, span: &Span) -> Statement {
        let mut statement = self.conditions(span);
        statement.sql = format!("SELECT COUNT(*) FROM {}{}", self.from(""), statement.sql);
        statement
    }

    /// Returns the key fields that break ties of the sort field.
    fn ties(&self) -> impl Iterator<Item = usize> {
        let sort = self.query.sort_field(self.dataset);
        let key = self.dataset.key_indexes().iter().copied();
        key.filter(move |field| Some(*field) != sort)
    }

    fn conditions(&self, span: &Span) -> Statement {
        let candidates = self.candidates.map(|candidates| candidates.values.clone());
        let mut conditions = Conditions::with_values(self.dialect, candidates.unwrap_or_default());
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
                    // The beginning alone decides how a text compares to a shorter one.
                    if is_short {
                        continue;
                    }
                }
                if is_key && comparison == Comparison::Equal {
                    conditions.equal(column, &value);
                } else {
                    conditions.compare(column.kind, &column.ordered, comparison, &value);
                }
            }
        }
        if let Some(search) = &self.query.search {
            super::search::add(self, &mut conditions, search);
        }
        if let Some(field) = self.query.sort_field(self.dataset) {
            self.bound(&mut conditions, field, &span.sort);
        }
        if let Some(search) = &self.query.search
            && let Bound::Rank(rank) | Bound::RankBelow(rank) = span.sort
        {
            let operator = if matches!(span.sort, Bound::Rank(_)) {
                "="
            } else {
                "<"
            };
            let expression = super::search::rank(self, &mut conditions, search);
            conditions.add(format!("{expression} {operator} {rank}"));
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
        conditions.finish()
    }

    fn bound(&self, conditions: &mut Conditions<'_, D>, field: usize, bound: &Bound) {
        let column = &self.table.columns[field];
        let sorted = column.sorted();
        match bound {
            Bound::Any | Bound::Rank(_) | Bound::RankBelow(_) => {}
            Bound::Present => conditions.add(self.dialect.present(column.kind, sorted)),
            Bound::Null => conditions.add(format!("{sorted} IS NULL")),
            Bound::Equal(value) => {
                conditions.compare(column.kind, sorted, Comparison::Equal, value);
            }
            Bound::After(value) => {
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

/// Returns the statement of a page of groups of a table of totals. Its columns are those of the group, the measures,
/// and the name of the group (a digest, in `SQLite` its values), which distinguishes groups that begin alike.
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
    let Statement { sql, values } = conditions.finish();
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

/// Returns the statement of the groups of a table of totals with these first values, and one of these last ones.
pub(crate) fn groups_of(
    dialect: &impl Dialect,
    table: &ReadTable,
    first: &[Value],
    last: &[Value],
) -> Statement {
    let mut conditions = Conditions::new(dialect);
    for (column, value) in table.columns.iter().zip(first) {
        conditions.equal(column, value);
    }
    conditions.one_of(&table.columns[first.len()], last);
    let Statement { sql, values } = conditions.finish();
    let select = list(&table.columns, ", ", |column| column.value.clone());
    Statement {
        sql: format!(
            "SELECT {select} FROM {}{sql} {}",
            table.name,
            limited(last.len(), 0)
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

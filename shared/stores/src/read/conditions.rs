//! The conditions of a statement, with the values of their placeholders.

use landfall_domain::{FieldType, Value};

use super::plan::Comparison;
use super::statement::{Dialect, ReadColumn, Statement};
use crate::schema::list;

impl Comparison {
    pub(super) fn operator(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }

    /// Returns the comparison that the beginnings of two texts satisfy if the texts satisfy this one.
    pub(super) fn or_equal(self) -> Self {
        match self {
            Self::Above => Self::AtLeast,
            Self::Below => Self::AtMost,
            other => other,
        }
    }
}

pub(crate) struct Conditions<'a, D> {
    dialect: &'a D,
    all: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl<'a, D: Dialect> Conditions<'a, D> {
    pub(crate) fn new(dialect: &'a D) -> Self {
        Self {
            dialect,
            all: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Returns no conditions, whose placeholders follow those of these values.
    pub(super) fn with_values(dialect: &'a D, values: Vec<Value>) -> Self {
        Self {
            values,
            ..Self::new(dialect)
        }
    }

    pub(crate) fn add(&mut self, condition: String) {
        self.all.push(condition);
    }

    pub(crate) fn place(&mut self, kind: FieldType, value: &Value) -> String {
        self.values.push(value.clone());
        self.dialect.place(self.values.len(), kind)
    }

    pub(super) fn equal(&mut self, column: &ReadColumn, value: &Value) {
        let place = self.place(column.kind, value);
        self.add(format!("{} = {place}", column.raw));
    }

    pub(super) fn one_of(&mut self, column: &ReadColumn, values: &[Value]) {
        let places: Vec<String> = values
            .iter()
            .map(|value| self.place(column.kind, value))
            .collect();
        self.add(format!("{} IN ({})", column.raw, places.join(", ")));
    }

    pub(super) fn compare(
        &mut self,
        kind: FieldType,
        ordered: &str,
        comparison: Comparison,
        value: &Value,
    ) {
        let place = self.place(kind, value);
        let place = self.dialect.ordered(kind, &place);
        self.add(format!("{ordered} {} {place}", comparison.operator()));
    }

    /// Adds the condition that these columns, none of them null, follow these values.
    pub(super) fn after(&mut self, columns: &[(&ReadColumn, &Value)], is_descending: bool) {
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

    /// Adds the condition that a group follows the one with these values, where nulls come last.
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

    pub(crate) fn finish(self) -> Statement {
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

//! The statements that make keys due again.

use landfall_domain::{ChangeState, Value};

use super::statements::{ChangeDialect, Statements};
use crate::read::statement::Statement;
use crate::schema::list;

impl<D: ChangeDialect> Statements<'_, D> {
    /// Selects the numbers of keys of a state that are not leased, and locks them. `answer` is a part of their last
    /// answer. Of keys that wait, only those that are due later.
    pub(crate) fn matching(
        &self,
        destination: &str,
        state: ChangeState,
        answer: Option<&str>,
        now: i64,
        limit: usize,
    ) -> Statement {
        let values: Vec<Value> = answer
            .map(|part| Value::Text(part.into()))
            .into_iter()
            .collect();
        let has_answer = answer.map_or(String::new(), |_| {
            let contains = self.dialect.contains("t._answer", &self.dialect.text(1));
            format!(" AND {contains}")
        });
        // One that is refused again comes last, so that a bounded number of them has each one once.
        let (is_later, order) = match state {
            ChangeState::Waiting => (
                format!(" AND t._due_at > {now} AND t._lease IS NULL"),
                "t._due_at DESC, t._id DESC",
            ),
            ChangeState::SetAside | ChangeState::Unknown => (String::new(), "t._due_at, t._id"),
        };
        let condition = format!(
            "t._destination = '{destination}' AND t._state = '{}'{is_later}{has_answer} \
             ORDER BY {order} LIMIT {limit} {}",
            state.as_str(),
            D::SKIP_LOCKED
        );
        self.ids(&condition, values)
    }

    /// Selects the number of a key that is not leased, and locks it.
    pub(crate) fn of_key(&self, destination: &str, key: &[Value], now: i64) -> Statement {
        let mut values = Vec::new();
        let fields = self.dataset.key_fields().zip(key);
        let is_key = list(fields, " AND ", |(field, value)| {
            values.push(value.clone());
            let column = self.dialect.column(&field.name, field.kind);
            let place = self.dialect.place(values.len(), field.kind);
            format!("{} = {place}", column.raw)
        });
        let condition = format!(
            "t._destination = '{destination}' AND {is_key} \
             AND (t._lease IS NULL OR t._due_at <= {now}) {}",
            D::SKIP_LOCKED
        );
        self.ids(&condition, values)
    }

    /// Makes keys due.
    pub(crate) fn make_due(&self, ids: &[i64], now: i64) -> Statement {
        let sql = format!(
            "UPDATE {} SET _wanted_at = CASE WHEN _state = 'sent' THEN {now} ELSE _wanted_at END, \
             _state = 'waiting', _due_at = {now}, _attempts = 0, _holds = 0 WHERE _id IN ({})",
            self.keys_table(),
            list(ids, ", ", i64::to_string)
        );
        Statement {
            sql,
            values: Vec::new(),
        }
    }
}

//! The statements that change leased keys.

use landfall_domain::{ChangeState, RowVersion, Value};

use super::statements::{ChangeDialect, Statements};
use crate::read::statement::Statement;
use crate::schema::list;

/// What is to be written about a leased key.
pub(crate) struct Leased {
    pub(crate) id: i64,
    pub(crate) version: RowVersion,
    pub(crate) is_gone: bool,
}

/// A key that was sent.
pub(crate) struct SentKey<'a> {
    pub(crate) id: i64,
    pub(crate) version: RowVersion,
    pub(crate) exists: bool,
    pub(crate) sent_as: Option<&'a str>,
}

/// A key that was not sent.
pub(crate) struct UnsentKey<'a> {
    pub(crate) id: i64,
    pub(crate) version: RowVersion,
    pub(crate) state: ChangeState,
    pub(crate) due_at: i64,
    pub(crate) answer: Option<&'a str>,
    pub(crate) attempts: u8,
    pub(crate) is_uncertain: bool,
    pub(crate) holds: bool,
}

impl<D: ChangeDialect> Statements<'_, D> {
    /// Leases keys that are locked. Their wanted version becomes that of the row as it stands.
    pub(crate) fn lease(&self, keys: &[Leased], id: &str, until: i64) -> Statement {
        let query = list(keys, " UNION ALL ", |key| {
            format!(
                "SELECT {} AS new_id, {} AS new_version, {} AS new_gone",
                key.id,
                self.dialect.bytes(&key.version.to_string()),
                u8::from(key.is_gone)
            )
        });
        let set = format!(
            "_uncertain = CASE WHEN s._lease IS NULL THEN s._uncertain ELSE 1 END, _lease = {}, \
             _due_at = {until}, _wanted = v.new_version, _gone = v.new_gone",
            self.dialect.text(1)
        );
        Statement {
            sql: self.update(&query, &set, "s._state = 'waiting'"),
            values: vec![Value::Text(id.into())],
        }
    }

    fn update(&self, query: &str, set: &str, condition: &str) -> String {
        let table = self.keys_table();
        self.dialect.update_from(&table, query, set, condition)
    }

    /// Records that keys were sent, unless they have another lease.
    pub(crate) fn sent(&self, keys: &[SentKey<'_>], lease: &str, now: i64) -> Statement {
        let mut values = Vec::new();
        let query = list(keys, " UNION ALL ", |key| {
            values.push(text_or_null(key.sent_as));
            format!(
                "SELECT {} AS new_id, {} AS new_version, {} AS new_exists, {} AS new_sent_as",
                key.id,
                self.dialect.bytes(&key.version.to_string()),
                u8::from(key.exists),
                self.dialect.text(values.len())
            )
        });
        let set = format!(
            "_sent = CASE WHEN s._gone = 1 THEN NULL ELSE v.new_version END, \
             _exists = CASE WHEN s._gone = 1 THEN 0 ELSE v.new_exists END, \
             _sent_as = CASE WHEN s._gone = 1 OR v.new_exists = 0 THEN NULL \
             ELSE COALESCE(v.new_sent_as, s._sent_as) END, \
             _wanted_at = CASE WHEN s._wanted > v.new_version THEN {now} ELSE s._wanted_at END, \
             _state = CASE WHEN s._wanted > v.new_version THEN 'waiting' ELSE 'sent' END, \
             _due_at = {now}, _attempts = 0, _uncertain = 0, _holds = 0, _answer = NULL, _lease = NULL"
        );
        self.of_lease(&query, &set, lease, values)
    }

    /// Deletes those of the keys whose deletes were just sent.
    pub(crate) fn forget_gone(&self, keys: &[SentKey<'_>]) -> Statement {
        Statement {
            sql: format!(
                "DELETE FROM {} WHERE _id IN ({}) AND _gone = 1 AND _state = 'sent'",
                self.keys_table(),
                list(keys, ", ", |key| key.id.to_string())
            ),
            values: Vec::new(),
        }
    }

    /// Records that keys were not sent, unless they have another lease.
    pub(crate) fn unsent(&self, keys: &[UnsentKey<'_>], lease: &str) -> Statement {
        let mut values = Vec::new();
        let query = list(keys, " UNION ALL ", |key| {
            values.push(text_or_null(key.answer));
            format!(
                "SELECT {} AS new_id, {} AS new_version, '{}' AS new_state, {} AS new_due_at, \
                 {} AS new_answer, {} AS new_attempts, {} AS new_uncertain, {} AS new_holds",
                key.id,
                self.dialect.bytes(&key.version.to_string()),
                key.state.as_str(),
                key.due_at,
                self.dialect.text(values.len()),
                key.attempts,
                u8::from(key.is_uncertain),
                u8::from(key.holds)
            )
        });
        let set = "_state = CASE WHEN v.new_holds = 0 AND s._wanted > v.new_version \
             THEN 'waiting' ELSE v.new_state END, \
             _due_at = v.new_due_at, _attempts = s._attempts + v.new_attempts, \
             _uncertain = CASE WHEN s._uncertain = 1 OR v.new_uncertain = 1 THEN 1 ELSE 0 END, \
             _holds = v.new_holds, _answer = COALESCE(v.new_answer, s._answer), _lease = NULL";
        self.of_lease(&query, set, lease, values)
    }

    fn of_lease(&self, query: &str, set: &str, lease: &str, mut values: Vec<Value>) -> Statement {
        values.push(Value::Text(lease.into()));
        let condition = format!("s._lease = {}", self.dialect.text(values.len()));
        Statement {
            sql: self.update(query, set, &condition),
            values,
        }
    }
}

fn text_or_null(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.into()))
}

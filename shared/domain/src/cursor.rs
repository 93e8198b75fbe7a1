//! Cursors: the position after which a page starts, as text that clients send back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::{Uuid, uuid};

use crate::counts::StoreKind;
use crate::dataset::{Dataset, Total};
use crate::query::{Condition, Filter, QueryError, Sort, position_kinds};
use crate::search::Search;
use crate::value::{FieldType, Value};

/// Namespace of query ids. Changing it invalidates all cursors that clients hold.
const NAMESPACE: Uuid = uuid!("0f0b3a0a-6a0e-4bd2-9d1c-6d1b9a7c2f11");
/// The maximum length of a cursor; a key and a sort value take less.
const MAX_BYTES: usize = 8 << 10;
const ID_BYTES: usize = 16;

/// Encodes and decodes page cursors for one query.
///
/// A cursor holds the last row's sort and key values and a digest of the query, so a cursor of another query is
/// refused. It is not signed: a forged cursor shows only rows the caller can query anyway.
#[derive(Clone, Debug)]
pub struct CursorCodec {
    query: Uuid,
    kinds: Vec<FieldType>,
}

/// The parts of a query that its cursors depend on. Their JSON decides the digest, so its form must not change.
#[derive(Serialize)]
struct QueryIdentity<'a> {
    store: StoreKind,
    dataset: &'a str,
    total: Option<&'a Total>,
    /// Names and types of the values of a position.
    #[serde(rename = "place")]
    position: Vec<(&'a str, FieldType)>,
    is_descending: bool,
    filters: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
}

impl CursorCodec {
    /// Returns the codec for a query for rows.
    pub fn for_rows(
        store: StoreKind,
        dataset: &Dataset,
        filters: &[Filter],
        search: Option<&Search>,
        sort: Option<Sort>,
        by_relevance: bool,
    ) -> Self {
        let kinds = position_kinds(dataset, sort, by_relevance);
        let sorted = sort.map(|sort| &dataset.fields[sort.field]);
        let names = sorted.into_iter().chain(dataset.key_fields());
        let mut filters: Vec<String> = filters
            .iter()
            .map(|filter| filter_text(&dataset.fields[filter.field].name, &filter.condition))
            .collect();
        filters.sort_unstable();
        let identity = QueryIdentity {
            store,
            dataset: &dataset.name,
            total: None,
            position: names
                .map(|field| (field.name.as_str(), field.kind))
                .collect(),
            is_descending: sort.is_some_and(|sort| sort.descending),
            filters,
            search: search.map(|search| format!("{:?} {by_relevance}", search.clauses())),
        };
        Self::new(&identity, kinds)
    }

    /// Returns the codec for a query for the groups of a table of totals.
    pub fn for_totals(store: StoreKind, dataset: &Dataset, total: &Total) -> Self {
        let by = total.by.iter().filter_map(|name| {
            let field = dataset.fields.iter().find(|field| field.name == *name)?;
            Some((field.name.as_str(), field.kind))
        });
        let identity = QueryIdentity {
            store,
            dataset: &dataset.name,
            total: Some(total),
            position: by.collect(),
            is_descending: false,
            filters: Vec::new(),
            search: None,
        };
        // The names of groups order those whose values share a prefix.
        let kinds = identity.position.iter().map(|(_, kind)| *kind);
        let kinds = kinds.chain([FieldType::Text]).collect();
        Self::new(&identity, kinds)
    }

    fn new(identity: &QueryIdentity<'_>, kinds: Vec<FieldType>) -> Self {
        Self {
            query: Uuid::new_v5(&NAMESPACE, &to_json(identity)),
            kinds,
        }
    }

    /// Returns the cursor of a position, the `next` of a page.
    pub fn encode(&self, position: &[Value]) -> String {
        let texts: Vec<_> = position.iter().map(Value::to_text).collect();
        let mut bytes = self.query.as_bytes().to_vec();
        bytes.extend(to_json(&texts));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the position of a cursor.
    ///
    /// # Errors
    /// [`QueryError::Cursor`] if the cursor is malformed or belongs to another query.
    pub fn decode(&self, cursor: &str) -> Result<Vec<Value>, QueryError> {
        self.position(cursor).ok_or(QueryError::Cursor)
    }

    fn position(&self, cursor: &str) -> Option<Vec<Value>> {
        if cursor.len() > MAX_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (id, texts) = bytes.split_at_checked(ID_BYTES)?;
        if id != self.query.as_bytes() {
            return None;
        }
        let texts: Vec<Option<String>> = serde_json::from_slice(texts).ok()?;
        if texts.len() != self.kinds.len() {
            return None;
        }
        let values = texts
            .iter()
            .zip(&self.kinds)
            .map(|(text, kind)| match text {
                None => Some(Value::Null),
                Some(text) => Value::from_text(*kind, text).ok(),
            });
        values.collect()
    }
}

/// Serializes strings, numbers and lists of them, which cannot fail.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value);
    json.unwrap_or_else(|error| unreachable!("a cursor cannot be serialized: {error}"))
}

/// Returns a text that identifies a condition.
fn filter_text(field: &str, condition: &Condition) -> String {
    let (op, value) = match condition {
        Condition::Equals(value) => ("eq", value.to_text()),
        Condition::AtLeast(value) => ("gte", value.to_text()),
        Condition::Above(value) => ("gt", value.to_text()),
        Condition::AtMost(value) => ("lte", value.to_text()),
        Condition::Below(value) => ("lt", value.to_text()),
        Condition::Prefix(prefix) => ("prefix", Some(prefix.as_str().into())),
    };
    debug_assert!(value.is_some(), "a condition on {field} compares with null");
    format!("{field}:{op}:{}", value.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCTS: &str = r#"
name = "products"
key = ["sku"]
fields = [
    { name = "sku", type = "text" },
    { name = "name", type = "text", index = true },
    { name = "price", type = "decimal", index = true },
]
[[totals]]
name = "products_by_name"
by = ["name"]
columns = { number = "count" }
"#;

    #[test]
    fn a_cursor_is_decoded_for_its_own_query_only() {
        let dataset = Dataset::from_toml("products.toml", PRODUCTS).unwrap();
        let store = StoreKind::Postgres;
        let filter = |text| vec![Filter::parse(&dataset, text).unwrap()];
        let sort = |text| Some(Sort::parse(&dataset, text).unwrap());
        let (cheap, by_price) = (filter("price:lt:5"), sort("price"));
        let cursors = |filters: &[Filter], sort| {
            CursorCodec::for_rows(store, &dataset, filters, None, sort, false)
        };
        let decimal = Value::from_text(FieldType::Decimal, "4.99").unwrap();
        let search = Search::parse("word").unwrap();
        for value in [decimal, Value::Null] {
            let position = vec![value, Value::Text("a,b \u{1f600}".into())];
            let cursor = cursors(&cheap, by_price).encode(&position);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            assert!(cursor.bytes().all(is_plain), "{cursor}");
            assert_eq!(cursors(&cheap, by_price).decode(&cursor), Ok(position));
            for other in [
                cursors(&[], by_price),
                cursors(&filter("price:lte:5"), by_price),
                cursors(&cheap, sort("-price")),
                cursors(&cheap, sort("name")),
                cursors(&cheap, None),
                CursorCodec::for_rows(StoreKind::Mongodb, &dataset, &cheap, None, by_price, false),
                CursorCodec::for_rows(store, &dataset, &cheap, Some(&search), by_price, false),
                CursorCodec::for_rows(store, &dataset, &cheap, Some(&search), None, true),
                CursorCodec::for_totals(store, &dataset, &dataset.totals[0]),
            ] {
                assert_eq!(other.decode(&cursor), Err(QueryError::Cursor));
            }
            let truncated = cursors(&cheap, by_price).decode(&cursor[..cursor.len() - 4]);
            assert_eq!(truncated, Err(QueryError::Cursor));
        }
        for forged in ["", "x", "AAAA", &"A".repeat(100_000)] {
            assert_eq!(cursors(&[], None).decode(forged), Err(QueryError::Cursor));
        }
        // The order of conditions does not matter.
        let mut both = filter("price:lt:5");
        both.extend(filter("name:prefix:a"));
        let cursor = cursors(&both, None).encode(&[Value::Text("a".into())]);
        both.reverse();
        assert!(cursors(&both, None).decode(&cursor).is_ok());
    }
}

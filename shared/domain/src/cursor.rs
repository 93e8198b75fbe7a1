//! Cursors: the place after which a page starts, as text for clients to hand back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::{Uuid, uuid};

use crate::query::place_kinds;
use crate::{Dataset, FieldType, Filter, QueryError, Sort, StoreKind, Test, Total, Value};

/// Of the ids of questions; a new one makes all cursors invalid that were given out.
const NAMESPACE: Uuid = uuid!("0f0b3a0a-6a0e-4bd2-9d1c-6d1b9a7c2f11");
/// The longest cursor that is looked at; a key and a sort value take less.
const MAX_BYTES: usize = 8 << 10;
const ID_BYTES: usize = 16;

/// Writes and reads the cursors of one question.
///
/// A cursor has a digest of its question, so that it is not taken for a place in another order, and the values
/// of the place. It is not a secret and is not signed: whoever makes one up sees no more than by conditions.
#[derive(Clone, Debug)]
pub struct Cursor {
    question: Uuid,
    kinds: Vec<FieldType>,
}

/// What makes two questions one.
#[derive(Serialize)]
struct Question<'a> {
    store: StoreKind,
    dataset: &'a str,
    total: Option<&'a Total>,
    /// Names and types of the values of a place.
    place: Vec<(&'a str, FieldType)>,
    is_descending: bool,
    filters: Vec<String>,
}

impl Cursor {
    /// Of rows with these conditions in this order.
    pub fn of_rows(
        store: StoreKind,
        dataset: &Dataset,
        filters: &[Filter],
        sort: Option<Sort>,
    ) -> Self {
        let kinds = place_kinds(dataset, sort);
        let sorted = sort.map(|sort| &dataset.fields[sort.field]);
        let names = sorted.into_iter().chain(dataset.key_fields());
        let mut filters: Vec<String> = filters
            .iter()
            .map(|filter| say(&dataset.fields[filter.field].name, &filter.test))
            .collect();
        filters.sort_unstable();
        let question = Question {
            store,
            dataset: &dataset.name,
            total: None,
            place: names
                .map(|field| (field.name.as_str(), field.kind))
                .collect(),
            is_descending: sort.is_some_and(|sort| sort.descending),
            filters,
        };
        Self::of(&question, kinds)
    }

    /// Of the groups of a table of totals.
    pub fn of_totals(store: StoreKind, dataset: &Dataset, total: &Total) -> Self {
        let by = total.by.iter().filter_map(|name| {
            let field = dataset.fields.iter().find(|field| field.name == *name)?;
            Some((field.name.as_str(), field.kind))
        });
        let question = Question {
            store,
            dataset: &dataset.name,
            total: Some(total),
            place: by.collect(),
            is_descending: false,
            filters: Vec::new(),
        };
        // Groups whose values begin alike are told apart by their names.
        let kinds = question.place.iter().map(|(_, kind)| *kind);
        let kinds = kinds.chain([FieldType::Text]).collect();
        Self::of(&question, kinds)
    }

    fn of(question: &Question<'_>, kinds: Vec<FieldType>) -> Self {
        // Of strings, numbers and lists: it can be written.
        let name = serde_json::to_vec(question).unwrap_or_default();
        Self {
            question: Uuid::new_v5(&NAMESPACE, &name),
            kinds,
        }
    }

    /// The cursor of a place, which `next` of a page is.
    pub fn encode(&self, place: &[Value]) -> String {
        let texts: Vec<_> = place.iter().map(Value::to_text).collect();
        let mut bytes = self.question.as_bytes().to_vec();
        bytes.extend(serde_json::to_vec(&texts).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place of a cursor of this very question.
    pub fn decode(&self, cursor: &str) -> Result<Vec<Value>, QueryError> {
        self.place(cursor).ok_or(QueryError::Cursor)
    }

    fn place(&self, cursor: &str) -> Option<Vec<Value>> {
        if cursor.len() > MAX_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (id, texts) = bytes.split_at_checked(ID_BYTES)?;
        if id != self.question.as_bytes() {
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

/// A condition as text that no other condition has.
fn say(field: &str, test: &Test) -> String {
    let (op, value) = match test {
        Test::Equals(value) => ("eq", value.to_text()),
        Test::AtLeast(value) => ("gte", value.to_text()),
        Test::Above(value) => ("gt", value.to_text()),
        Test::AtMost(value) => ("lte", value.to_text()),
        Test::Below(value) => ("lt", value.to_text()),
        Test::Prefix(prefix) => ("prefix", Some(prefix.as_str().into())),
    };
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
    fn a_place_is_given_back_to_its_question_alone() {
        let dataset = Dataset::from_toml("products.toml", PRODUCTS).unwrap();
        let store = StoreKind::Postgres;
        let filter = |text| vec![Filter::parse(&dataset, text).unwrap()];
        let sort = |text| Some(Sort::parse(&dataset, text).unwrap());
        let (cheap, by_price) = (filter("price:lt:5"), sort("price"));
        let of = |filters: &[Filter], sort| Cursor::of_rows(store, &dataset, filters, sort);
        let decimal = Value::from_text(FieldType::Decimal, "4.99").unwrap();
        for value in [decimal, Value::Null] {
            let place = vec![value, Value::Text("a,b \u{1f600}".into())];
            let cursor = of(&cheap, by_price).encode(&place);
            assert!(
                cursor
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
            assert_eq!(of(&cheap, by_price).decode(&cursor), Ok(place));
            for other in [
                of(&[], by_price),
                of(&filter("price:lte:5"), by_price),
                of(&cheap, sort("-price")),
                of(&cheap, sort("name")),
                of(&cheap, None),
                Cursor::of_rows(StoreKind::Mongodb, &dataset, &cheap, by_price),
                Cursor::of_totals(store, &dataset, &dataset.totals[0]),
            ] {
                assert_eq!(other.decode(&cursor), Err(QueryError::Cursor));
            }
            let cut = &cursor[..cursor.len() - 4];
            assert_eq!(of(&cheap, by_price).decode(cut), Err(QueryError::Cursor));
        }
        for made_up in ["", "x", "AAAA", &"A".repeat(100_000)] {
            assert_eq!(of(&[], None).decode(made_up), Err(QueryError::Cursor));
        }
        // Conditions hold together, whatever their order.
        let mut both = filter("price:lt:5");
        both.extend(filter("name:prefix:a"));
        let cursor = of(&both, None).encode(&[Value::Text("a".into())]);
        both.reverse();
        assert!(of(&both, None).decode(&cursor).is_ok());
    }
}

//! A question as a walk through spans, each of which an index has in one piece.
//!
//! Rows in the order of a field are those of the value where the page before ended, with later keys; then those
//! of later values; then nulls. A single comparison of several columns would say the same, but not every
//! database finds its start in an index, and none of them does among nulls.

use landfall_domain::{Dataset, Filter, RowQuery, Start, Test, Value};

use super::gather::after_prefix;

/// Rows that stand next to each other in the order of a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    /// What the value that is sorted by must be.
    pub(crate) sort: Bound,
    /// The key that all keys come after, in the direction of the question.
    pub(crate) after: Option<Vec<Value>>,
}

/// What the value that is sorted by must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    /// Anything: rows are in the order of their keys.
    Any,
    /// Not null.
    Present,
    /// This, of texts their beginning.
    Is(Value),
    /// Beyond this in the direction of the question, and not null.
    Beyond(Value),
    /// Null.
    Null,
}

/// The spans of a question, in order.
pub(crate) fn spans(dataset: &Dataset, query: &RowQuery) -> Vec<Span> {
    let span = |sort, after| Span { sort, after };
    let place = match &query.start {
        Start::After(place) => Some(place.clone()),
        Start::First | Start::Skip(_) => None,
    };
    if query.sort_field(dataset).is_none() {
        return vec![span(Bound::Any, place)];
    }
    let place = place.and_then(|mut place| {
        let key = place.split_off(1.min(place.len()));
        Some((place.pop()?, key))
    });
    let mut spans = match place {
        None => vec![span(Bound::Present, None)],
        Some((Value::Null, key)) if query.is_descending() => {
            return vec![span(Bound::Null, Some(key)), span(Bound::Present, None)];
        }
        Some((Value::Null, key)) => return vec![span(Bound::Null, Some(key))],
        Some((value, key)) => vec![
            span(Bound::Is(value.clone()), Some(key)),
            span(Bound::Beyond(value), None),
        ],
    };
    let nulls = span(Bound::Null, None);
    match (query.is_descending(), &query.start) {
        (false, _) => spans.push(nulls),
        (true, Start::After(_)) => {}
        (true, _) => spans.insert(0, nulls),
    }
    spans
}

/// A comparison with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// The comparisons that a condition is made of: a prefix is a range.
pub(crate) fn comparisons(filter: &Filter) -> Vec<(Comparison, Value)> {
    let (comparison, value) = match &filter.test {
        Test::Equals(value) => (Comparison::Equal, value),
        Test::AtLeast(value) => (Comparison::AtLeast, value),
        Test::Above(value) => (Comparison::Above, value),
        Test::AtMost(value) => (Comparison::AtMost, value),
        Test::Below(value) => (Comparison::Below, value),
        Test::Prefix(prefix) => {
            let mut range = vec![(Comparison::AtLeast, Value::Text(prefix.as_str().into()))];
            let end = after_prefix(prefix).map(|end| (Comparison::Below, Value::Text(end.into())));
            range.extend(end);
            return range;
        }
    };
    vec![(comparison, value.clone())]
}

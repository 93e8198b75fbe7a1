//! Plans a query as a sequence of spans, each contiguous in an index.
//!
//! Rows ordered by a field come in three spans: the value where the previous page ended, with later keys; later
//! values; nulls. A single comparison of several columns would be equivalent, but not every database finds its
//! start in an index, and none does among nulls.
//!
//! The plan is the same for all databases: nulls come last, and descending order is the exact reverse. It needs no
//! sort, and costs two short statements per page when rows are sorted by a field.

use landfall_domain::{Condition, Dataset, Filter, RowQuery, Start, Value};

use super::page::after_prefix;

/// Rows that are contiguous in the order of a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) sort: Bound,
    /// The key that all keys follow, in the direction of the query.
    pub(crate) after: Option<Vec<Value>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    /// None: rows are in the order of their keys.
    Any,
    Present,
    /// Equal; texts begin with this.
    Equal(Value),
    /// As relevant as this.
    Rank(i64),
    /// Less relevant than this.
    RankBelow(i64),
    /// After this in the direction of the query, and not null.
    After(Value),
    Null,
}

pub(crate) fn spans(dataset: &Dataset, query: &RowQuery) -> Vec<Span> {
    let span = |sort, after| Span { sort, after };
    let place = match &query.start {
        Start::After(place) => Some(place.clone()),
        Start::First | Start::Skip(_) => None,
    };
    if query.by_relevance
        && let Some(mut place) = place.clone()
    {
        let key = place.split_off(1.min(place.len()));
        if let Some(Value::Integer(rank)) = place.pop() {
            let equal = span(Bound::Rank(rank), Some(key));
            return vec![equal, span(Bound::RankBelow(rank), None)];
        }
    }
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
            span(Bound::Equal(value.clone()), Some(key)),
            span(Bound::After(value), None),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// Returns the comparisons that a filter consists of. A prefix is a range.
pub(crate) fn comparisons(filter: &Filter) -> Vec<(Comparison, Value)> {
    let (comparison, value) = match &filter.condition {
        Condition::Equals(value) => (Comparison::Equal, value),
        Condition::AtLeast(value) => (Comparison::AtLeast, value),
        Condition::Above(value) => (Comparison::Above, value),
        Condition::AtMost(value) => (Comparison::AtMost, value),
        Condition::Below(value) => (Comparison::Below, value),
        Condition::Prefix(prefix) => {
            let mut range = vec![(Comparison::AtLeast, Value::Text(prefix.as_str().into()))];
            let end = after_prefix(prefix).map(|end| (Comparison::Below, Value::Text(end.into())));
            range.extend(end);
            return range;
        }
    };
    vec![(comparison, value.clone())]
}

//! A page while it is filled.

use landfall_domain::{Dataset, RowQuery, SORTED_CHARS, Value};

use super::{RowPage, StoredRow};

/// Collects rows up to a number of rows and of bytes.
pub(crate) struct PageBuilder {
    rows: Vec<StoredRow>,
    limit: usize,
    bytes_left: usize,
    /// Whether a row did not fit.
    is_full: bool,
}

impl PageBuilder {
    pub(crate) fn new(limit: u32, bytes: usize) -> Self {
        Self {
            rows: Vec::new(),
            limit: limit as usize,
            bytes_left: bytes,
            is_full: false,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of rows to fetch: one more than fits, to learn whether any follows.
    pub(crate) fn wanted(&self) -> usize {
        self.limit - self.rows.len() + 1
    }

    /// Adds a row if it fits, and returns whether it does.
    pub(crate) fn push(&mut self, row: StoredRow) -> bool {
        let bytes = bytes_of(&row);
        self.is_full =
            self.rows.len() == self.limit || (bytes > self.bytes_left && !self.rows.is_empty());
        if !self.is_full {
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            self.rows.push(row);
        }
        !self.is_full
    }

    pub(crate) fn last_place(&self, dataset: &Dataset, query: &RowQuery) -> Option<Vec<Value>> {
        let row = self.rows.last()?;
        let sort = query.sort_field(dataset);
        let sort = sort.map(|field| beginning(dataset, field, &row.values[field]));
        let key = dataset.key_indexes().iter();
        let search = query.search.as_ref().filter(|_| query.by_relevance);
        let rank = search.map(|search| {
            let fields = dataset.search_indexes().iter();
            let texts = fields.filter_map(|field| match &row.values[*field] {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            });
            Value::Integer(search.rank(texts))
        });
        Some(
            rank.into_iter()
                .chain(sort)
                .chain(key.map(|field| row.values[*field].clone()))
                .collect(),
        )
    }

    pub(crate) fn finish(self, dataset: &Dataset, query: &RowQuery) -> RowPage {
        let place = self.last_place(dataset, query);
        RowPage {
            next: place.filter(|_| self.is_full),
            rows: self.rows,
        }
    }

    pub(crate) fn into_rows(self) -> Vec<StoredRow> {
        self.rows
    }
}

/// Returns the part of a value that decides its row's place in an order.
pub(crate) fn beginning(dataset: &Dataset, field: usize, value: &Value) -> Value {
    if dataset.key_indexes().contains(&field) {
        value.clone()
    } else {
        cut(value)
    }
}

/// Cuts a text to the characters that texts are sorted by.
pub(crate) fn cut(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(first_chars(text).into()),
        other => other.clone(),
    }
}

/// Returns the characters that texts are sorted by.
pub(crate) fn first_chars(text: &str) -> &str {
    let end = text.char_indices().nth(SORTED_CHARS);
    end.map_or(text, |(end, _)| &text[..end])
}

/// Returns the least text that is greater than every text with this prefix, if there is one.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // Not every number is a character; the range skips the others.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn bytes_of(row: &StoredRow) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Json(text) => text.len(),
        _ => size_of::<Value>(),
    };
    row.values.iter().map(value).sum::<usize>() + row.extra.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_before_the_next_text() {
        for (prefix, after) in [
            ("ab", Some("ac")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), after);
        }
    }
}

//! A page while it is filled.

use landfall_domain::{Dataset, RowQuery, SORTED_CHARS, Value};

use super::{RowPage, StoredRow};

/// Rows up to a number and up to bytes.
pub(crate) struct Gather {
    rows: Vec<StoredRow>,
    limit: usize,
    bytes_left: usize,
    /// Whether a row was there that had no room.
    is_full: bool,
}

impl Gather {
    pub(crate) fn new(limit: u32, bytes: usize) -> Self {
        Self {
            rows: Vec::new(),
            limit: limit as usize,
            bytes_left: bytes,
            is_full: false,
        }
    }

    /// Whether a row was there that had no room.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many rows to ask for: one more than there is room for, to know whether any follows.
    pub(crate) fn wanted(&self) -> usize {
        self.limit - self.rows.len() + 1
    }

    /// Takes a row, if there is room; gives whether there was.
    pub(crate) fn take(&mut self, row: StoredRow) -> bool {
        let bytes = bytes_of(&row);
        self.is_full =
            self.rows.len() == self.limit || (bytes > self.bytes_left && !self.rows.is_empty());
        if !self.is_full {
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            self.rows.push(row);
        }
        !self.is_full
    }

    /// The place of the last row that was taken.
    pub(crate) fn last_place(&self, dataset: &Dataset, query: &RowQuery) -> Option<Vec<Value>> {
        let row = self.rows.last()?;
        let sort = query.sort_field(dataset);
        let sort = sort.map(|field| beginning(dataset, field, &row.values[field]));
        let key = dataset.key_indexes().iter();
        Some(
            sort.into_iter()
                .chain(key.map(|field| row.values[*field].clone()))
                .collect(),
        )
    }

    pub(crate) fn page(self, dataset: &Dataset, query: &RowQuery) -> RowPage {
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

/// What of a value decides its row's place in an order.
pub(crate) fn beginning(dataset: &Dataset, field: usize, value: &Value) -> Value {
    match value {
        Value::Text(text) if !dataset.key_indexes().contains(&field) => {
            Value::Text(first_chars(text).into())
        }
        other => other.clone(),
    }
}

/// The characters that count where texts are sorted.
pub(crate) fn first_chars(text: &str) -> &str {
    let end = text.char_indices().nth(SORTED_CHARS);
    end.map_or(text, |(end, _)| &text[..end])
}

/// The least text that is greater than every text that starts so; none where there is no such.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // Not every number is a character's: the range skips those that are not.
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

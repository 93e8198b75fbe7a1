//! The candidates of a search: the rows that have the words of the query that few rows have.
//!
//! The rows that match are among them, and the words of each decide. The rows of a word are found in the order of their
//! keys, so that a page in this order ends early, however many there are. Those of words with a beginning or part have
//! to be collected and sorted first. If these are many for each word of a query, rows are read in their order instead:
//! a page is full soon.

use std::cmp::Reverse;

use landfall_domain::{Clause, Dataset, Occurrence, RowQuery, Search, StoreKind, Value};

use super::words::{ENTRY_BYTES, beginning, cut};
use super::{dictionary_of, id_of, postings_of};
use crate::error::Result;
use crate::mysql::dialect::{BY_KEY, quote};
use crate::read::statement::{Candidates, Statement};
use crate::schema::{Table, list};

/// The number of candidates that are not collected any more: in the order of the rows, a page is then full after about
/// one row of a hundred.
const MANY: u64 = 2_000;
/// The maximum number of words of a query that candidates are looked for by: the longest.
const MAX_WORDS: usize = 8;
/// The maximum number of whole words that all candidates have.
const MAX_WHOLE: usize = 3;
/// A power of ten above the number of words.
const PLACES: u64 = 10;

/// The words of a query, the longest first.
pub(in crate::mysql) struct Sources<'q> {
    table: Table,
    words: Vec<Occurrence<'q>>,
    is_by_key: bool,
    is_by_relevance: bool,
}

impl<'q> Sources<'q> {
    pub(in crate::mysql) fn new(
        dataset: &Dataset,
        query: &RowQuery,
        search: &'q Search,
    ) -> Result<Self> {
        let clauses = search.clauses().iter();
        let mut words: Vec<_> = clauses.flat_map(Clause::occurrences).collect();
        words.sort_by_key(|word| Reverse(text_of(*word).len()));
        words.truncate(MAX_WORDS);
        let is_by_key = query.sort_field(dataset).is_none() && !query.by_relevance;
        Ok(Self {
            table: Table::new(dataset, StoreKind::Mysql)?,
            words,
            is_by_key,
            is_by_relevance: query.by_relevance,
        })
    }

    /// Returns the statement that counts the rows of each word, up to a number. Its result is the least number, and the
    /// index of the word as its last digit.
    pub(in crate::mysql) fn count(&self) -> Statement {
        let mut values = Vec::new();
        let words = self.words.iter().enumerate();
        let counts = list(words, " UNION ALL ", |(index, word)| {
            let from = self.rows_of(&[*word], &mut values);
            format!(
                "SELECT COUNT(*) * {PLACES} + {index} AS n FROM (SELECT 1 FROM {from} LIMIT {MANY}) f"
            )
        });
        Statement {
            sql: format!("SELECT MIN(n) FROM ({counts}) c"),
            values,
        }
    }

    /// Returns the candidates by the result of [`Sources::count`]; none if rows are to be read in their order.
    pub(in crate::mysql) fn candidates(&self, counted: u64) -> Option<Candidates> {
        let (rows, index) = (counted / PLACES, usize::try_from(counted % PLACES).ok()?);
        let is_whole = |word: &Occurrence<'_>| matches!(word, Occurrence::Word(_));
        let whole: Vec<_> = self
            .words
            .iter()
            .copied()
            .filter(is_whole)
            .take(MAX_WHOLE)
            .collect();
        let fewest = self.words.get(index).copied()?;
        let words = if rows < MANY && !is_whole(&fewest) || whole.is_empty() {
            vec![fewest]
        } else {
            let others = whole.into_iter().filter(|word| *word != fewest);
            is_whole(&fewest)
                .then_some(fewest)
                .into_iter()
                .chain(others)
                .collect()
        };
        let is_in_order = self.is_by_key && words.iter().all(is_whole);
        if rows >= MANY && !is_in_order && !self.is_by_relevance {
            return None;
        }
        let key = self.table.key.iter().enumerate();
        let selected = list(key.clone(), ", ", |(place, name)| {
            format!("p.{} AS _{place}", quote(name))
        });
        let on = list(key, " AND ", |(place, name)| {
            format!("c._{place} = {}", quote(name))
        });
        let distinct = if words.iter().all(is_whole) {
            ""
        } else {
            "DISTINCT "
        };
        let mut values = Vec::new();
        let from = self.rows_of(&words, &mut values);
        Some(Candidates {
            rows: format!("(SELECT {distinct}{selected} FROM {from}) c STRAIGHT_JOIN"),
            on,
            values,
        })
    }

    /// Returns where the rows `p` are that have a word, or all of several whole words.
    fn rows_of(&self, words: &[Occurrence<'_>], values: &mut Vec<Value>) -> String {
        let postings = postings_of(&self.table.name);
        let Some((first, others)) = words.split_first() else {
            return format!("{postings} p");
        };
        if matches!(first, Occurrence::Word(_)) {
            let joins = list(others.iter().enumerate(), "", |(number, word)| {
                values.push(hex(&id_of(text_of(*word))));
                let same = list(&self.table.key, "", |name| {
                    format!(" AND q{number}.{0} = p.{0}", quote(name))
                });
                format!(
                    " STRAIGHT_JOIN {postings} q{number} {BY_KEY} ON q{number}.word = UNHEX(?){same}"
                )
            });
            values.push(hex(&id_of(text_of(*first))));
            return format!("{postings} p {BY_KEY}{joins} WHERE p.word = UNHEX(?)");
        }
        let begins = beginning(text_of(*first));
        let mut ranges = vec![range(&begins)];
        if let Occurrence::Part(part) = first {
            ranges.push(range(part));
        }
        let conditions = list(ranges, " OR ", |[from, to]| {
            values.extend([hex(&from), hex(&to)]);
            "d.part >= UNHEX(?) AND d.part < UNHEX(?)".to_owned()
        });
        format!(
            "{} d {BY_KEY} STRAIGHT_JOIN {postings} p {BY_KEY} ON p.word = d.word WHERE ({conditions})",
            dictionary_of(&self.table.name)
        )
    }
}

fn text_of(word: Occurrence<'_>) -> &str {
    match word {
        Occurrence::Word(text) | Occurrence::Beginning(text) | Occurrence::Part(text) => text,
    }
}

/// Returns the range of the entries that begin with a text.
fn range(text: &str) -> [Vec<u8>; 2] {
    let first = cut(text).to_vec();
    let mut end = first.clone();
    // No text has this byte.
    end.resize(first.len() + ENTRY_BYTES, 0xff);
    [first, end]
}

fn hex(bytes: &[u8]) -> Value {
    Value::Text(hex::encode(bytes).as_str().into())
}

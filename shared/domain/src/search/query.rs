//! Queries.

use super::form::searched_words;
use super::words::{Piece, pieces};
use super::{MAX_CLAUSES, MAX_SEARCH_CHARS, MIN_PART};

/// A query for rows that contain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    clauses: Vec<Clause>,
}

/// A term of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// A text that the stored words contain. It begins with a space if a word has to begin there, and ends with one if
    /// a word has to end there.
    needle: String,
}

/// How a word of a term occurs among the stored words of a field that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence<'c> {
    /// As this word.
    Word(&'c str),
    /// As the beginning of a word.
    Beginning(&'c str),
    /// Anywhere in a word. It has at least three characters.
    Part(&'c str),
}

/// A query is too long.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("search has at most {MAX_SEARCH_CHARS} characters and {MAX_CLAUSES} terms: shorten it")]
pub struct SearchError;

impl Clause {
    /// Returns the term for words that begin as the found ones do, and the one for whole words.
    pub fn closer(&self) -> [Self; 2] {
        let begins = format!(" {}", self.needle.trim_start());
        let whole = format!("{} ", begins.trim_end());
        [begins, whole].map(|needle| Self { needle })
    }

    /// Returns the text that the words of a matching field contain.
    pub fn needle(&self) -> &str {
        &self.needle
    }

    /// Returns the words of the term in its order. A field that matches has all of them; whether it has them next to
    /// each other, only [`Clause::needle`] decides.
    pub fn occurrences(&self) -> Vec<Occurrence<'_>> {
        let Some(words) = self.needle.strip_prefix(' ') else {
            return vec![Occurrence::Part(&self.needle)];
        };
        let (whole, last) = words.rsplit_once(' ').unwrap_or(("", words));
        let whole = whole.split_terminator(' ').map(Occurrence::Word);
        let last = (!last.is_empty()).then_some(Occurrence::Beginning(last));
        whole.chain(last).collect()
    }

    /// Returns the parts of three characters of that text, which an index of such parts has.
    pub fn trigrams(&self) -> Vec<String> {
        let chars: Vec<char> = self.needle.chars().collect();
        chars.windows(3).map(|part| part.iter().collect()).collect()
    }
}

impl Search {
    /// Parses a query. Its syntax cannot be wrong.
    ///
    /// # Errors
    /// [`SearchError`] if it is too long.
    pub fn parse(text: &str) -> Result<Self, SearchError> {
        if text.chars().nth(MAX_SEARCH_CHARS).is_some() {
            return Err(SearchError);
        }
        let mut clauses: Vec<Clause> = Vec::new();
        for term in terms(text) {
            let clause = term.clause();
            if let Some(clause) = clause.filter(|clause| !clauses.contains(clause)) {
                clauses.push(clause);
            }
        }
        if clauses.len() > MAX_CLAUSES {
            return Err(SearchError);
        }
        Ok(Self { clauses })
    }

    /// Returns the terms, all of which must match. A query without terms matches nothing.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// Returns how well a matching row with these texts in the searched fields matches: the sum of 3 for each term that
    /// is a whole word, 2 for one that begins a word, and 1 for any other.
    pub fn rank<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> i64 {
        let words: Vec<String> = texts.into_iter().map(searched_words).collect();
        let rank = |clause: &Clause| {
            let is_found =
                |closer: &Clause| words.iter().any(|words| words.contains(&closer.needle));
            let [begins, whole] = clause.closer();
            1 + i64::from(is_found(&begins)) + i64::from(is_found(&whole))
        };
        self.clauses.iter().map(rank).sum()
    }

    /// Returns whether a row with these texts in the searched fields matches. Each term may be in another field.
    pub fn matches<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        let words: Vec<String> = texts.into_iter().map(searched_words).collect();
        let is_found = |clause: &Clause| words.iter().any(|words| words.contains(&clause.needle));
        !self.clauses.is_empty() && self.clauses.iter().all(is_found)
    }
}

struct Term<'t> {
    text: &'t str,
    is_quoted: bool,
}

/// Splits a query at white space, except between quotes. A quote that is not closed is text.
fn terms(text: &str) -> Vec<Term<'_>> {
    let mut terms = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('"') {
        let (before, after) = (&rest[..open], &rest[open + 1..]);
        let Some(close) = after.find('"') else { break };
        add_plain(&mut terms, before);
        let text = &after[..close];
        terms.push(Term {
            text,
            is_quoted: true,
        });
        rest = &after[close + 1..];
    }
    add_plain(&mut terms, rest);
    terms
}

fn add_plain<'t>(terms: &mut Vec<Term<'t>>, text: &'t str) {
    let plain = text.split_whitespace();
    terms.extend(plain.map(|text| Term {
        text,
        is_quoted: false,
    }));
}

impl Term<'_> {
    /// Returns what the words of a field contain if the term matches, or none if it has no words.
    fn clause(&self) -> Option<Clause> {
        let pieces = pieces(self.text);
        let is_part = self.text.starts_with('*');
        let is_prefix = !self.is_quoted && !is_part && self.text.ends_with('*');
        if let [Piece::Word(word)] = pieces.as_slice()
            && !self.is_quoted
            && !is_prefix
            && word.folded.chars().nth(MIN_PART - 1).is_some()
        {
            return Some(Clause {
                needle: word.folded.clone(),
            });
        }
        let (last, before) = pieces.split_last()?;
        let mut needle = String::from(" ");
        for token in super::form::tokens(before) {
            needle.extend(token.iter().map(|unit| unit.folded.as_str()));
            needle.push(' ');
        }
        match last {
            Piece::Word(word) => {
                needle.push_str(&word.folded);
                if !is_prefix {
                    needle.push(' ');
                }
            }
            // Other characters may follow.
            Piece::Run(run) if run.len() > 1 => {
                for pair in run.windows(2) {
                    needle.extend(pair.iter().map(|unit| unit.folded.as_str()));
                    needle.push(' ');
                }
            }
            Piece::Run(run) => needle.extend(run.iter().map(|unit| unit.folded.as_str())),
        }
        Some(Clause { needle })
    }
}

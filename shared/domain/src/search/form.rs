//! The forms in which stores keep the words of a text.

use std::fmt::Write as _;

use super::MAX_SEARCHED_BYTES;
use super::query::Clause;
use super::words::{Piece, Unit, pieces};

/// The characters of a part of a word that is indexed.
const GRAM: usize = 3;
/// The maximum number of parts of a clause that are looked up. More do not make the candidates fewer.
const MAX_PARTS: usize = 12;

/// How a store keeps the words of a text. In either form, a text matches a clause if its words contain
/// [`SearchForm::needle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchForm {
    /// The words, each between spaces: `" front garden "`. For databases that index parts of texts.
    Words,
    /// The parts of each word, of three characters, in ASCII: `" q_fr qfro qron qont qnt_ q_ga …"`. For databases
    /// that index only whole words, whatever they leave out of these, and whatever they consider a letter.
    Parts,
}

impl SearchForm {
    /// Returns the words of a text as they are stored.
    pub fn stored(self, text: &str) -> String {
        let words = searched_words(text);
        match self {
            Self::Words => words,
            Self::Parts => in_parts(&words),
        }
    }

    /// Returns the text that the stored words contain if they match the clause.
    pub fn needle(self, clause: &Clause) -> String {
        match self {
            Self::Words => clause.needle().to_owned(),
            Self::Parts => in_parts(clause.needle()),
        }
    }

    /// Returns parts of the needle that an index has, without duplicates: of [`SearchForm::Words`], three characters
    /// each; of [`SearchForm::Parts`], whole parts, and the beginning of one where the needle ends within it.
    pub fn parts(self, clause: &Clause) -> Vec<String> {
        let needle = self.needle(clause);
        let mut parts: Vec<String> = match self {
            Self::Words => {
                let chars: Vec<char> = needle.chars().collect();
                chars
                    .windows(GRAM)
                    .map(|gram| gram.iter().collect())
                    .collect()
            }
            Self::Parts => {
                let whole = needle.split_inclusive(' ').filter(|part| *part != " ");
                whole
                    .map(|part| {
                        part.strip_suffix(' ')
                            .map_or_else(|| format!("{part}*"), str::to_owned)
                    })
                    .collect()
            }
        };
        let mut seen = std::collections::HashSet::new();
        parts.retain(|part| seen.insert(part.clone()));
        if parts.len() > MAX_PARTS {
            // From the whole needle, as neighbours say much the same.
            let step = parts.len().div_ceil(MAX_PARTS);
            parts = parts.into_iter().step_by(step).collect();
        }
        parts
    }
}

/// Returns the name of the column with the words of a field.
pub fn search_column(field: &str) -> String {
    format!("_search_{field}")
}

/// Returns the words of a text, each between spaces.
pub fn searched_words(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_SEARCHED_BYTES);
    let mut words = String::from(" ");
    for token in tokens(&pieces(&text[..end])) {
        for unit in token {
            words.push_str(&unit.folded);
        }
        words.push(' ');
    }
    words
}

/// Returns the tokens of pieces: the words, and each character of a script without spaces with the one that follows.
pub(super) fn tokens(pieces: &[Piece]) -> Vec<&[Unit]> {
    let mut tokens = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Word(word) => tokens.push(std::slice::from_ref(word)),
            Piece::Run(run) => {
                tokens.extend(run.windows(2));
                tokens.extend(run.last().map(std::slice::from_ref));
            }
        }
    }
    tokens
}

/// Converts words, or a part of them, to the parts of three characters. `_` marks where a word begins and ends.
fn in_parts(words: &str) -> String {
    let (starts, ends) = (words.starts_with(' '), words.ends_with(' '));
    let tokens: Vec<&str> = words.split(' ').filter(|token| !token.is_empty()).collect();
    let mut parts = String::from(" ");
    for (at, token) in tokens.iter().enumerate() {
        let begins = (at > 0 || starts).then_some(None);
        let finishes = (at + 1 < tokens.len() || ends).then_some(None);
        let chars: Vec<Option<char>> = begins
            .into_iter()
            .chain(token.chars().map(Some))
            .chain(finishes)
            .collect();
        if chars.len() < GRAM {
            // Only at the end of a needle: the beginning of a part.
            put_part(&mut parts, &chars);
            return parts;
        }
        for gram in chars.windows(GRAM) {
            put_part(&mut parts, gram);
            parts.push(' ');
        }
    }
    parts
}

/// Appends a part. Each character is one letter or digit, or `z` and five digits, so parts begin alike only if their
/// characters do. The letter before them keeps parts from being words that databases leave out.
fn put_part(parts: &mut String, chars: &[Option<char>]) {
    parts.push('q');
    for char in chars {
        match char {
            None => parts.push('_'),
            Some(char @ ('a'..='y' | '0'..='9')) => parts.push(*char),
            Some(char) => {
                // Writing to a text cannot fail.
                let number = u32::from(*char);
                parts.push('z');
                for place in (0..5).rev() {
                    let digit = number >> (place * 5) & 31;
                    let digit = char::from_digit(digit, 32).unwrap_or('0');
                    let _ = write!(parts, "{digit}");
                }
            }
        }
    }
}

//! The form in which stores keep the words of a text.

use super::words::{Piece, Unit, pieces};
use super::{MAX_SEARCHED_BYTES, MIN_PART};

/// Returns the name of the column with the words of a field.
pub fn search_column(field: &str) -> String {
    format!("_search_{field}")
}

/// Returns the words of a text as stores keep them, each between spaces: `" front garden "`. The text matches a clause
/// if they contain [`Clause::needle`](super::Clause::needle).
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

/// Returns the ends of a stored word, one of which begins with each part by which the word is found
/// ([`Occurrence::Part`](super::Occurrence::Part)).
pub fn parts_of_word(word: &str) -> impl Iterator<Item = &str> {
    let starts = word.char_indices();
    let parts = (word.chars().count() + 1).saturating_sub(MIN_PART);
    starts.take(parts).map(|(start, _)| &word[start..])
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

//! Which parts of a text match a query.

use std::ops::Range;

use super::MAX_SEARCHED_BYTES;
use super::form::tokens;
use super::query::Search;
use super::words::{Unit, pieces};

/// The characters before the first match that a snippet has at most, and those of all of it.
const BEFORE: usize = 40;
const SNIPPET: usize = 160;

/// A part of a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'t> {
    /// A part of the text.
    pub text: &'t str,
    /// Whether it matches.
    pub is_match: bool,
}

/// Returns a part of a text with the first matches, of at most 160 characters, or nothing if no term of the query
/// matches.
pub fn highlight<'t>(text: &'t str, search: &Search) -> Vec<Segment<'t>> {
    let matches = matches(text, search);
    let Some(first) = matches.first() else {
        return Vec::new();
    };
    let start = text[..first.start].char_indices().rev().nth(BEFORE - 1);
    let start = start.map_or(0, |(start, _)| start);
    let end = text[start..].char_indices().nth(SNIPPET);
    let end = end.map_or(text.len(), |(end, _)| start + end);
    let mut segments = Vec::new();
    let mut at = start;
    let mut add = |range: Range<usize>, is_match| {
        if !range.is_empty() {
            segments.push(Segment {
                text: &text[range],
                is_match,
            });
        }
    };
    for found in matches.iter().take_while(|found| found.start < end) {
        add(at..found.start, false);
        at = found.end.min(end);
        add(found.start..at, true);
    }
    add(at..end, false);
    segments
}

/// Returns where terms match, in the order of the text, without overlaps.
fn matches(text: &str, search: &Search) -> Vec<Range<usize>> {
    let pieces = pieces(&text[..text.floor_char_boundary(MAX_SEARCHED_BYTES)]);
    // The words as they are stored, and where each part of them is in the text.
    let mut words = String::from(" ");
    let mut places: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for unit in tokens(&pieces).into_iter().flat_map(|token| {
        let units = token.iter().map(Some);
        units.chain([None])
    }) {
        match unit {
            None => words.push(' '),
            Some(unit) => put(&mut words, &mut places, text, unit),
        }
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    for clause in search.clauses() {
        for (start, needle) in words.match_indices(clause.needle()) {
            let end = start + needle.len();
            let first = places.partition_point(|(stored, _)| stored.end <= start);
            let matched = places[first..]
                .iter()
                .take_while(|(stored, _)| stored.start < end);
            found.extend(matched.map(|(_, source)| source.clone()));
        }
    }
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in found {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Appends a word, by character if each character of the text is one of the folded word.
fn put(
    words: &mut String,
    places: &mut Vec<(Range<usize>, Range<usize>)>,
    text: &str,
    unit: &Unit,
) {
    let source = &text[unit.range.clone()];
    if source.chars().count() != unit.folded.chars().count() {
        let start = words.len();
        words.push_str(&unit.folded);
        places.push((start..words.len(), unit.range.clone()));
        return;
    }
    for ((at, char), folded) in source.char_indices().zip(unit.folded.chars()) {
        let start = words.len();
        words.push(folded);
        let from = unit.range.start + at;
        places.push((start..words.len(), from..from + char.len_utf8()));
    }
}

//! The words of a text.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// A part of a text that is found as a whole or in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A word, folded.
    Word(Unit),
    /// Neighbouring characters of a script without spaces, each folded.
    Run(Vec<Unit>),
}

/// A folded part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Where it is in the text.
    pub(super) range: Range<usize>,
    pub(super) folded: String,
}

impl Unit {
    fn new(text: &str, start: usize) -> Option<Self> {
        let folded = fold(text);
        let range = start..start + text.len();
        (!folded.is_empty()).then_some(Self { range, folded })
    }
}

/// Returns the pieces of a text, in its order.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (start, segment) in text.split_word_bound_indices() {
        if segment.starts_with(is_symbol) && !segment.contains(char::is_alphanumeric) {
            pieces.extend(Unit::new(segment, start).map(Piece::Word));
            continue;
        }
        let mut rest = segment;
        while let Some(first) = rest.chars().next() {
            let is_run = is_unspaced(first);
            // Marks stay with the character before them.
            let is_end = |char: char| {
                is_unspaced(char) != is_run && (is_unspaced(char) || char.is_alphanumeric())
            };
            let end = rest.find(is_end).filter(|end| *end > 0);
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            let at = start + segment.len() - rest.len();
            if is_run {
                add_run(&mut pieces, part, at);
            } else if let Some(begin) = part.find(char::is_alphanumeric) {
                let word = part[begin..].trim_end_matches('_');
                pieces.extend(Unit::new(word, at + begin).map(Piece::Word));
            }
            rest = after;
        }
    }
    pieces
}

/// Adds characters to the run that ends where they start, or as a new one.
fn add_run(pieces: &mut Vec<Piece>, part: &str, start: usize) {
    let graphemes = part.grapheme_indices(true);
    let units = graphemes.filter_map(|(at, grapheme)| Unit::new(grapheme, start + at));
    if let Some(Piece::Run(run)) = pieces.last_mut()
        && run.last().is_some_and(|last| last.range.end == start)
    {
        run.extend(units);
        return;
    }
    let units: Vec<_> = units.collect();
    if !units.is_empty() {
        pieces.push(Piece::Run(units));
    }
}

/// Folds a word: without case, accents and variants. Folding it again changes nothing.
pub(super) fn fold(text: &str) -> String {
    let mut folded = once(text);
    // Case may change what can be decomposed.
    for _ in 0..3 {
        let again = once(&folded);
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

fn once(text: &str) -> String {
    let cased = text.nfkd().flat_map(char::to_lowercase);
    // Not all letters of one case have the same lower case: ß, ẞ and SS, σ and ς.
    let cased = cased.flat_map(char::to_uppercase);
    let cased = cased.flat_map(char::to_lowercase);
    let mut plain = String::with_capacity(text.len());
    for char in cased.nfkd() {
        // й is a separate letter, not an и with an accent.
        let is_letter = char == '\u{306}' && plain.ends_with('и');
        if is_letter || !is_dropped(char) {
            plain.push(char);
        }
    }
    plain.nfc().map(apostrophe).collect()
}

fn apostrophe(char: char) -> char {
    match char {
        '\u{2018}' | '\u{2019}' | '\u{2bc}' | '\u{ff07}' => '\'',
        other => other,
    }
}

/// Returns whether a decomposed text is the same word without this character: accents, variants and what is invisible.
fn is_dropped(char: char) -> bool {
    matches!(char,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
        // Points of Hebrew, marks of Arabic.
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}'
        | '\u{6df}'..='\u{6e4}' | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}'
        // Invisible, and selectors of variants.
        | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
        || char.is_whitespace()
        || char.is_control()
}

/// Returns whether a character is of a script that has no spaces between words.
fn is_unspaced(char: char) -> bool {
    matches!(char,
        // Han.
        '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
        // Hiragana, Katakana, Bopomofo.
        | '\u{3041}'..='\u{3096}' | '\u{3099}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{312f}'
        | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}'
        // Thai, Lao, Burmese, Khmer.
        | '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{ece}' | '\u{edc}'..='\u{edf}'
        | '\u{1000}'..='\u{103f}' | '\u{104c}'..='\u{108f}' | '\u{1780}'..='\u{17d3}')
}

/// Returns whether a character is a symbol that is searched as a word: an emoji.
fn is_symbol(char: char) -> bool {
    matches!(char, '\u{231a}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}' | '\u{2b05}'..='\u{2b55}'
        | '\u{1f000}'..='\u{1faff}')
}

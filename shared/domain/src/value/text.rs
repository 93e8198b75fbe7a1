//! The text of a value: inline, on the heap, or part of a shared text.
//!
//! Texts of more than 24 bytes from CSV are parts of one text shared by up to 1,000 records. With one allocation
//! per text, a worker used more CPU time, most of it to free them.

use std::fmt;
use std::ops::Deref;

use arcstr::{ArcStr, Substr};
use compact_str::CompactString;

/// The text of a value.
///
/// A short text is stored inline. A longer one is on the heap, in a separate allocation or as a
/// slice of a text that it shares with others.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Owned(CompactString),
    Shared(Substr),
}

impl Text {
    /// Creates a text from a slice of `whole`. A short text is copied; a longer one keeps `whole` alive.
    pub fn part(text: &str, whole: &ArcStr) -> Self {
        if text.len() > size_of::<CompactString>()
            && let Some(part) = whole.try_substr_from(text)
        {
            return Self(Repr::Shared(part));
        }
        text.into()
    }

    /// Returns the text as a string slice.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Owned(text) => text,
            Repr::Shared(text) => text,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Repr::Owned(text.into()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Repr::Owned(text.into()))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text.0 {
            Repr::Owned(text) => text.into(),
            Repr::Shared(text) => text.as_str().into(),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_text_equals_an_owned_one() {
        let whole = ArcStr::from("short,a text that is too long for the value itself,é");
        let cells: Vec<_> = whole.split(',').collect();
        for cell in &cells {
            let part = Text::part(cell, &whole);
            assert_eq!(part, Text::from(*cell));
            assert_eq!(format!("{part:?}"), format!("{cell:?}"));
            assert_eq!(String::from(part), *cell);
        }
        let part = Text::part(cells[1], &whole);
        assert_eq!(part.as_ptr(), cells[1].as_ptr());
        // A text outside of `whole` is copied.
        let elsewhere = cells[1].to_owned();
        assert_eq!(Text::part(&elsewhere, &whole), part);
        drop(whole);
        assert_eq!(part.as_str(), elsewhere);
    }
}

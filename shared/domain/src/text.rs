//! Texts of values.

use std::fmt;
use std::ops::Deref;

use arcstr::{ArcStr, Substr};
use compact_str::CompactString;

/// The text of a value. A short one lies in the value itself; a longer one is on the heap, alone or as a part of a text
/// that others are parts of, too.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Own(CompactString),
    Part(Substr),
}

impl Text {
    /// A text that lies in `whole`, which is kept for as long if the text is not short.
    pub fn part(text: &str, whole: &ArcStr) -> Self {
        if text.len() > size_of::<CompactString>()
            && let Some(part) = whole.try_substr_from(text)
        {
            return Self(Repr::Part(part));
        }
        text.into()
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Own(text) => text,
            Repr::Part(text) => text,
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
        Self(Repr::Own(text.into()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Repr::Own(text.into()))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text.0 {
            Repr::Own(text) => text.into(),
            Repr::Part(text) => text.as_str().into(),
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
    fn a_part_is_the_same_as_a_text_of_its_own() {
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
        // What lies elsewhere is copied.
        let elsewhere = cells[1].to_owned();
        assert_eq!(Text::part(&elsewhere, &whole), part);
        drop(whole);
        assert_eq!(part.as_str(), elsewhere);
    }
}

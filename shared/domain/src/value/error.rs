use crate::excerpt::excerpt;

/// Why a text is not a value of a type. The message quotes an excerpt of the text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct ValueError {
    message: String,
    /// Whether the text contains characters that no store accepts, rather than a value of another type.
    pub encoding: bool,
}

impl ValueError {
    /// Quotes the text before a message: `"x" is not an integer`.
    pub(super) fn of(text: &str, message: &str) -> Self {
        Self {
            message: format!("{:?} {message}", excerpt(text)),
            encoding: false,
        }
    }

    /// The text is not what was expected. `hint` says what to do, or is empty.
    pub(super) fn not_a(expected: &str, text: &str, hint: &str) -> Self {
        let separator = if hint.is_empty() { "" } else { "; " };
        Self::of(text, &format!("is not {expected}{separator}{hint}"))
    }

    /// The text contains U+0000.
    pub(super) fn zero_character() -> Self {
        Self {
            message: "the text contains U+0000, which databases do not accept; remove it"
                .to_owned(),
            encoding: true,
        }
    }
}

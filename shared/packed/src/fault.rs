//! Why an object cannot be unpacked.

/// Why an object cannot be unpacked, without its place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The compressed data is damaged. The message continues a sentence about it.
    #[error("{0}")]
    Damaged(String),
    /// The data is not one file that is compressed in a way that is supported. The message is a sentence.
    #[error("{0}")]
    Unsupported(String),
}

impl Fault {
    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::Damaged(message.into())
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(message.into())
    }
}

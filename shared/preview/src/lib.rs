//! What would happen to a file: the definition that is inferred if there is none, the first rows, and what would be
//! rejected and why. All steps are those of splitter and worker, and nothing is stored.

mod check;
mod form;
#[cfg(test)]
mod polluted;
mod report;
mod start;
mod suggest;

pub use check::{Ending, check, check_content};
pub use form::{Choices, FieldChoice, Form, FormError, FormField, form};
pub use report::{FirstRow, Place, Reason, Report};
pub use start::{check_start, choose_start, suggest_start};
pub use suggest::{Suggestion, suggest};

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use landfall_domain::ByteRange;

    /// Returns a function that reads ranges of a file.
    pub(crate) fn reader(content: &[u8]) -> impl FnMut(ByteRange) -> Result<Vec<u8>, Infallible> {
        |range| {
            let place = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
            Ok(content[place(range.start)..place(range.end)].to_vec())
        }
    }
}

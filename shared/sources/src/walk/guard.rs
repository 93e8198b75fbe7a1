//! Finds walks that turn in a circle.

use serde::{Deserialize, Serialize};

/// Finds a sequence of values that repeats, in constant memory (Brent's algorithm): one earlier value is kept, and
/// replaced after 1, 2, 4, 8, … steps. Once the sequence is in a circle, it comes back to the kept value after at most
/// three times the steps that it took until then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cycle {
    kept: Option<String>,
    last: Option<String>,
    steps: u64,
    length: u64,
}

impl Cycle {
    /// Adds a value. Returns whether it is the one before it or the kept one.
    pub(crate) fn repeats(&mut self, value: &[u8]) -> bool {
        let digest = blake3::hash(value).to_hex()[..32].to_owned();
        let repeats = [&self.kept, &self.last]
            .into_iter()
            .flatten()
            .any(|earlier| *earlier == digest);
        if self.steps == self.length {
            self.kept = Some(digest.clone());
            self.length = (self.length * 2).max(1);
            self.steps = 0;
        }
        self.steps += 1;
        self.last = Some(digest);
        repeats
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn circles_are_found_soon_and_nothing_else_is_one(before in 0_u64..200, length in 1_u64..200) {
            let mut cycle = Cycle::default();
            let first = (0_u64..10_000).find(|step| {
                let value = if *step < before { *step } else { before + (step - before) % length };
                cycle.repeats(&value.to_be_bytes())
            });
            let first = first.unwrap();
            prop_assert!(first >= before + length, "{first}");
            prop_assert!(first <= 3 * (before + length), "{first}");
        }
    }
}

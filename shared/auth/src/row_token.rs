//! Tokens of rows: each opens one row of a dataset, and the rows below it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PREFIX: &str = "lr_";
const BYTES: usize = 16;
/// What the hashes are for; see `blake3::derive_key`.
const ID: &str = "landfall 2026-12-01 id of a row with a token";
const DERIVED: &str = "landfall 2026-12-01 token of a row by idempotency key";

/// The token of a row. It is stored nowhere: the key of the row is a hash of it.
#[derive(Clone, PartialEq, Eq)]
pub struct RowToken(String);

impl RowToken {
    /// Generates a token of 128 random bits.
    pub fn random() -> Self {
        Self::of(rand::random())
    }

    /// Returns the token that a request with an idempotency key creates, however often it is repeated. It needs the
    /// secret token of the caller as well as the random claim of the key.
    pub fn derived(secret: &str, claim: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(DERIVED);
        // The claim has a fixed length.
        hasher.update(claim.as_bytes()).update(secret.as_bytes());
        Self::of(first_bytes(&hasher))
    }

    fn of(bytes: [u8; BYTES]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Returns the token with this text, or `None` if no token has it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (bytes.len() == BYTES).then(|| Self(text.to_owned()))
    }

    /// Returns the text of the token.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the key of the row: a hash of the token, as 32 hexadecimal digits.
    pub fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key(ID);
        hasher.update(self.0.as_bytes());
        format!("{:032x}", u128::from_be_bytes(first_bytes(&hasher)))
    }
}

impl fmt::Debug for RowToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowToken(secret)")
    }
}

fn first_bytes(hasher: &blake3::Hasher) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_id_that_does_not_reveal_it() {
        let token = RowToken::random();
        let parsed = RowToken::parse(token.reveal()).unwrap();
        assert_eq!((parsed.id(), token.id().len()), (token.id(), 32));
        assert_ne!(token.id(), RowToken::random().id());
        assert!(!format!("{token:?}").contains(token.reveal()));
        for text in [
            "",
            "lr_",
            &token.id(),
            &token.reveal()[1..],
            &format!("{}A", token.reveal()),
        ] {
            assert_eq!(RowToken::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_derived_token_needs_both_the_secret_and_the_claim() {
        let token = RowToken::derived("secret", "claim");
        assert_eq!(token, RowToken::derived("secret", "claim"));
        assert_ne!(token, RowToken::derived("secrets", "claim"));
        assert_ne!(token, RowToken::derived("secret", "claims"));
    }
}

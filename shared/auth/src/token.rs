use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const PREFIX: &str = "lf_";
const BYTES: usize = 32;

/// A new token. Only its hash is stored, so it can be shown only once.
pub struct Token(String);

impl Token {
    /// Generates a token of 256 random bits.
    pub fn random() -> Self {
        let bytes: [u8; BYTES] = rand::random();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Returns the text of the token.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

/// Returns the SHA-256 of the text of a token.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Returns whether a text has the form of a token.
pub(crate) fn is_token(text: &str) -> bool {
    // In base64, three bytes take four characters, and the last two bytes take three.
    const CHARS: usize = BYTES.div_ceil(3) * 4 - 1;
    text.strip_prefix(PREFIX).is_some_and(|rest| {
        rest.len() == CHARS
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

//! Bearer tokens: who may do what with which datasets.
//!
//! A token is `lf_` and 32 random bytes in base64url. What is kept of it, in a secret of Secrets Manager,
//! is its SHA-256: of 256 random bits nothing can be guessed, so that a slow hash, as passwords need one,
//! would only slow each request. A request's token is hashed and compared with all that are kept, in a time
//! that does not depend on what they are.
//!
//! ```
//! use landfall_auth::{Access, Scope, Token, TokenList};
//!
//! let token = Token::random();
//! let mut list = TokenList::default();
//! list.add("importer", &token, [Scope::Write].into(), Access::All)?;
//! let grant = list.check(token.reveal()).ok_or("refused")?;
//! assert!(grant.may(Scope::Write, Some("products")));
//! assert!(!grant.may(Scope::Read, Some("products")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod grant;
mod list;
mod token;
mod tokens;

pub use grant::{Access, Grant, Scope};
pub use list::{ListError, MAX_DATASETS, MAX_TOKENS, TokenList};
pub use token::Token;
pub use tokens::{AuthError, Tokens};

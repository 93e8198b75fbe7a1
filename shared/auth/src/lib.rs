//! Bearer tokens: their scopes and datasets.
//!
//! A token is `lf_` followed by 32 random bytes in base64url. A secret in Secrets Manager contains only
//! its SHA-256. Passwords need a slow hash because they can be guessed; 256 random bits cannot, and a
//! slow hash would only delay each request. The token of a request is hashed and compared with every
//! hash of the secret in constant time.
//!
//! ```
//! use landfall_auth::{Access, Scope, Token, TokenList};
//!
//! let token = Token::random();
//! let mut list = TokenList::default();
//! list.add("importer", &token, [Scope::Write].into(), Access::All)?;
//! let grant = list.check(token.reveal()).ok_or("refused")?;
//! assert!(grant.allows(Scope::Write, Some("products")));
//! assert!(!grant.allows(Scope::Read, Some("products")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod grant;
mod list;
mod row_token;
mod token;
mod tokens;

pub use grant::{Access, Grant, Scope};
pub use list::{ListError, MAX_DATASETS, MAX_TOKENS, TokenList};
pub use row_token::RowToken;
pub use token::Token;
pub use tokens::{AuthError, Tokens};

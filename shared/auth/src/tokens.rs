use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use landfall_aws::{AwsError, Secret};
use tokio::sync::RwLock;
use tracing::warn;

use crate::{Grant, ListError, TokenList};

/// How long a list is used before it is read again.
const FRESH: Duration = Duration::from_mins(1);
/// How long it is used while it cannot be read. A token that was removed may be taken for so long.
const USABLE: Duration = Duration::from_mins(5);
/// How long after a failed read the next one is tried.
const PAUSE: Duration = Duration::from_secs(5);

/// The tokens that are taken: those of the secret, as they are now or were at most a minute ago (five,
/// while it cannot be read).
pub struct Tokens {
    secret: Option<Secret>,
    kept: RwLock<Kept>,
}

struct Kept {
    list: TokenList,
    /// Wall-clock time: the other one may stand still while a function is frozen.
    read_at: SystemTime,
    try_after: SystemTime,
}

/// Why tokens can't be checked. Not that one is wrong.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The secret could not be read.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The secret has something else.
    #[error("the secret with the tokens: {0}")]
    List(#[from] ListError),
}

impl AuthError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::List(_) => false,
        }
    }
}

impl Tokens {
    /// The tokens of this secret.
    pub async fn load(config: &SdkConfig, secret: &str) -> Result<Self, AuthError> {
        let secret = Secret::new(config, secret);
        let list = TokenList::parse(&secret.read().await?)?;
        Ok(Self {
            secret: Some(secret),
            ..Self::fixed(list)
        })
    }

    /// Tokens that do not change.
    pub fn fixed(list: TokenList) -> Self {
        let now = SystemTime::now();
        Self {
            secret: None,
            kept: RwLock::new(Kept {
                list,
                read_at: now,
                try_after: now + FRESH,
            }),
        }
    }

    /// What the bearer of this token may do; none if it is not taken.
    pub async fn check(&self, token: &str) -> Result<Option<Grant>, AuthError> {
        let Some(secret) = &self.secret else {
            return Ok(self.kept.read().await.list.check(token));
        };
        {
            let kept = self.kept.read().await;
            if SystemTime::now() < kept.try_after {
                return Ok(kept.list.check(token));
            }
        }
        let mut kept = self.kept.write().await;
        let now = SystemTime::now();
        // Another request may have read it while this one waited.
        if now >= kept.try_after {
            match read(secret).await {
                Ok(list) => {
                    kept.list = list;
                    kept.read_at = now;
                    kept.try_after = now + FRESH;
                }
                Err(error) if now < kept.read_at + USABLE => {
                    warn!(%error, "the tokens could not be read again");
                    kept.try_after = now + PAUSE;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(kept.list.check(token))
    }
}

async fn read(secret: &Secret) -> Result<TokenList, AuthError> {
    Ok(TokenList::parse(&secret.read().await?)?)
}

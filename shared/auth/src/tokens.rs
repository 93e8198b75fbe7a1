use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use landfall_aws::{AwsError, Secret};
use tokio::sync::RwLock;
use tracing::warn;

use crate::grant::Grant;
use crate::list::{ListError, TokenList};

/// How long the list is used before the secret is read again.
const FRESH: Duration = Duration::from_mins(1);
/// How long the list is used while the secret cannot be read. A removed token stays valid for at most this
/// long.
const USABLE: Duration = Duration::from_mins(5);
/// Delay between a failed read and the next one.
const PAUSE: Duration = Duration::from_secs(5);

/// The valid tokens, read from the secret at most a minute ago, or at most five minutes while the secret
/// cannot be read.
pub struct Tokens {
    secret: Option<Secret>,
    cached: RwLock<CachedList>,
}

struct CachedList {
    list: TokenList,
    /// Wall-clock time, because the monotonic clock may stop while a function is frozen.
    read_at: SystemTime,
    try_after: SystemTime,
}

/// Why tokens cannot be checked. An invalid token is not an error.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The secret could not be read.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The secret does not contain a list of tokens.
    #[error("the secret of the tokens is invalid: {0}")]
    List(#[from] ListError),
    /// The secret could not be read for too long. The next attempt follows within seconds.
    #[error("the secret of the tokens could not be read for 5 minutes; trying again in seconds")]
    Stale,
}

impl AuthError {
    /// Returns whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::List(_) => false,
            Self::Stale => true,
        }
    }
}

impl Tokens {
    /// Reads the tokens of a secret, and reads them again when they are a minute old.
    pub async fn load(config: &SdkConfig, secret: &str) -> Result<Self, AuthError> {
        let secret = Secret::new(config, secret);
        let list = read(&secret).await?;
        Ok(Self {
            secret: Some(secret),
            ..Self::fixed(list)
        })
    }

    /// Returns tokens that do not change.
    pub fn fixed(list: TokenList) -> Self {
        let now = SystemTime::now();
        Self {
            secret: None,
            cached: RwLock::new(CachedList {
                list,
                read_at: now,
                try_after: now + FRESH,
            }),
        }
    }

    /// Returns the permissions of the bearer of a token, or `None` if the token is invalid.
    pub async fn check(&self, token: &str) -> Result<Option<Grant>, AuthError> {
        let Some(secret) = &self.secret else {
            return Ok(self.cached.read().await.list.check(token));
        };
        if let Some(answer) = self.cached.read().await.check(token, SystemTime::now()) {
            return answer;
        }
        let mut cached = self.cached.write().await;
        let now = SystemTime::now();
        // Another request may have read the secret while this one waited.
        if let Some(answer) = cached.check(token, now) {
            return answer;
        }
        match read(secret).await {
            Ok(list) => {
                cached.list = list;
                cached.read_at = now;
                cached.try_after = now + FRESH;
            }
            Err(error) => {
                cached.try_after = now + PAUSE;
                if !cached.is_usable(now) {
                    return Err(error);
                }
                warn!(%error, "cannot refresh the tokens, using the last ones");
            }
        }
        Ok(cached.list.check(token))
    }
}

impl CachedList {
    fn is_usable(&self, now: SystemTime) -> bool {
        now < self.read_at + USABLE
    }

    /// Returns the result of the check, or `None` if the secret must be read first.
    fn check(&self, token: &str, now: SystemTime) -> Option<Result<Option<Grant>, AuthError>> {
        (now < self.try_after).then(|| {
            if self.is_usable(now) {
                Ok(self.list.check(token))
            } else {
                Err(AuthError::Stale)
            }
        })
    }
}

async fn read(secret: &Secret) -> Result<TokenList, AuthError> {
    Ok(TokenList::parse(&secret.read().await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Scope, Token};

    #[test]
    fn a_stale_list_is_used_for_five_minutes_and_then_refused() {
        let token = Token::random();
        let mut list = TokenList::default();
        list.add("reader", &token, [Scope::Read].into(), Access::All)
            .unwrap();
        let read_at = SystemTime::now();
        for (try_after, now, must_read, is_valid) in [
            (FRESH, Duration::ZERO, false, true),
            (FRESH, FRESH, true, false),
            // The read failed.
            (FRESH + PAUSE, FRESH, false, true),
            (USABLE + PAUSE, USABLE, false, false),
            (USABLE + PAUSE, USABLE + PAUSE, true, false),
        ] {
            let cached = CachedList {
                list: list.clone(),
                read_at,
                try_after: read_at + try_after,
            };
            let answer = cached.check(token.reveal(), read_at + now);
            assert_eq!(answer.is_none(), must_read, "{now:?}");
            let is_granted = matches!(answer, Some(Ok(Some(_))));
            assert_eq!(is_granted, is_valid, "{now:?}");
        }
    }
}

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
    /// Neither could be done for long, and it is soon tried again.
    #[error("the tokens were read too long ago, and could not be a moment ago")]
    Old,
}

impl AuthError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.retryable(),
            Self::List(_) => false,
            Self::Old => true,
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
        if let Some(answer) = self.kept.read().await.check(token, SystemTime::now()) {
            return answer;
        }
        let mut kept = self.kept.write().await;
        let now = SystemTime::now();
        // Another request may have read it while this one waited.
        if let Some(answer) = kept.check(token, now) {
            return answer;
        }
        match read(secret).await {
            Ok(list) => {
                kept.list = list;
                kept.read_at = now;
                kept.try_after = now + FRESH;
            }
            Err(error) => {
                kept.try_after = now + PAUSE;
                if !kept.is_usable(now) {
                    return Err(error);
                }
                warn!(%error, "the tokens could not be read again");
            }
        }
        Ok(kept.list.check(token))
    }
}

impl Kept {
    fn is_usable(&self, now: SystemTime) -> bool {
        now < self.read_at + USABLE
    }

    /// The answer; none where the secret is to be read first.
    fn check(&self, token: &str, now: SystemTime) -> Option<Result<Option<Grant>, AuthError>> {
        (now < self.try_after).then(|| {
            if self.is_usable(now) {
                Ok(self.list.check(token))
            } else {
                Err(AuthError::Old)
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
    fn a_list_is_used_for_a_time_and_then_refused_between_reads() {
        let token = Token::random();
        let mut list = TokenList::default();
        list.add("reader", &token, [Scope::Read].into(), Access::All)
            .unwrap();
        let read_at = SystemTime::now();
        for (try_after, now, is_read, is_taken) in [
            (FRESH, Duration::ZERO, false, true),
            (FRESH, FRESH, true, false),
            // The read failed.
            (FRESH + PAUSE, FRESH, false, true),
            (USABLE + PAUSE, USABLE, false, false),
            (USABLE + PAUSE, USABLE + PAUSE, true, false),
        ] {
            let kept = Kept {
                list: list.clone(),
                read_at,
                try_after: read_at + try_after,
            };
            let answer = kept.check(token.reveal(), read_at + now);
            assert_eq!(answer.is_none(), is_read, "{now:?}");
            let is_known = matches!(answer, Some(Ok(Some(_))));
            assert_eq!(is_known, is_taken, "{now:?}");
        }
    }
}

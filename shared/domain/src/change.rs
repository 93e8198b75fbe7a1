use serde::{Deserialize, Serialize};

/// The state of a change for a destination that has not got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ChangeState {
    /// It is to be sent, now or later, or it is being sent.
    Waiting,
    /// The service refused it for good.
    SetAside,
    /// It was sent with an outcome that is unknown.
    Unknown,
}

impl ChangeState {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::SetAside => "set_aside",
            Self::Unknown => "unknown",
        }
    }
}

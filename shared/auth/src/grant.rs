use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A permission of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Reads datasets, rows, totals, jobs and rejects.
    Read,
    /// Submits rows and files.
    Write,
    /// Includes the other scopes, and operations for operators.
    Admin,
}

impl Scope {
    /// Returns the word used in the secret and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a scope: use read, write or admin"))
    }
}

/// The datasets that a token gives access to: `"all"`, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// All datasets, including future ones.
    All,
    /// The datasets with these names.
    #[serde(untagged)]
    Only(BTreeSet<String>),
}

impl Access {
    /// Returns whether this includes a dataset. Items without a dataset require access to all.
    pub fn includes(&self, dataset: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => dataset.is_some_and(|name| names.contains(name)),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Only(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// The permissions of the bearer of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Name of the token, for logs.
    pub name: String,
    /// The scopes of the token.
    pub scopes: BTreeSet<Scope>,
    /// The datasets that the token gives access to.
    pub datasets: Access,
}

impl Grant {
    /// Returns whether the token has this scope.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Returns whether the token gives access to this dataset.
    pub fn covers(&self, dataset: &str) -> bool {
        self.datasets.includes(Some(dataset))
    }

    /// Returns whether the token has this scope for a dataset. Items without a dataset require access to all.
    pub fn allows(&self, scope: Scope, dataset: Option<&str>) -> bool {
        self.has(scope) && self.datasets.includes(dataset)
    }
}

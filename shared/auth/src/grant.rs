use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Datasets, rows, totals, jobs, rejects.
    Read,
    /// Rows and files.
    Write,
    /// What is for operators; it holds the others too.
    Admin,
}

impl Scope {
    /// Its word.
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
            .ok_or_else(|| format!("{text:?} is no scope: read, write or admin"))
    }
}

/// The datasets that a token is for: `"all"`, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Access {
    /// Every one, also those to come.
    All,
    /// These.
    Only(BTreeSet<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(All),
    Names(BTreeSet<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum All {
    All,
}

impl From<Written> for Access {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(All::All) => Self::All,
            Written::Names(names) => Self::Only(names),
        }
    }
}

impl From<Access> for Written {
    fn from(access: Access) -> Self {
        match access {
            Access::All => Self::Word(All::All),
            Access::Only(names) => Self::Names(names),
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

/// What the bearer of a token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The token's name; for logs.
    pub name: String,
    /// What it is for.
    pub scopes: BTreeSet<Scope>,
    /// Which datasets it is for.
    pub datasets: Access,
}

impl Grant {
    /// Whether it has this scope.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether it is for this dataset.
    pub fn covers(&self, dataset: &str) -> bool {
        match &self.datasets {
            Access::All => true,
            Access::Only(names) => names.contains(dataset),
        }
    }

    /// Whether it has this scope for a dataset. What belongs to no dataset is for those alone who may see all.
    pub fn may(&self, scope: Scope, dataset: Option<&str>) -> bool {
        self.has(scope)
            && match dataset {
                Some(dataset) => self.covers(dataset),
                None => self.datasets == Access::All,
            }
    }
}

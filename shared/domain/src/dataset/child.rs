//! Datasets whose rows belong to rows of another dataset, and are numbered from 1 within each of them.
//!
//! The key of a child is that of its parent, then the number. The first dataset of a family has tokens: each of its
//! rows is created with one, and the key is a hash of it.

use super::{Dataset, Total, is_name};
use crate::value::FieldType;

/// The maximum number of datasets from one with tokens to its last child.
pub const MAX_GENERATIONS: usize = 4;

/// What the names of tables begin with that count the rows of a child.
const COUNT_TABLE: &str = "_count_";

/// The rows of another dataset, to which rows belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The dataset.
    pub parent: String,
    /// The name of the number of rows with one parent, which is shown with the parent.
    pub count: Option<String>,
}

/// Why definitions do not form a family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FamilyError {
    /// The parent has no definition, or an invalid one.
    #[error("parent: the dataset {0} has no valid definition")]
    Missing(String),
    /// The parent has neither a token nor a parent.
    #[error(
        "parent: rows of {0} have no numbered children: its definition has neither token nor parent"
    )]
    NoFamily(String),
    /// The key does not begin with that of the parent.
    #[error("key: must be the key of {parent} ({expected}), then the number")]
    Key {
        /// The parent.
        parent: String,
        /// The types of its key.
        expected: String,
    },
    /// The parent has a field with the name of the count.
    #[error("count_in_parent: {parent} has a field {name}; choose another name")]
    Count {
        /// The parent.
        parent: String,
        /// The name.
        name: String,
    },
    /// There are too many generations, or the parents form a circle.
    #[error(
        "parent: at most {MAX_GENERATIONS} datasets, the first of which has a token, may form a line"
    )]
    Generations,
}

/// Returns the name of the table that counts the rows of a child. No dataset and no total of a definition can have it.
pub(crate) fn count_table(dataset: &str) -> String {
    format!("{COUNT_TABLE}{dataset}")
}

/// Returns whether a text can be the name of a table of totals: one of a definition, or one that counts the rows of a
/// child.
pub fn is_total_name(name: &str) -> bool {
    is_name(name.strip_prefix(COUNT_TABLE).unwrap_or(name))
}

/// Checks a line of datasets, from a child to its ancestor with a token.
///
/// # Errors
/// The first dataset that does not fit its parent.
pub fn check_family(line: &[impl AsRef<Dataset>]) -> Result<(), FamilyError> {
    if line.len() > MAX_GENERATIONS {
        return Err(FamilyError::Generations);
    }
    for pair in line.windows(2) {
        let [child, parent] = pair else { continue };
        child.as_ref().check_parent(parent.as_ref())?;
    }
    match line.last().map(AsRef::as_ref) {
        Some(last) if last.token.is_none() && last.child.is_none() => {
            Err(FamilyError::NoFamily(last.name.clone()))
        }
        Some(last) => match &last.child {
            Some(child) => Err(FamilyError::Missing(child.parent.clone())),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

impl Dataset {
    /// Returns whether rows are created by the API alone, with a token or a number.
    pub fn is_numbered(&self) -> bool {
        self.token.is_some() || self.child.is_some()
    }

    /// Returns the total that counts the rows with one parent, if the definition names it.
    pub fn count_in_parent(&self) -> Option<&Total> {
        self.child.as_ref()?.count.as_ref()?;
        let name = count_table(&self.name);
        self.totals.iter().find(|total| total.name == name)
    }

    fn check_parent(&self, parent: &Self) -> Result<(), FamilyError> {
        let Some(child) = self
            .child
            .as_ref()
            .filter(|child| child.parent == parent.name)
        else {
            return Err(FamilyError::Missing(parent.name.clone()));
        };
        if !parent.is_numbered() {
            return Err(FamilyError::NoFamily(parent.name.clone()));
        }
        let kinds = |dataset: &Self| -> Vec<FieldType> {
            dataset.key_fields().map(|field| field.kind).collect()
        };
        let (own, expected) = (kinds(self), kinds(parent));
        if own.len() != expected.len() + 1 || own[..expected.len()] != expected {
            let expected: Vec<_> = expected.into_iter().map(FieldType::as_str).collect();
            return Err(FamilyError::Key {
                parent: parent.name.clone(),
                expected: expected.join(", "),
            });
        }
        let taken = child.count.as_ref();
        let taken = taken.filter(|name| parent.fields.iter().any(|field| field.name == **name));
        taken.map_or(Ok(()), |name| {
            Err(FamilyError::Count {
                parent: parent.name.clone(),
                name: name.clone(),
            })
        })
    }
}

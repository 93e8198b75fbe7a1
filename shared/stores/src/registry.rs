//! What a database knows of a dataset, whatever definition a chunk is taken by.
//!
//! Jobs pin their definitions, so chunks of an older one may come after the table was made for a newer
//! one. The registry has what every writer must keep to: types, key, and all totals.

use std::collections::BTreeMap;

use landfall_domain::{Dataset, FieldType, StoreKind, Total};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Name of the registry's table or collection. No dataset can have it.
pub(crate) const REGISTRY: &str = "_landfall";

/// What is registered of a dataset; JSON in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// Every field that a definition ever had.
    pub(crate) fields: BTreeMap<String, FieldType>,
    /// Names of the key fields, in the order of the key.
    pub(crate) key: Vec<String>,
    /// Tables of totals.
    #[serde(default)]
    pub(crate) totals: Vec<Total>,
}

impl Registered {
    /// What a dataset's first definition registers.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let fields = dataset.fields.iter();
        Self {
            fields: fields
                .map(|field| (field.name.clone(), field.kind))
                .collect(),
            key: dataset
                .key_fields()
                .map(|field| field.name.clone())
                .collect(),
            totals: dataset.totals.clone(),
        }
    }

    /// With what another definition adds. A definition takes nothing away, and can't change what is there.
    pub(crate) fn with(&self, dataset: &Dataset, store: StoreKind) -> Result<Self, StoreError> {
        let misfit = |reason: String| {
            Err(StoreError::Schema {
                store,
                table: dataset.name.clone(),
                reason,
            })
        };
        let new = Self::of(dataset);
        if self.key != new.key {
            let (is, was) = (new.key.join(", "), self.key.join(", "));
            return misfit(format!(
                "the dataset's key is ({is}) and the table's ({was}): take the old key, or another dataset name"
            ));
        }
        let mut all = self.clone();
        for (name, kind) in new.fields {
            let known = *all.fields.entry(name.clone()).or_insert(kind);
            if known != kind {
                let (is, was) = (kind.as_str(), known.as_str());
                return misfit(format!(
                    "field {name} is {is} and its column {was}: take the old type, or a new field of another name"
                ));
            }
        }
        for total in new.totals {
            match all.totals.iter().find(|known| known.name == total.name) {
                None => all.totals.push(total),
                Some(known) if *known == total => {}
                Some(_) => {
                    let (dataset, total) = (&dataset.name, &total.name);
                    return misfit(format!(
                        "totals {total} are defined otherwise than their table: run `landfall totals rebuild {dataset}`"
                    ));
                }
            }
        }
        Ok(all)
    }
}

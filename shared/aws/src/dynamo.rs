//! Helpers for items of DynamoDB tables: attributes, typed reads, failed conditions.

use std::collections::HashMap;
use std::fmt::Display;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item: its attributes by name.
pub type Item = HashMap<String, AttributeValue>;

/// An item does not have the attributes that its reader expects, or a value cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// A required attribute is missing.
    #[error("attribute {0:?} is missing")]
    Missing(String),
    /// An attribute does not have the type that it is read as.
    #[error("attribute {0:?}: {1}")]
    Attribute(String, serde_dynamo::Error),
    /// The item does not match the type that it is read as, or a value cannot be stored.
    #[error(transparent)]
    Shape(#[from] serde_dynamo::Error),
}

/// Returns a string attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// Returns a number attribute.
pub fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Returns a set of one number.
pub fn number_set(value: impl Display) -> AttributeValue {
    AttributeValue::Ns(vec![value.to_string()])
}

/// Serializes a value as one attribute.
pub fn to_attribute(value: impl Serialize) -> Result<AttributeValue, ItemError> {
    Ok(serde_dynamo::to_attribute_value(value)?)
}

/// Deserializes one attribute.
pub fn from_attribute<T: DeserializeOwned>(value: AttributeValue) -> Result<T, ItemError> {
    Ok(serde_dynamo::from_attribute_value(value)?)
}

/// Serializes a struct as an item.
pub fn to_item(value: impl Serialize) -> Result<Item, ItemError> {
    Ok(serde_dynamo::to_item(value)?)
}

/// Deserializes an item.
pub fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}

/// Reads an attribute, if the item has it. DynamoDB cannot store an empty set: it does not exist.
pub fn find<T: DeserializeOwned>(item: &Item, name: &str) -> Result<Option<T>, ItemError> {
    let value = item
        .get(name)
        .cloned()
        .map(serde_dynamo::from_attribute_value);
    value
        .transpose()
        .map_err(|error| ItemError::Attribute(name.to_owned(), error))
}

/// Reads an attribute that the item must have.
pub fn require<T: DeserializeOwned>(item: &Item, name: &str) -> Result<T, ItemError> {
    find(item, name)?.ok_or_else(|| ItemError::Missing(name.to_owned()))
}

/// Returns whether a write failed because its condition was not met.
pub fn is_condition_failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn attributes_are_read_with_their_types() {
        let item = Item::from([
            ("pk".to_owned(), text("job/1")),
            ("rows".to_owned(), number(7)),
            ("done".to_owned(), number_set(3)),
        ]);
        assert_eq!(require::<String>(&item, "pk").unwrap(), "job/1");
        assert_eq!(require::<u64>(&item, "rows").unwrap(), 7);
        assert_eq!(find::<u64>(&item, "none").unwrap(), None);
        let done: BTreeSet<u32> = require(&item, "done").unwrap();
        assert_eq!(done, BTreeSet::from([3]));
        for error in [
            require::<String>(&item, "none").unwrap_err(),
            find::<String>(&item, "rows").unwrap_err(),
            find::<u64>(&item, "pk").unwrap_err(),
            find::<BTreeSet<u32>>(&item, "rows").unwrap_err(),
        ] {
            assert!(error.to_string().starts_with("attribute"), "{error}");
        }
    }
}

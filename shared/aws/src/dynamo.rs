//! Helpers for items of DynamoDB tables: attributes, typed reads, failed conditions.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item: its attributes by name.
pub type Item = HashMap<String, AttributeValue>;

/// An item does not have the attributes that its reader expects.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// A required attribute is missing.
    #[error("attribute {0:?} is missing")]
    Missing(&'static str),
    /// An attribute is of another type.
    #[error("attribute {name:?} is not {expected}")]
    Type {
        /// Its name.
        name: String,
        /// The expected type.
        expected: &'static str,
    },
    /// An attribute has an invalid number.
    #[error("attribute {name:?}: {text:?} is not a valid number: {reason}")]
    Number {
        /// Its name.
        name: String,
        /// The text that is stored.
        text: String,
        /// The parser's error message.
        reason: String,
    },
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

/// Serializes a struct as an item.
pub fn to_item(value: impl Serialize) -> Result<Item, ItemError> {
    Ok(serde_dynamo::to_item(value)?)
}

/// Deserializes an item.
pub fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}

/// Returns a required string.
pub fn read_text<'a>(item: &'a Item, name: &'static str) -> Result<&'a str, ItemError> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        Some(_) => Err(wrong_type(name, "a string")),
        None => Err(ItemError::Missing(name)),
    }
}

/// Returns a number, if the item has it.
pub fn read_number<T>(item: &Item, name: &str) -> Result<Option<T>, ItemError>
where
    T: FromStr<Err: Display>,
{
    match item.get(name) {
        Some(AttributeValue::N(text)) => parse(name, text).map(Some),
        Some(_) => Err(wrong_type(name, "a number")),
        None => Ok(None),
    }
}

/// Returns a set of numbers. An attribute that does not exist is the empty set, which DynamoDB cannot store.
pub fn read_number_set<T>(item: &Item, name: &str) -> Result<BTreeSet<T>, ItemError>
where
    T: FromStr<Err: Display> + Ord,
{
    match item.get(name) {
        Some(AttributeValue::Ns(texts)) => texts.iter().map(|text| parse(name, text)).collect(),
        Some(_) => Err(wrong_type(name, "a set of numbers")),
        None => Ok(BTreeSet::new()),
    }
}

/// Returns whether a write failed because its condition was not met.
pub fn is_condition_failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

fn parse<T>(name: &str, text: &str) -> Result<T, ItemError>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|error: T::Err| ItemError::Number {
        name: name.to_owned(),
        text: text.to_owned(),
        reason: error.to_string(),
    })
}

fn wrong_type(name: &str, expected: &'static str) -> ItemError {
    ItemError::Type {
        name: name.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_with_their_types() {
        let item = Item::from([
            ("pk".to_owned(), text("job/1")),
            ("rows".to_owned(), number(7)),
            ("done".to_owned(), number_set(3)),
        ]);
        assert_eq!(read_text(&item, "pk").unwrap(), "job/1");
        assert_eq!(read_number::<u64>(&item, "rows").unwrap(), Some(7));
        assert_eq!(read_number::<u64>(&item, "none").unwrap(), None);
        assert!(read_number_set::<u32>(&item, "done").unwrap().contains(&3));
        assert!(read_number_set::<u32>(&item, "none").unwrap().is_empty());
        for error in [
            read_text(&item, "none").unwrap_err(),
            read_text(&item, "rows").unwrap_err(),
            read_number::<u64>(&item, "pk").unwrap_err(),
            read_number_set::<u32>(&item, "rows").unwrap_err(),
        ] {
            assert!(error.to_string().starts_with("attribute"), "{error}");
        }
    }
}

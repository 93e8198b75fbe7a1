//! The key of a definition: the names of fields, or the place of the record.

use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use toml::Spanned;

use super::RawDataset;
use super::fields::check_names;
use super::source::{DatasetError, Source};
use crate::dataset::{Field, Mode};

/// The word for the place of a record.
const POSITION: &str = "position";

/// What identifies a row.
pub(super) enum RawKey {
    Fields(Vec<Spanned<String>>),
    Position,
}

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = RawKey;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "a list of names of fields, or {POSITION:?}")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<RawKey, E> {
                if word == POSITION {
                    return Ok(RawKey::Position);
                }
                Err(E::custom(format!(
                    "must be a list of names of fields, such as [{word:?}], or {POSITION:?}, the place in the file"
                )))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<RawKey, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names)).map(RawKey::Fields)
            }
        }

        deserializer.deserialize_any(KeyVisitor)
    }
}

/// Returns the indexes of the key fields. There are none if the place of the record is the key.
pub(super) fn check_key(
    source: &Source<'_>,
    raw: &RawDataset,
    fields: &[Field],
) -> Result<Vec<usize>, DatasetError> {
    let span = raw.key.span();
    let names = match raw.key.get_ref() {
        RawKey::Fields(names) => return check_names(source, "key", (&span, names), fields),
        RawKey::Position => POSITION,
    };
    let contradiction = if raw.mode == Mode::Merge {
        "mode = \"merge\", because each row has a key of its own"
    } else if raw.order.is_some() {
        "order, because each row has a key of its own"
    } else if raw.operation.is_some() {
        "[operation], because no record has the key of another one to delete it"
    } else {
        return Ok(Vec::new());
    };
    let message =
        format!("{names:?} contradicts {contradiction}: name the fields that identify a row");
    Err(source.error(&span, "key", message))
}

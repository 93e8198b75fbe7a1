//! Finds the values of fields in a record: by name, by the path of a nested property, or by position.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use landfall_domain::{Dataset, RejectCode, UnknownColumns, excerpt};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::sink::Fault;
use super::{Members, Text, push_property};
use crate::position::{index_of, nameless};

/// The maximum number of names in the path of a column. A longer name is only a name.
const MAX_PATH: usize = 16;

/// Where the values of a dataset are in a record. Each field has a slot; the last one is that of the operation.
pub(super) struct Columns<'d> {
    pub(super) dataset: &'d Dataset,
    names: Names<'d>,
    /// Slots by position, if anything has a position.
    positions: Vec<Option<usize>>,
}

type Names<'d> = HashMap<&'d str, Target<'d>>;

/// What a property is for.
#[derive(Default)]
struct Target<'d> {
    slot: Option<usize>,
    /// The properties of the object, if columns lead into it.
    inner: Option<Box<Names<'d>>>,
}

impl<'d> Columns<'d> {
    /// Returns the columns of JSON, in which dots lead into nested objects.
    pub(super) fn new(dataset: &'d Dataset) -> Self {
        Self::with_paths(dataset, MAX_PATH)
    }

    /// Returns the columns of records that were cells. Their names are only names.
    pub(super) fn of_cells(dataset: &'d Dataset) -> Self {
        Self::with_paths(dataset, 0)
    }

    fn with_paths(dataset: &'d Dataset, max_path: usize) -> Self {
        let fields = dataset.fields.iter();
        let fields = fields.map(|field| (&field.column, field.position));
        let operation = dataset.operation.as_ref();
        let operation = operation.map(|operation| (&operation.column, operation.position));
        let mut names = Names::new();
        let mut positions = vec![None; dataset.last_position().unwrap_or(0) as usize];
        for (slot, (column, position)) in fields.chain(operation).enumerate() {
            names.entry(column).or_default().slot = Some(slot);
            let path: Vec<&str> = column.split('.').collect();
            if let [path @ .., last] = &path[..]
                && (1..max_path).contains(&path.len())
            {
                let inner = path.iter().fold(&mut names, |names, name| {
                    let target = names.entry(name).or_default();
                    target.inner.get_or_insert_default()
                });
                inner.entry(last).or_default().slot = Some(slot);
            }
            if let Some(position) = position {
                positions[index_of(position)] = Some(slot);
            }
        }
        Self {
            dataset,
            names,
            positions,
        }
    }

    /// Finds the values that columns lead to in nested objects. A property that has the whole name of a column
    /// comes first.
    pub(super) fn open_containers(&self, found: &mut Found<'d, '_>) {
        if found.containers.is_empty() {
            return;
        }
        for container in std::mem::take(&mut found.containers) {
            let unknown = if container.is_value {
                UnknownColumns::Drop
            } else {
                self.dataset.unknown_columns
            };
            let Container {
                name, names, json, ..
            } = container;
            if let Some(rest) = found.open(name, names, json.get(), unknown) {
                found.unknown.push((name.to_owned().into(), rest.into()));
            }
        }
        for (value, nested) in found.values.iter_mut().zip(&mut found.nested) {
            *value = value.or(nested.take());
        }
    }
}

/// A property that columns lead into.
struct Container<'d, 'c> {
    name: &'d str,
    names: &'d Names<'d>,
    json: &'c RawValue,
    /// Whether the property is the value of a field as well.
    is_value: bool,
}

/// What was found in a record.
pub(super) struct Found<'d, 'c> {
    /// The values by slot.
    pub(super) values: Vec<Option<&'c RawValue>>,
    /// The values in nested objects by slot.
    nested: Vec<Option<&'c RawValue>>,
    /// The properties that columns lead into.
    containers: Vec<Container<'d, 'c>>,
    /// The names and JSON texts of what belongs to no slot.
    pub(super) unknown: Vec<(Cow<'c, str>, Cow<'c, str>)>,
    /// A property that a column needs and that occurs more than once, with different values.
    pub(super) repeated: Option<String>,
}

impl<'d, 'c> Found<'d, 'c> {
    pub(super) fn new(dataset: &Dataset) -> Self {
        let slots = dataset.fields.len() + 1;
        Self {
            values: vec![None; slots],
            nested: vec![None; slots],
            containers: Vec::new(),
            unknown: Vec::new(),
            repeated: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.values.fill(None);
        self.containers.clear();
        self.unknown.clear();
        self.repeated = None;
    }

    pub(super) fn operation(&self) -> Option<&'c RawValue> {
        self.values.last().copied().flatten()
    }

    /// Adds a property to which columns lead.
    #[cold]
    fn add_container(&mut self, container: Container<'d, 'c>) {
        let mut others = self.containers.iter();
        match others.find(|other| other.name == container.name) {
            None => self.containers.push(container),
            Some(other) if other.json.get() == container.json.get() => {}
            Some(_) => self.repeated = Some(container.name.to_owned()),
        }
    }

    /// Takes the values of slots out of an object, and returns what is left of it, if anything, to be kept.
    fn open(
        &mut self,
        path: &str,
        names: &Names<'_>,
        json: &'c str,
        unknown: UnknownColumns,
    ) -> Option<String> {
        let Some(mut members) = Members::of(json) else {
            if unknown == UnknownColumns::Reject && json != "null" {
                self.unknown.push((path.to_owned().into(), json.into()));
            }
            return (unknown == UnknownColumns::Keep).then(|| json.to_owned());
        };
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut rest = String::new();
        for same_name in members.chunk_by(|(a, _), (b, _)| a == b) {
            let [others @ .., (name, value)] = same_name else {
                continue;
            };
            let target = names.get(&**name);
            if target.is_some() && others.iter().any(|(_, other)| other.get() != value.get()) {
                self.repeated = Some(format!("{path}.{name}"));
            }
            let slot = target.and_then(|target| target.slot);
            let slot = slot.filter(|slot| self.values[*slot].is_none());
            if let Some(slot) = slot {
                self.nested[slot] = Some(value);
            }
            let inner = target.and_then(|target| target.inner.as_deref());
            let unknown = if slot.is_some() {
                UnknownColumns::Drop
            } else {
                unknown
            };
            if let Some(inner) = inner {
                let path = format!("{path}.{name}");
                if let Some(left) = self.open(&path, inner, value.get(), unknown) {
                    push_property(&mut rest, name, &left);
                }
                continue;
            }
            match unknown {
                UnknownColumns::Drop => {}
                UnknownColumns::Keep => push_property(&mut rest, name, value.get()),
                UnknownColumns::Reject => {
                    let path = format!("{path}.{name}");
                    self.unknown.push((path.into(), value.get().into()));
                }
            }
        }
        (!rest.is_empty()).then(|| rest + "}")
    }

    /// Adds the likely cause to the fault of a record that lacks a required value.
    pub(super) fn with_hint(&self, mut fault: Fault, text: &str, dataset: &Dataset) -> Fault {
        if fault.code == RejectCode::Required
            && let Some(hint) = self.hint(text, dataset, fault.column.as_deref())
        {
            fault.message += "; ";
            fault.message += &hint;
        }
        fault
    }

    fn hint(&self, text: &str, dataset: &Dataset, column: Option<&str>) -> Option<String> {
        if self.values.iter().all(Option::is_none)
            && let Some(path) = path_of_rows(text, 2)
        {
            let cause = if path == dataset.json.path.join(".") {
                "because json.path applies only to a file that is one document: upload documents one by one"
                    .to_owned()
            } else {
                format!("so check json.path: rows may be at {path}")
            };
            return Some(format!("no other field has a value either, {cause}"));
        }
        let column = column?;
        let lower = |name: &str| name.trim().to_lowercase();
        let mut unknown = self.unknown.iter().map(|(name, _)| &**name);
        let name = unknown.find(|name| lower(name) == lower(column))?;
        let (name, column) = (excerpt(name), excerpt(column));
        Some(format!("is {name:?} meant to be {column:?}?"))
    }
}

/// Returns the path of the first array of objects, which is at most this deep.
fn path_of_rows(json: &str, depth: usize) -> Option<String> {
    let is_rows = |json: &str| {
        let inner = json.strip_prefix('[').map(str::trim_start);
        inner.is_some_and(|inner| inner.starts_with('{'))
    };
    let members = Members::of(json.trim_start())?;
    members.into_iter().find_map(|(name, value)| {
        if is_rows(value.get()) {
            return Some(name.into_owned());
        }
        let inner = path_of_rows(value.get(), depth.checked_sub(1).filter(|left| *left > 0)?)?;
        Some(format!("{name}.{inner}"))
    })
}

/// Deserializes a record.
pub(super) struct Record<'s, 'd, 'c> {
    pub(super) columns: &'d Columns<'d>,
    pub(super) found: &'s mut Found<'d, 'c>,
}

impl<'c> DeserializeSeed<'c> for Record<'_, '_, 'c> {
    type Value = ();

    fn deserialize<D: Deserializer<'c>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'c> Visitor<'c> for Record<'_, '_, 'c> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'c>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { columns, found } = self;
        let keeps = columns.dataset.unknown_columns != UnknownColumns::Drop;
        while let Some(Text(name)) = map.next_key()? {
            let known = columns.names.get_key_value(&*name);
            if let Some((name, target)) = known {
                let json = map.next_value()?;
                if let Some(slot) = target.slot
                    && let Some(other) = found.values[slot].replace(json)
                    && other.get() != json.get()
                {
                    found.repeated = Some((*name).to_owned());
                }
                if let Some(names) = &target.inner {
                    found.add_container(Container {
                        name,
                        names,
                        json,
                        is_value: target.slot.is_some(),
                    });
                }
            } else if keeps {
                let json: &RawValue = map.next_value()?;
                found.unknown.push((name, json.get().into()));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'c>>(self, mut values: A) -> Result<(), A::Error> {
        let Self { columns, found } = self;
        if columns.positions.is_empty() {
            return Err(A::Error::custom("an array, and no field has a position"));
        }
        let keeps = columns.dataset.unknown_columns != UnknownColumns::Drop;
        let mut index = 0;
        while let Some(json) = values.next_element::<&RawValue>()? {
            if let Some(Some(slot)) = columns.positions.get(index) {
                found.values[*slot] = Some(json);
            } else if keeps && json.get() != "null" {
                let name = nameless(columns.dataset, index);
                found.unknown.push((name.into(), json.get().into()));
            }
            index += 1;
        }
        Ok(())
    }
}

//! Infers the definition of a dataset from a file that has none.
//!
//! Nothing is guessed in silence: each setting that could have been another one has a note, which becomes a comment of
//! the definition. The types are those of the values that were looked at, as the functions would read them; codes stay
//! text, so that nothing of them is lost.

mod dialect;
mod extent;
mod facts;
mod fields;
mod header;
mod json;
mod keys;
mod kinds;
mod sample;
mod table;
mod write;

use landfall_domain::{ByteRange, Dataset, Encoding, Format, Problem, ProblemCode};

use crate::detect::detect;
use sample::Sample;
use table::Table;

pub use fields::{InferredField, identifier, settings_of};
pub use keys::Key;
pub use sample::Budget;

/// The definition of a dataset as it was inferred. [`Display`](std::fmt::Display) writes it as TOML with comments.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// Name of the dataset.
    pub name: String,
    /// Format of the file.
    pub format: Format,
    /// What was looked at, for people.
    pub looked_at: String,
    /// The settings of the dataset, in TOML, each with a note if it could have been another one.
    pub settings: Vec<Setting>,
    /// The fields that identify a row.
    pub key: Key,
    /// The fields, in the order of the file.
    pub fields: Vec<InferredField>,
    /// What people should know beside notes of settings and fields.
    pub notes: Vec<String>,
}

/// A setting of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, such as `csv.delimiter`.
    pub name: &'static str,
    /// Its value in TOML.
    pub value: String,
    /// Why it has this value, or what else it could be.
    pub note: String,
}

impl Setting {
    fn new(name: &'static str, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            name,
            value: value.into(),
            note: note.into(),
        }
    }

    fn text(name: &'static str, value: &str, note: impl Into<String>) -> Self {
        Self::new(name, write::quoted(value), note)
    }
}

/// A file to infer a definition from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Name of the dataset.
    pub dataset: &'a str,
    /// Name of the file, whose extension may say its format.
    pub file: &'a str,
    /// Its size in bytes. That of a compressed file is the size of what it unpacks to.
    pub size: u64,
}

impl Source<'_> {
    /// The size of a file of which only the start is unpacked.
    pub const UNKNOWN_SIZE: u64 = u64::MAX;
}

/// Infers the definition of a file. `read` returns the bytes of a range.
///
/// A file of up to 16 MiB is read as a whole; of a larger one, the start, the end and some places in between. The
/// memory is several times that.
///
/// Returns the definition, or why there is none: the file is empty, has no records, or is in a format that Landfall
/// does not read.
///
/// # Errors
/// Those of `read`.
pub fn infer<E>(
    source: Source<'_>,
    read: impl FnMut(ByteRange) -> Result<Vec<u8>, E>,
) -> Result<Result<Inferred, Problem>, E> {
    let ranges = Budget::TOOL.ranges(source.size).into_iter();
    let parts = ranges.map(read).collect::<Result<_, _>>()?;
    Ok(infer_parts(source, parts))
}

/// Infers the definition of a file from the [parts of a budget](Budget::ranges), or from its start.
///
/// # Errors
/// Why there is none, as for [`infer`].
pub fn infer_parts(source: Source<'_>, parts: Vec<Vec<u8>>) -> Result<Inferred, Problem> {
    if source.size == 0 {
        let problem = Problem::new(ProblemCode::EmptyObject, "the file is empty");
        return Err(problem);
    }
    of_sample(source, &Sample::new(source.size, parts))
}

fn of_sample(source: Source<'_>, sample: &Sample) -> Result<Inferred, Problem> {
    let (encoding, note) = sample.encoding();
    let text = sample.text(encoding);
    // A definition that says nothing but the encoding.
    let settings = format!(
        "name = \"unknown\"\nkey = [\"key\"]\nencoding = {}\n[[fields]]\nname = \"key\"\ntype = \"text\"\n",
        write::quoted(encoding.name())
    );
    let any = Dataset::from_toml("unknown.toml", &settings)
        .map_err(|error| Problem::new(ProblemCode::BadDataset, error.to_string()))?;
    let format = detect(source.file, sample.head(), &any)?.format;
    let (mut table, format) = match format {
        Format::Csv | Format::Tsv => (Table::of_delimited(&text, format), format),
        Format::Json | Format::Ndjson => json::table(&text, format),
    };
    if table.rows.is_empty() {
        let problem = Problem::new(ProblemCode::NoRecords, "the file has no records");
        return Err(problem);
    }
    let mut settings = std::mem::take(&mut table.settings);
    if encoding == Encoding::UTF_8 && !sample.has_mark() && !note.is_empty() {
        table.notes.push(note);
    } else if encoding != Encoding::UTF_8 && !sample.has_mark() {
        settings.insert(0, Setting::text("encoding", encoding.name(), note));
    }
    let fields = fields::of_table(&table);
    let key = keys::of_table(&table, &fields);
    Ok(Inferred {
        name: source.dataset.to_owned(),
        format,
        looked_at: sample.looked_at(table.rows.len(), text.is_whole),
        settings,
        key,
        fields,
        notes: table.notes,
    })
}

#[cfg(test)]
mod tests;

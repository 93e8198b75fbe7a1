//! The files that are loaded, and their rows in the form that the floors load.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use landfall_cli::seed::{Kind, write_revision};

/// Every run has the same rows.
const SEED: u64 = 1;
/// Columns of products.
pub(crate) const COLUMNS: [&str; 3] = ["sku", "name", "description"];

/// A file of products in two forms.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The output of `landfall seed products`, with its bad rows.
    pub(crate) file: PathBuf,
    /// Only the good rows, for tools that fail on others.
    pub(crate) clean: PathBuf,
    pub(crate) bytes: u64,
    /// Number of rows, bad ones included.
    pub(crate) rows: u64,
    /// Number of good rows, repeated keys included.
    pub(crate) good: u64,
    /// Content of a keyed table after the load.
    pub(crate) keyed: Content,
    /// Content of a table without a key after the load.
    pub(crate) unkeyed: Content,
    /// Bytes by which a keyed table is smaller if a tool replaces CRLF with LF in cells.
    pub(crate) keyed_returns: u64,
}

/// The content of a table, summarized by counts that differ between two revisions of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) rows: u64,
    pub(crate) name_bytes: u64,
    pub(crate) description_bytes: u64,
}

impl Content {
    fn of<'a>(rows: impl Iterator<Item = [&'a str; 3]>) -> Self {
        rows.fold(Self::default(), |sum, [_, name, description]| Self {
            rows: sum.rows + 1,
            name_bytes: sum.name_bytes + name.len() as u64,
            description_bytes: sum.description_bytes + description.len() as u64,
        })
    }

    /// Fails on a wrong result, so that it is never measured.
    pub(crate) fn check(self, found: Self, table: &str) -> Result<()> {
        ensure!(
            self == found,
            "{table} holds {found:?}; it must hold {self:?}"
        );
        Ok(())
    }
}

impl Sample {
    /// Writes a file with this number of rows.
    pub(crate) fn make(directory: &Path, rows: u64, revision: u32) -> Result<Self> {
        let file = directory.join(format!("products-{rows}-{revision}.csv"));
        let clean = directory.join(format!("products-{rows}-{revision}-clean.csv"));
        let context = || format!("cannot write {}", file.display());
        let out = BufWriter::new(File::create(&file).with_context(context)?);
        write_revision(Kind::Products, rows, SEED, revision, out).with_context(context)?;
        clean_up(&file, &clean)?;
        let good = Rows::read(&clean)?;
        let keyed = good.last_of_each_key();
        Ok(Self {
            bytes: fs::metadata(&file)?.len(),
            rows,
            good: good.len() as u64,
            keyed: Content::of(keyed.iter().map(|&index| good.get(index))),
            keyed_returns: keyed
                .iter()
                .map(|&index| good.get(index)[2].matches("\r\n").count() as u64)
                .sum(),
            unkeyed: Content::of((0..good.len()).map(|index| good.get(index))),
            file,
            clean,
        })
    }
}

/// Copies the rows that the dataset accepts: three cells, none missing, in UTF-8.
fn clean_up(from: &Path, to: &Path) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(BufReader::new(File::open(from)?));
    let mut writer = csv::Writer::from_writer(BufWriter::new(
        File::create(to).with_context(|| format!("cannot write {}", to.display()))?,
    ));
    writer.write_record(COLUMNS)?;
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let good = record.len() == COLUMNS.len()
            && record
                .iter()
                .all(|cell| !cell.is_empty() && std::str::from_utf8(cell).is_ok());
        if good {
            writer.write_byte_record(&record)?;
        }
    }
    writer.flush()?;
    Ok(())
}

/// The rows of a clean file, in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    text: String,
    /// Ends of the cells of each row.
    ends: Vec<[usize; 3]>,
}

impl Rows {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let bytes = fs::read(path).with_context(context)?;
        let mut rows = Self {
            text: String::with_capacity(bytes.len()),
            ends: Vec::with_capacity(bytes.len() / 80),
        };
        let mut reader = csv::Reader::from_reader(&*bytes);
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).with_context(context)? {
            let mut ends = [0; 3];
            for (cell, end) in record.iter().zip(&mut ends) {
                rows.text.push_str(cell);
                *end = rows.text.len();
            }
            rows.ends.push(ends);
        }
        Ok(rows)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns sku, name and description.
    pub(crate) fn get(&self, index: usize) -> [&str; 3] {
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before][2]);
        let [sku, name, description] = self.ends[index];
        [
            &self.text[start..sku],
            &self.text[sku..name],
            &self.text[name..description],
        ]
    }

    /// Returns the last row of each key, sorted by key.
    pub(crate) fn last_of_each_key(&self) -> Vec<usize> {
        let sku = |index: usize| self.get(index)[0];
        // The first eight bytes almost always decide, without reading the text.
        let mut order: Vec<(u64, usize)> = (0..self.len())
            .map(|index| (prefix(sku(index).as_bytes()), index))
            .collect();
        let by_key = |a: &(u64, usize), b: &(u64, usize)| match a.0.cmp(&b.0) {
            Ordering::Equal => sku(a.1).cmp(sku(b.1)),
            decided => decided,
        };
        order.sort_unstable_by(|a, b| by_key(a, b).then(b.1.cmp(&a.1)));
        order.dedup_by(|later, first| by_key(later, first) == Ordering::Equal);
        order.into_iter().map(|(_, index)| index).collect()
    }
}

fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_a_key_counts_and_bad_rows_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let (raw, clean) = (directory.path().join("a"), directory.path().join("b"));
        let text = b"sku,name,description\nB2345678x,b,old\nA,a,\"with,\nboth\"\n,no,key\nC,c\n\
                     B2345678x,b,new\nB2345678w,w,w\nD,Caf\xe9,d\n";
        fs::write(&raw, text).unwrap();
        clean_up(&raw, &clean).unwrap();
        let rows = Rows::read(&clean).unwrap();
        assert_eq!(rows.len(), 4);
        let kept: Vec<_> = rows
            .last_of_each_key()
            .into_iter()
            .map(|index| rows.get(index))
            .collect();
        assert_eq!(
            kept,
            [
                ["A", "a", "with,\nboth"],
                ["B2345678w", "w", "w"],
                ["B2345678x", "b", "new"],
            ]
        );
    }

    #[test]
    fn revisions_hold_other_bytes_for_the_same_keys() {
        let directory = tempfile::tempdir().unwrap();
        let first = Sample::make(directory.path(), 3_000, 1).unwrap();
        let second = Sample::make(directory.path(), 3_000, 2).unwrap();
        assert_eq!(
            (first.good, first.keyed.rows),
            (second.good, second.keyed.rows)
        );
        assert!(first.good < first.rows && first.keyed.rows < first.good);
        assert_ne!(first.keyed, second.keyed);
        assert!(first.keyed.check(second.keyed, "t").is_err());
    }
}

//! Sample files with the features of real ones: repeated keys, quoted newlines, Unicode, and bad rows.
//!
//! The same number of rows, seed and revision generate the same bytes.

use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Share of rows with the key of an earlier row.
const REPEATED: f64 = 0.07;
/// Share of products with a newline in their description.
const NEWLINES: f64 = 0.01;
/// Share of bad rows.
const BAD: f64 = 0.002;

const MATERIALS: [&str; 12] = [
    "Oak",
    "Steel",
    "Linen",
    "Ceramic",
    "Copper",
    "Wool",
    "Glass",
    "Bamboo",
    "Leather",
    "Marble",
    "Übergröße",
    "檜",
];
const THINGS: [&str; 16] = [
    "chair",
    "lamp",
    "kettle",
    "bowl",
    "shelf",
    "blanket",
    "clock",
    "mirror",
    "desk",
    "vase",
    "teapot",
    "rug",
    "stool",
    "crème brûlée dish",
    "湯呑み",
    "самовар",
];
const WORDS: [&str; 18] = [
    "light",
    "sturdy",
    "handmade",
    "in two sizes",
    "dishwasher safe",
    "with a 10\" handle",
    "for every day",
    "naïve style",
    "since 1952",
    "a best-seller",
    "limited, numbered",
    "easy to clean",
    "❤ by many",
    "ships flat",
    "folds, stacks",
    "très léger",
    "öko",
    "no tools needed",
];
const CUSTOMERS: [&str; 4] = ["Ana Pérez", "Li 雷", "Zoë", "Tom O'Neil"];
/// The statuses of an order, in the order that it passes through them. The last one ends it.
pub(super) const STATUSES: [&str; 5] = ["created", "paid", "packed", "shipped", "cancelled"];

/// Kind of a sample file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// CSV of the dataset `products`: sku, name, description.
    Products,
    /// NDJSON of the dataset `orders`.
    Orders,
}

impl Kind {
    /// Returns the name of the dataset, and a name for the file.
    pub fn dataset_and_file(self) -> (&'static str, &'static str) {
        match self {
            Self::Products => ("products", "products.csv"),
            Self::Orders => ("orders", "orders.ndjson"),
        }
    }
}

/// Writes the first revision of a sample file with any number of rows, in constant memory.
pub fn write(kind: Kind, rows: u64, seed: u64, out: impl Write) -> io::Result<()> {
    write_revision(kind, rows, seed, 1, out)
}

/// Writes a revision of a sample file, counted from 1.
///
/// All revisions have the same keys in the same order, and each row has other values than in the
/// previous revision.
pub fn write_revision(
    kind: Kind,
    rows: u64,
    seed: u64,
    revision: u32,
    out: impl Write,
) -> io::Result<()> {
    match kind {
        Kind::Products => products(rows, seed, revision, out),
        Kind::Orders => orders(rows, seed, revision, out),
    }
}

/// Returns the values of a revision, in which the same random choices find other values.
fn revised<const N: usize>(from: [&'static str; N], revision: u32) -> [&'static str; N] {
    let mut values = from;
    debug_assert!(revision > 0, "revisions are counted from 1");
    values.rotate_left(revision.saturating_sub(1) as usize % N);
    values
}

/// Generates consecutive numbers, except for a share that repeats an earlier one.
struct Keys {
    used: u64,
}

impl Keys {
    fn next(&mut self, rng: &mut StdRng) -> u64 {
        if self.used > 0 && rng.random_bool(REPEATED) {
            return rng.random_range(0..self.used);
        }
        self.used += 1;
        self.used - 1
    }
}

fn products(rows: u64, seed: u64, revision: u32, out: impl Write) -> io::Result<()> {
    let (materials, words) = (revised(MATERIALS, revision), revised(WORDS, revision));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut keys = Keys { used: 0 };
    let mut csv = csv::WriterBuilder::new().flexible(true).from_writer(out);
    csv.write_record(["sku", "name", "description"])?;
    for _ in 0..rows {
        // Spread over the range of the key, like skus of several manufacturers.
        let key = keys.next(&mut rng);
        let sku = format!("{:08X}", (key.wrapping_mul(2_654_435_761)) & 0xffff_ffff);
        let name = format!("{} {}", pick(&mut rng, &materials), pick(&mut rng, &THINGS));
        let description = description(&mut rng, &words);
        if rng.random_bool(BAD) {
            match rng.random_range(0..4) {
                0 => csv.write_record(["", &name, &description])?,
                1 => csv.write_record([&sku, &name])?,
                2 => csv.write_record([&sku, &name, &description, "one too many"])?,
                _ => {
                    csv.write_record([sku.as_bytes(), b"Caf\xe9 table", description.as_bytes()])?;
                }
            }
        } else {
            csv.write_record([&sku, &name, &description])?;
        }
    }
    csv.flush()
}

fn description(rng: &mut StdRng, words: &[&str]) -> String {
    let first = pick(rng, words);
    let count = rng.random_range(2..5);
    let mut text = first.to_owned();
    let newline = rng.random_bool(NEWLINES);
    for index in 0..count {
        text.push_str(if newline && index == 0 { ",\r\n" } else { "; " });
        text.push_str(pick(rng, words));
    }
    text
}

fn orders(rows: u64, seed: u64, revision: u32, mut out: impl Write) -> io::Result<()> {
    let statuses = revised(STATUSES, revision);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut keys = Keys { used: 0 };
    let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 20_000);
    for row in 0..rows {
        let order_id = keys.next(&mut rng) + 1;
        let items = items(&mut rng);
        let mut order = json!({
            "order_id": order_id,
            "customer": customer(&mut rng),
            "status": pick(&mut rng, &statuses),
            "items": items,
            "total": format!("{}.{:02}", rng.random_range(1..2_000), rng.random_range(0..100)),
            "placed_at": (start + SignedDuration::from_secs((row % 31_536_000).cast_signed())).to_string(),
        });
        if rng.random_bool(0.1) {
            order["note"] = json!("leave it at the \"blue\" door\n2nd floor");
        }
        if rng.random_bool(BAD) {
            match rng.random_range(0..3) {
                0 => order["total"] = json!("n/a"),
                1 => order["placed_at"] = json!("2026-02-30T10:00:00Z"),
                _ => {
                    let text = order.to_string();
                    writeln!(out, "{}", text.trim_end_matches('}'))?;
                    continue;
                }
            }
        }
        writeln!(out, "{order}")?;
    }
    out.flush()
}

/// Returns the items of an order.
pub(super) fn items(rng: &mut StdRng) -> Vec<Value> {
    let count = rng.random_range(1..4);
    let items = (0..count).map(|_| {
        json!({
            "sku": format!("{:08X}", rng.random::<u32>()),
            "name": format!("{} {}", pick(rng, &MATERIALS), pick(rng, &THINGS)),
            "quantity": rng.random_range(1..6),
        })
    });
    items.collect()
}

/// Returns the customer of an order.
pub(super) fn customer(rng: &mut StdRng) -> Value {
    json!({ "id": rng.random_range(1..50_000), "name": pick(rng, &CUSTOMERS) })
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    debug_assert!(!from.is_empty(), "there is nothing to choose from");
    from.choose(rng).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_generates_the_same_file() {
        let make = |seed| {
            let mut out = Vec::new();
            write(Kind::Products, 500, seed, &mut out).unwrap();
            out
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn a_revision_changes_every_row_and_no_key() {
        let make = |revision| {
            let mut out = Vec::new();
            write_revision(Kind::Products, 2_000, 1, revision, &mut out).unwrap();
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&*out);
            reader
                .byte_records()
                .map(Result::unwrap)
                .filter(|record| record.len() == 3 && std::str::from_utf8(&record[1]).is_ok())
                .collect::<Vec<_>>()
        };
        let (first, second) = (make(1), make(2));
        assert_eq!(first.len(), second.len());
        for (first, second) in first.iter().zip(&second) {
            assert_eq!(first[0], second[0]);
            assert_ne!((&first[1], &first[2]), (&second[1], &second[2]));
        }
    }

    #[test]
    fn products_have_the_features_of_real_files() {
        let mut out = Vec::new();
        write(Kind::Products, 20_000, 7, &mut out).unwrap();
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&*out);
        let records: Vec<_> = reader.byte_records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 20_000);
        let skus: HashSet<_> = records.iter().map(|record| record[0].to_vec()).collect();
        assert!((18_000..19_000).contains(&skus.len()), "{}", skus.len());
        let lines = records
            .iter()
            .filter(|record| record.get(2).is_some_and(|cell| cell.contains(&b'\n')));
        assert!((120..300).contains(&lines.count()));
        let ragged = records.iter().filter(|record| record.len() != 3).count();
        assert!(ragged > 0);
        assert!(
            records
                .iter()
                .any(|record| std::str::from_utf8(&record[1]).is_err())
        );
    }

    #[test]
    fn most_orders_are_lines_of_json() {
        let mut out = Vec::new();
        write(Kind::Orders, 5_000, 7, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 5_000);
        let broken = text
            .lines()
            .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err())
            .count();
        assert!((1..100).contains(&broken), "{broken}");
    }
}

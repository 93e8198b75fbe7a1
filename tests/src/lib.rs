//! What tests compare Landfall with: a plain, single-threaded reading of a file, by other means than
//! the project's own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a products file holds: what should be in a database once it has landed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// Name and description by sku; the last row of a sku counts.
    pub rows: BTreeMap<String, (String, Option<String>)>,
    /// Records, without the header.
    pub records: u64,
    /// Records that are no product: not of three cells, not UTF-8, without sku or name.
    pub rejected: u64,
}

impl Products {
    /// Reads a file with the header `sku,name,description`, after what was read before. With a fourth
    /// column `op`, a row with `delete` in it takes its sku away.
    pub fn read(&mut self, file: &[u8]) {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let columns = reader.byte_headers().map_or(0, csv::ByteRecord::len);
        for record in reader.byte_records() {
            self.records += 1;
            let cells: Option<Vec<String>> = record.ok().and_then(|record| {
                record
                    .iter()
                    .map(|cell| String::from_utf8(cell.to_vec()).ok())
                    .collect()
            });
            match cells.as_deref() {
                Some(cells) if cells.len() != columns => self.rejected += 1,
                Some([sku, _, _, op]) if op == "delete" && !sku.is_empty() => {
                    self.rows.remove(sku);
                }
                Some([sku, name, description, ..]) if !sku.is_empty() && !name.is_empty() => {
                    let description = Some(description.clone()).filter(|text| !text.is_empty());
                    self.rows.insert(sku.clone(), (name.clone(), description));
                }
                _ => self.rejected += 1,
            }
        }
    }

    /// Reads a file that is all there is: without rejects, what it does not have goes.
    pub fn read_snapshot(&mut self, file: &[u8]) {
        let alone = Self::of(file);
        self.read(file);
        if alone.rejected == 0 && alone.records > 0 {
            self.rows.retain(|sku, _| alone.rows.contains_key(sku));
        }
    }

    /// What a file holds.
    pub fn of(file: &[u8]) -> Self {
        let mut products = Self::default();
        products.read(file);
        products
    }
}

/// A notification of S3's for an object of the inbox: the one in `events/`, with other values.
pub fn notification(entity: &Value, bucket: &str, time: &str) -> Value {
    let text = include_str!("../../events/s3-object-created.json");
    let mut event: Value = serde_json::from_str(text).unwrap_or_default();
    let record = &mut event["Records"][0];
    record["eventTime"] = json!(time);
    record["s3"]["bucket"]["name"] = json!(bucket);
    record["s3"]["object"] = entity.clone();
    event
}

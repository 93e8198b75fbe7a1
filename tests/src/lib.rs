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
    /// Reads a file with the header `sku,name,description`, after what was read before.
    pub fn read(&mut self, file: &[u8]) {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        for record in reader.byte_records() {
            self.records += 1;
            let cells: Option<Vec<String>> = record.ok().and_then(|record| {
                record
                    .iter()
                    .map(|cell| String::from_utf8(cell.to_vec()).ok())
                    .collect()
            });
            match cells.as_deref() {
                Some([sku, name, description]) if !sku.is_empty() && !name.is_empty() => {
                    let description = Some(description.clone()).filter(|text| !text.is_empty());
                    self.rows.insert(sku.clone(), (name.clone(), description));
                }
                _ => self.rejected += 1,
            }
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

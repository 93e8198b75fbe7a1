//! The reference that tests compare Landfall with: a simple, single-threaded parser of files that shares no
//! code with the project.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The content of a products file, as databases should contain it after its ingestion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// Name and description by sku, from the newest row of each sku.
    pub rows: BTreeMap<String, (String, Option<String>)>,
    /// What a fourth column `changed` says of these rows.
    changed: BTreeMap<String, i64>,
    /// Number of records, without the header.
    pub records: u64,
    /// Number of invalid records: wrong number of cells, not UTF-8, or without sku or name.
    pub rejected: u64,
}

impl Products {
    /// Applies a file with the header `sku,name,description` on top of the current content. In a fourth
    /// column `op`, the value `delete` removes the sku. With a fourth column `changed`, a row with a less integer than
    /// that of the current row changes nothing.
    pub fn read(&mut self, file: &[u8]) {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let header = reader.byte_headers().expect("bytes in memory are readable");
        let (columns, is_ordered) = (header.len(), header.get(3) == Some(b"changed"));
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
                Some([sku, name, description, rest @ ..])
                    if !sku.is_empty() && !name.is_empty() =>
                {
                    if is_ordered {
                        let changed = rest[0].parse().expect("an integer");
                        if self.changed.get(sku).is_some_and(|known| *known > changed) {
                            continue;
                        }
                        self.changed.insert(sku.clone(), changed);
                    }
                    let description = Some(description.clone()).filter(|text| !text.is_empty());
                    self.rows.insert(sku.clone(), (name.clone(), description));
                }
                _ => self.rejected += 1,
            }
        }
    }

    /// Applies a file whose header has `sku` and some of `name` and `description`. The others keep their content; a
    /// name that no file has is empty.
    pub fn read_columns(&mut self, file: &[u8]) {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let header = reader.headers().expect("the header is text").clone();
        for record in reader.records() {
            self.records += 1;
            let record = record.expect("the file is text");
            let cell = |name: &str| {
                let column = header.iter().position(|column| column == name);
                column.map(|column| record.get(column).unwrap_or_default())
            };
            let (sku, name) = (cell("sku").unwrap_or_default(), cell("name"));
            if record.len() != header.len() || sku.is_empty() || name == Some("") {
                self.rejected += 1;
                continue;
            }
            let row = self.rows.entry(sku.to_owned()).or_default();
            if let Some(name) = name {
                name.clone_into(&mut row.0);
            }
            if let Some(description) = cell("description") {
                row.1 = Some(description.to_owned()).filter(|text| !text.is_empty());
            }
        }
    }

    /// Parses a file.
    pub fn from_file(file: &[u8]) -> Self {
        let mut products = Self::default();
        products.read(file);
        products
    }
}

/// Returns the S3 notification in `events/` with these values, for an object of the inbox.
pub fn notification(entity: &Value, bucket: &str, time: &str) -> Value {
    let text = include_str!("../../events/s3-object-created.json");
    let mut event: Value = serde_json::from_str(text).expect("the sample event is JSON");
    let record = &mut event["Records"][0];
    record["eventTime"] = json!(time);
    record["s3"]["bucket"]["name"] = json!(bucket);
    record["s3"]["object"] = entity.clone();
    event
}

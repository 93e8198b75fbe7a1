use landfall_domain::{Dataset, Format, Row};

/// How to scan an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// Format of the object.
    pub format: Format,
    /// Byte between cells of CSV and TSV.
    pub delimiter: u8,
    /// Byte around quoted cells of CSV and TSV.
    pub quote: u8,
    /// Whether the first record of CSV or TSV is the header.
    pub header: bool,
    /// Names of the properties that lead to the array in JSON.
    pub path: Vec<String>,
    /// The maximum number of bytes in a record, without its terminator.
    pub record_bytes: u64,
    /// A chunk is closed once it has this many bytes. It is longer by at most one record.
    pub chunk_bytes: u64,
    /// Memory of a row in bytes, without its texts.
    pub row_bytes: u64,
}

impl ScanOptions {
    /// Returns the options for an object of a dataset.
    pub fn from_dataset(dataset: &Dataset, format: Format, chunk_bytes: u64) -> Self {
        Self {
            format,
            delimiter: dataset.csv.delimiter_for(format),
            quote: dataset.csv.quote,
            header: dataset.csv.header,
            path: dataset.json.path.clone(),
            record_bytes: dataset.limits.record_bytes,
            chunk_bytes,
            row_bytes: Row::bytes(dataset.fields.len()) as u64,
        }
    }
}

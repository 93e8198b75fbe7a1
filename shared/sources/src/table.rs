//! Pages of CSV and TSV, which have a header each.

use csv::{ByteRecord, ReaderBuilder};
use landfall_domain::{CsvOptions, Format, Quote};

use crate::page::PageError;

/// A page of CSV or TSV.
pub(crate) struct Table<'a> {
    /// The records that name the columns, one in each line.
    pub(crate) header: String,
    /// The records as they are in the answer, without what ends them.
    pub(crate) records: Vec<&'a str>,
}

/// Returns why pages of CSV that is written like this cannot be joined.
pub(crate) fn unsupported(options: &CsvOptions) -> Option<&'static str> {
    let is_long = |delimiter: &String| delimiter.len() != 1;
    if options.delimiter.as_ref().is_some_and(is_long) {
        return Some("csv.delimiter of several characters");
    }
    if options.skip_lines > 0 {
        return Some("csv.skip_lines");
    }
    options.comment.map(|_| "csv.comment")
}

impl<'a> Table<'a> {
    /// Finds the records of a page.
    pub(crate) fn read(
        body: &'a str,
        format: Format,
        options: &CsvOptions,
    ) -> Result<Self, PageError> {
        let usual = if format == Format::Tsv { b'\t' } else { b',' };
        let delimiter = options.delimiter.as_ref();
        let delimiter = delimiter.and_then(|text| text.bytes().next());
        let quote = match options.quote {
            Quote::Usual => Some(b'"'),
            Quote::None => None,
            Quote::Byte(quote) => Some(quote),
        };
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter.unwrap_or(usual))
            .quoting(quote.is_some())
            .quote(quote.unwrap_or(b'"'))
            .escape(options.escape)
            .has_headers(false)
            .flexible(true)
            .from_reader(body.as_bytes());
        let mut record = ByteRecord::new();
        let mut records = Vec::new();
        loop {
            let start = reader.position().byte();
            if !reader.read_byte_record(&mut record)? {
                break;
            }
            let (start, end) = (index(start), index(reader.position().byte()));
            let text = body.get(start..end).unwrap_or_default();
            records.push(text.trim_matches(['\r', '\n']));
        }
        let named = usize::try_from(options.header_records).unwrap_or(usize::MAX);
        let header = records.drain(..named.min(records.len()));
        let header = header.collect::<Vec<_>>().join("\n");
        Ok(Self { header, records })
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, options: &CsvOptions) -> (String, Vec<String>) {
        let table = Table::read(body, Format::Csv, options).unwrap();
        let records = table.records.into_iter().map(str::to_owned).collect();
        (table.header, records)
    }

    #[test]
    fn records_are_found_as_files_have_them() {
        let usual = CsvOptions::default();
        let body = "id,name\r\n1,\"a\r\n\"\"b\"\r\n\r\n2,c";
        let expected = vec!["1,\"a\r\n\"\"b\"".to_owned(), "2,c".to_owned()];
        assert_eq!(read(body, &usual), ("id,name".to_owned(), expected));
        assert_eq!(read("id,name\n", &usual), ("id,name".to_owned(), vec![]));
        assert_eq!(read("", &usual), (String::new(), vec![]));
    }

    #[test]
    fn options_of_the_dataset_say_where_records_end() {
        let semicolons = CsvOptions {
            delimiter: Some(";".to_owned()),
            header_records: 0,
            ..CsvOptions::default()
        };
        let (header, records) = read("1;\"a\nb\"\n2;c\n", &semicolons);
        assert_eq!((header.as_str(), records.len()), ("", 2));
        let unquoted = CsvOptions {
            quote: Quote::None,
            ..CsvOptions::default()
        };
        assert_eq!(read("id\n\"a\nb\"\n", &unquoted).1, ["\"a", "b\""]);
    }
}

//! Files that are polluted in the ways of the Pollock benchmark (Vitagliano et al., 2023), read with what is inferred
//! alone: delimiters, quotes, escapes, line ends, preambles, headers, encodings, surplus and missing cells.

use landfall_formats::infer::Source;

use crate::suggest;
use crate::tests::reader;

const HEADER: [&str; 5] = ["id", "name", "remark", "price", "added"];
const REMARKS: [&str; 4] = ["red", "blue, dark; or: light", "say \"hi\"", "it's"];
const ROWS: usize = 60;

/// How a file is written.
struct Form {
    delimiter: &'static str,
    quote: char,
    /// Whether every cell has quotes.
    all: bool,
    /// What precedes a quote in a quoted cell.
    escape: char,
    end: &'static str,
}

const USUAL: Form = Form {
    delimiter: ",",
    quote: '"',
    all: false,
    escape: '"',
    end: "\n",
};

impl Form {
    fn cell(&self, cell: &str) -> String {
        let special = [self.delimiter, "\n", " "];
        let is_special = cell.contains(self.quote) || special.iter().any(|it| cell.contains(it));
        if !self.all && !is_special {
            return cell.to_owned();
        }
        let quote = self.quote.to_string();
        let escaped = cell.replace(self.quote, &format!("{}{quote}", self.escape));
        format!("{quote}{escaped}{quote}")
    }

    fn line<T: AsRef<str>>(&self, cells: &[T]) -> String {
        let cells: Vec<_> = cells.iter().map(|cell| self.cell(cell.as_ref())).collect();
        cells.join(self.delimiter) + self.end
    }

    fn rows(&self) -> String {
        let row = |row: usize| {
            let remark = REMARKS[row % 4].replace('"', &self.quote.to_string());
            let day = format!("2026-03-{:02}", row % 28 + 1);
            let cells = [(row + 1).to_string(), format!("Item {row}"), remark];
            [&cells[..], &[format!("{row}.25"), day]].concat()
        };
        (0..ROWS).map(|number| self.line(&row(number))).collect()
    }

    fn file(&self) -> String {
        self.line(&HEADER) + &self.rows()
    }
}

/// Asserts that all rows of a file fit what is inferred from it, with the types of their columns.
fn check(pollution: &str, file: &[u8]) {
    let source = Source {
        dataset: "items",
        file: "items.csv",
        size: file.len() as u64,
    };
    let Ok(suggested) = suggest(source, reader(file));
    let suggestion = suggested.unwrap_or_else(|problem| panic!("{pollution}: {problem}"));
    let report = &suggestion.report;
    let counts = (report.rows, report.rejected);
    let definition = &suggestion.definition;
    assert_eq!(counts, (ROWS as u64, 0), "{pollution}: {definition}");
    let kinds = suggestion.inferred.fields.iter();
    let kinds: Vec<_> = kinds.map(|field| field.kind.as_str()).take(5).collect();
    let expected = ["integer", "text", "text", "decimal", "date"];
    assert_eq!(kinds, expected, "{pollution}: {definition}");
}

#[test]
fn dialects_are_found() {
    for delimiter in [",", "\t", ";", "|", ":", "^", "~", "#", " "] {
        for (quote, escape) in [('"', '"'), ('"', '\\'), ('\'', '\'')] {
            for (all, end) in [(false, "\n"), (true, "\n"), (false, "\r\n"), (true, "\r")] {
                let form = Form {
                    delimiter,
                    quote,
                    all,
                    escape,
                    end,
                };
                let pollution = format!("{delimiter:?} {quote:?} {escape:?} {all} {end:?}");
                check(&pollution, form.file().as_bytes());
            }
        }
    }
}

#[test]
fn what_surrounds_the_table_is_skipped() {
    let (file, rows) = (USUAL.file(), USUAL.rows());
    let lines = |from: &str| from.replace('\n', ",\n");
    let header = USUAL.line(&HEADER);
    for (pollution, file) in [
        ("a title", format!("List of items\n{file}")),
        ("a preamble", format!("List of items\nOf today\n\n{file}")),
        ("a title of cells", format!("List,,,,\n,,,,\n{file}")),
        (
            "comments",
            format!("# List of items\n# draft, by me\n{file}"),
        ),
        ("no header", rows.clone()),
        ("surplus delimiters", lines(&file)),
        ("surplus delimiters of rows", header.clone() + &lines(&rows)),
        ("no last line end", file.trim_end().to_owned()),
        ("blank lines", file.replace("\n7,", "\n\n\n7,")),
        (
            "a repeated header",
            file.replace("\n9,", &format!("\n{header}9,")),
        ),
        ("names that repeat", file.replacen("remark", "name", 1)),
        ("a column without a name", file.replacen("remark", "", 1)),
        (
            "a name of two lines",
            file.replacen("remark", "\"re\nmark\"", 1),
        ),
        ("a line for the delimiter", format!("sep=,\n{file}")),
    ] {
        check(pollution, file.as_bytes());
    }
}

#[test]
fn encodings_are_found() {
    let file = USUAL.file().replace("Item", "Stück");
    let units = |unit: fn(u16) -> [u8; 2]| file.encode_utf16().flat_map(unit).collect();
    let latin = file.chars().map(|char| u8::try_from(u32::from(char)));
    let (little, big): (Vec<u8>, Vec<u8>) = (units(u16::to_le_bytes), units(u16::to_be_bytes));
    check(
        "windows-1252",
        &latin.collect::<Result<Vec<_>, _>>().unwrap(),
    );
    check("UTF-16LE", &little);
    check("UTF-16BE", &big);
    check("UTF-16 with a mark", &[&[0xff, 0xfe][..], &little].concat());
    check(
        "UTF-8 with a mark",
        &["\u{feff}", &file].concat().into_bytes(),
    );
}

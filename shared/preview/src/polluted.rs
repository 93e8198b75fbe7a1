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
    check_rejects(pollution, file, 0);
}

/// Asserts that all rows of the table do, and that so many records that are none are rejects.
fn check_rejects(pollution: &str, file: &[u8], rejects: u64) {
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
    let expected = (ROWS as u64 + rejects, rejects);
    assert_eq!(counts, expected, "{pollution}: {definition}");
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
        ("a header twice in a row", header.clone() + &file),
        (
            "a quote that opens in the header",
            file.replacen(&header, &format!("\"{header}"), 1),
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
fn delimiters_of_two_characters_are_found() {
    for delimiter in ["||", ";;", "::", "~|", ", ", "\t\t"] {
        for all in [false, true] {
            let form = Form {
                delimiter,
                all,
                ..USUAL
            };
            check(delimiter, form.file().as_bytes());
        }
    }
    let spaced = USUAL.file().replace(',', ", ").replace('"', "");
    let lines = spaced.lines().filter(|line| !line.contains(';'));
    let spaced = lines.collect::<Vec<_>>().join("\n") + "\n";
    let source = Source {
        dataset: "items",
        file: "items.csv",
        size: spaced.len() as u64,
    };
    let Ok(Ok(suggestion)) = suggest(source, reader(spaced.as_bytes())) else {
        panic!("spaces after delimiters");
    };
    let row = suggestion.report.first_rows[0].row.get();
    assert!(row.contains("\"name\":\"Item 0\""), "{row}");
}

#[test]
fn other_escapes_are_found() {
    for escape in ['\\', '^', '`'] {
        let form = Form { escape, ..USUAL };
        check(&format!("{escape:?}"), form.file().as_bytes());
    }
}

#[test]
fn headers_of_several_lines_are_found() {
    let rows = USUAL.rows();
    let line = |cells: [&str; 5]| USUAL.line(&cells);
    let header = USUAL.line(&HEADER);
    let units = line(["no.", "", "", "EUR", "y-m-d"]);
    let groups = line(["Item", "", "", "Sale", ""]);
    for (pollution, lines) in [
        ("units", vec![&header, &units]),
        ("groups", vec![&groups, &header]),
        ("groups and units", vec![&groups, &header, &units]),
    ] {
        let lines: Vec<_> = lines.into_iter().map(String::as_str).collect();
        check(pollution, (lines.concat() + &rows).as_bytes());
    }
    // A row with one value that is missing names no columns.
    let missing = line(["0", "Item", "red", "on request", "2026-03-01"]);
    let file = [&header, &missing, &rows].map(String::as_str).concat();
    let source = Source {
        dataset: "items",
        file: "items.csv",
        size: file.len() as u64,
    };
    let Ok(Ok(suggestion)) = suggest(source, reader(file.as_bytes())) else {
        panic!("a value that is missing");
    };
    assert_eq!(suggestion.report.rows, ROWS as u64 + 1);
}

#[test]
fn what_follows_the_table_is_rejected() {
    let file = USUAL.file();
    let other = "code,label,text,count,day\n".to_owned() + &"a1,b,c,x,mon\n".repeat(20);
    let header = USUAL.line(&HEADER);
    for (pollution, file, rejects) in [
        ("a note", format!("{file}\nSource: the shop\n"), 1),
        ("a note of cells", format!("{file},,,,\nSource,,,,\n"), 1),
        ("a total", format!("{file}Total,,,1785.00,\n"), 1),
        ("a table of as many columns", format!("{file}\n{other}"), 21),
        ("a table of fewer columns", format!("{file}\na,b\n1,2\n"), 2),
        (
            "a broken first row",
            file.replacen(&header, &format!("{header}1,broken\n"), 1),
            1,
        ),
        (
            "a first row of other delimiters",
            file.replacen(&header, &format!("{header}1 Item red 1.25 2026-03-01\n"), 1),
            1,
        ),
    ] {
        check_rejects(pollution, file.as_bytes(), rejects);
    }
    let lines = "A title\n\n".to_owned() + &file;
    check("a title and CR", lines.replace('\n', "\r").as_bytes());
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

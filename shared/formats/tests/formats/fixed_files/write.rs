//! Writes files in their layout, with or without faults.

use landfall_domain::{Format, Quote};
use serde_json::Value as Json;

use super::generate::{Cell, Fault, File, Layout};

impl File {
    /// Returns the object, with or without faults.
    pub(super) fn object(&self, with_faults: bool) -> String {
        let mut object = String::new();
        if matches!(self.layout, Layout::Csv | Layout::Tsv) {
            // Names match whatever their case, and with blanks around them.
            let names = self.columns.iter().map(|column| match column.1 {
                "SKU" => "\" sku\"".replace('"', &self.quote()),
                name => name.to_owned(),
            });
            object = names.collect::<Vec<_>>().join(&self.delimiter()) + "\n";
        }
        for (number, (cells, fault)) in self.records.iter().enumerate() {
            let fault = if with_faults { *fault } else { Fault::None };
            let texts = self.columns.iter().zip(cells).map(|(column, cell)| {
                let text = match column.1 {
                    "SKU" => format!("{}{number}", cell.text),
                    _ => cell.text.to_owned(),
                };
                match (fault, column.1) {
                    (Fault::Number, "n") => format!("x{}", &text[1..]),
                    (Fault::Operation, "op") => text.replace(['u', 'D'], "x"),
                    _ => text,
                }
            });
            let texts: Vec<String> = texts.collect();
            object += &if self.layout.is_json() {
                self.json(cells, &texts)
            } else {
                self.csv(cells, &texts, fault)
            };
            object += if self.layout.format() == Format::Json {
                ",\n"
            } else {
                "\n"
            };
        }
        match self.layout.format() {
            Format::Json => format!("[\n{}\n]", object.trim_end_matches(",\n")),
            _ => object,
        }
    }

    fn delimiter(&self) -> String {
        let usual = if self.layout == Layout::Tsv {
            "\t"
        } else {
            ","
        };
        let delimiter = self.dataset.csv.delimiter.as_deref();
        delimiter.unwrap_or(usual).to_owned()
    }

    fn quote(&self) -> String {
        match self.dataset.csv.quote {
            Quote::Byte(byte) => char::from(byte).to_string(),
            _ => "\"".to_owned(),
        }
    }

    fn needs_quotes(&self, text: &str) -> bool {
        let special = [&self.quote(), &self.delimiter(), "\n", "|"];
        special.iter().any(|special| text.contains(*special)) || text.trim() != text
    }

    /// Returns where a delimiter can be missing so that the record is still one record.
    fn missing_delimiter(&self, cells: &[Cell], texts: &[String]) -> Option<usize> {
        let plain = |index: &usize| !cells[*index].is_quoted && !self.needs_quotes(&texts[*index]);
        let is_possible = !self.dataset.csv.flexible && self.layout != Layout::CsvPositions;
        (1..texts.len()).rev().find(plain).filter(|_| is_possible)
    }

    fn csv(&self, cells: &[Cell], texts: &[String], fault: Fault) -> String {
        let (delimiter, quote) = (self.delimiter(), self.quote());
        let missing = self.missing_delimiter(cells, texts);
        let missing = missing.filter(|_| fault == Fault::Cells);
        let mut record = String::new();
        for (index, (cell, text)) in cells.iter().zip(texts).enumerate() {
            if Some(index) == missing {
                record += &"x".repeat(delimiter.len());
            } else if index > 0 {
                record += &delimiter;
            }
            if cell.is_quoted || self.needs_quotes(text) {
                let doubled = text.replace(&quote, &quote.repeat(2));
                record.extend([&*quote, &doubled, &quote]);
            } else {
                record += text;
            }
        }
        record
    }

    fn json(&self, cells: &[Cell], texts: &[String]) -> String {
        let values = self.columns.iter().zip(cells).zip(texts);
        let values = values.map(|((column, cell), text)| {
            let is_json = serde_json::from_str::<Json>(text).is_ok();
            let is_raw = match column.1 {
                "j" => is_json,
                "SKU" | "n" | "op" | "b" => false,
                _ => is_json && cell.is_quoted,
            };
            let value = if is_raw {
                text.replace('\n', " ")
            } else {
                Json::from(text.as_str()).to_string()
            };
            (column.1, value)
        });
        if self.layout == Layout::JsonArrays {
            let values: Vec<String> = values.map(|(_, value)| value).collect();
            return format!("[{}]", values.join(", "));
        }
        let properties = values.map(|(name, value)| match name.split_once('.') {
            Some((outer, inner)) => format!("\"{outer}\": {{\"{inner}\": {value}}}"),
            None => format!("\"{name}\": {value}"),
        });
        format!("{{{}}}", properties.collect::<Vec<_>>().join(", "))
    }
}

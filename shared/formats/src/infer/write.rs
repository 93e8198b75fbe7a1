//! Writes an inferred definition as TOML with comments.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{Inferred, Setting};

/// Returns a text as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(char);
            }
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            char if char.is_control() => {
                // Writing to a text cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

/// Returns a list of texts in TOML.
pub(super) fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

impl Inferred {
    /// Returns the definition in few lines, without comments.
    pub fn to_short_toml(&self) -> String {
        let mut lines = vec![
            format!("name = {}", quoted(&self.name)),
            format!("key = {}", self.key.to_toml()),
            format!("format = {}", quoted(self.format.as_str())),
        ];
        let setting = |setting: &Setting| format!("{} = {}", setting.name, setting.value);
        lines.extend(self.settings.iter().map(setting));
        lines.push("fields = [".to_owned());
        lines.extend(self.fields.iter().map(|field| {
            let settings: Vec<_> = field.settings.iter().map(setting).collect();
            format!("  {{ {} }},", settings.join(", "))
        }));
        lines.push("]\n".to_owned());
        lines.join("\n")
    }
}

impl Display for Inferred {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "# Inferred from {}.", self.looked_at)?;
        for note in &self.notes {
            comment(out, note)?;
        }
        line(out, "name", &quoted(&self.name), "")?;
        line(out, "key", &self.key.to_toml(), &self.key.note)?;
        line(out, "format", &quoted(self.format.as_str()), "")?;
        for setting in &self.settings {
            line(out, setting.name, &setting.value, &setting.note)?;
        }
        for field in &self.fields {
            writeln!(out, "\n[[fields]]")?;
            for setting in &field.settings {
                line(out, setting.name, &setting.value, &setting.note)?;
            }
        }
        Ok(())
    }
}

fn line(out: &mut Formatter<'_>, name: &str, value: &str, note: &str) -> fmt::Result {
    if !note.is_empty() {
        comment(out, note)?;
    }
    writeln!(out, "{name} = {value}")
}

/// Writes a comment of one line.
fn comment(out: &mut Formatter<'_>, note: &str) -> fmt::Result {
    let note = note.replace(|char: char| char.is_control(), " ");
    writeln!(out, "# {note}")
}

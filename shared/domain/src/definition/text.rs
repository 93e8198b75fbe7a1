use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;

use super::suggest::{self, Tables};

/// What is wrong with a definition, and where.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {field}: {message}")]
pub struct InvalidDefinition {
    /// Name of the file.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// The name of the field, the path of the setting, or `syntax`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// The text of a definition, from which errors take their line.
#[derive(Clone, Copy, Debug)]
pub struct DefinitionText<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// The TOML.
    pub text: &'a str,
}

impl DefinitionText<'_> {
    /// Parses the definition to its settings. The message for an unknown setting suggests one of `tables`.
    pub fn parse<T: DeserializeOwned>(&self, tables: Tables) -> Result<T, InvalidDefinition> {
        toml::from_str(self.text).map_err(|error| {
            let message = error.message().trim();
            let suggestion = suggest::unknown_name(message, tables);
            self.syntax_error(&error, &suggestion.unwrap_or_else(|| message.to_owned()))
        })
    }

    /// Returns the value of a setting, or its error with the line of the setting.
    pub fn check<'s, T, V, E: Into<String>>(
        &self,
        field: &str,
        setting: &'s Spanned<T>,
        check: impl FnOnce(&'s T) -> Result<V, E>,
    ) -> Result<V, InvalidDefinition> {
        check(setting.get_ref()).map_err(|message| self.error(&setting.span(), field, message))
    }

    /// Does the same for a setting that may be missing.
    pub fn check_optional<'s, T, V, E: Into<String>>(
        &self,
        field: &str,
        setting: Option<&'s Spanned<T>>,
        check: impl FnOnce(&'s T) -> Result<V, E>,
    ) -> Result<Option<V>, InvalidDefinition> {
        let checked = setting.map(|setting| self.check(field, setting, check));
        checked.transpose()
    }

    /// Returns the error for a setting at `span`.
    pub fn error(
        &self,
        span: &Range<usize>,
        field: &str,
        message: impl Into<String>,
    ) -> InvalidDefinition {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        InvalidDefinition {
            file: self.file.to_owned(),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// Returns the error of a definition that is not valid TOML or does not have its structure.
    fn syntax_error(&self, error: &toml::de::Error, message: &str) -> InvalidDefinition {
        let span = error.span().unwrap_or(0..0);
        let setting = self.setting_at(span.start).unwrap_or("syntax");
        self.error(&span, setting, message)
    }

    /// Returns the name of the setting on the line of this byte, if the line starts with one.
    fn setting_at(&self, byte: usize) -> Option<&str> {
        let before = self.text.get(..byte)?;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next()?;
        let name = line.split(['=', ' ']).next()?.trim();
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']');
        (!name.is_empty() && name.bytes().all(is_plain)).then(|| name.trim_matches(['[', ']']))
    }
}

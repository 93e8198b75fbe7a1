use std::fmt::Display;
use std::str::FromStr;

/// An environment variable of a function is missing or invalid.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// It is not set.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// It cannot be parsed.
    #[error("the environment variable {name} is invalid: {reason}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

/// Parses an environment variable that must be set.
pub fn required<T>(name: &'static str) -> Result<T, SettingError>
where
    T: FromStr<Err: Display>,
{
    optional(name)?.ok_or(SettingError::Missing(name))
}

/// Parses an environment variable that may be missing or empty.
pub fn optional<T>(name: &'static str) -> Result<Option<T>, SettingError>
where
    T: FromStr<Err: Display>,
{
    let invalid = |reason: String| SettingError::Invalid { name, reason };
    match std::env::var(name) {
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(invalid(error.to_string())),
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text
            .parse()
            .map(Some)
            .map_err(|error: T::Err| invalid(error.to_string())),
    }
}

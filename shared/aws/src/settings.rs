use std::fmt::Display;
use std::str::FromStr;

/// A setting of a function, in its environment, is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// It is not set.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// It is not of its type.
    #[error("the environment variable {name} is not valid: {reason}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

/// A setting that must be there.
pub fn required<T>(name: &'static str) -> Result<T, SettingError>
where
    T: FromStr,
    T::Err: Display,
{
    optional(name)?.ok_or(SettingError::Missing(name))
}

/// A setting that may be missing or empty.
pub fn optional<T>(name: &'static str) -> Result<Option<T>, SettingError>
where
    T: FromStr,
    T::Err: Display,
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

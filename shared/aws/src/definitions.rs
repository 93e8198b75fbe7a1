use std::sync::Arc;

use landfall_domain::{InvalidDefinition, is_name};

use crate::{AwsError, Failure, MAX_DEFINITION_BYTES, Objects};

const SUFFIX: &str = ".toml";

/// The definitions of one kind in the configuration bucket, at `<kind>/<name>.toml`. They are not cached here.
pub(crate) struct Definitions {
    objects: Arc<dyn Objects>,
    bucket: String,
    prefix: &'static str,
}

/// The text of a definition.
pub(crate) struct DefinitionFile {
    pub(crate) file: String,
    pub(crate) text: String,
}

impl Definitions {
    /// Returns the definitions in this bucket. `prefix` is the kind with a slash.
    pub(crate) fn new(objects: Arc<dyn Objects>, bucket: String, prefix: &'static str) -> Self {
        Self {
            objects,
            bucket,
            prefix,
        }
    }

    /// Returns the names that have a definition, with its `ETag`, sorted by name, those after `after`, at most 1,000.
    pub(crate) async fn list(
        &self,
        after: Option<&str>,
    ) -> Result<Vec<(String, String)>, AwsError> {
        let after = after.map(|name| self.key(name));
        let listed = self
            .objects
            .list(&self.bucket, self.prefix, after.as_deref());
        let listed = listed.await?.into_iter().filter_map(|object| {
            let name = object.key.strip_prefix(self.prefix)?.strip_suffix(SUFFIX)?;
            is_name(name).then(|| (name.to_owned(), object.etag))
        });
        Ok(listed.collect())
    }

    /// Reads a definition. `None` stands for one that does not exist, or whose name is not valid.
    pub(crate) async fn read(
        &self,
        name: &str,
    ) -> Result<Option<Result<DefinitionFile, InvalidDefinition>>, AwsError> {
        if !is_name(name) {
            return Ok(None);
        }
        let file = self.key(name);
        let text = self
            .objects
            .read_text(&self.bucket, &file, None, MAX_DEFINITION_BYTES);
        match text.await {
            Ok(Some((text, _))) => Ok(Some(Ok(DefinitionFile { file, text }))),
            Ok(None) => Ok(None),
            Err(AwsError::Call {
                failure: Failure::UnexpectedResponse,
                reason,
                ..
            }) => Ok(Some(Err(InvalidDefinition {
                file,
                line: 1,
                field: "file".to_owned(),
                message: reason,
            }))),
            Err(error) => Err(error),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}{SUFFIX}", self.prefix)
    }
}

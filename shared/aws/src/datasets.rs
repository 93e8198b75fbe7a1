use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use landfall_domain::{Dataset, DatasetRef, InvalidDefinition, is_name};

use crate::{AwsError, Failure, Objects};

/// How long a definition is cached.
const FRESH: Duration = Duration::from_mins(1);
/// The maximum size of a definition in bytes.
pub const MAX_DEFINITION_BYTES: usize = 256 * 1024;
/// The maximum number of cached definitions.
const MAX_CACHED: usize = 200;

pub(crate) const PREFIX: &str = "datasets/";
const SUFFIX: &str = ".toml";
const MEDIA_TYPE: &str = "application/toml";

/// The result of looking up a dataset.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A valid definition.
    Found(Arc<Dataset>, DatasetRef),
    /// A definition with an error.
    Bad(InvalidDefinition, DatasetRef),
    /// There is no definition, or the name is not a valid one.
    Unknown,
}

/// Why the definition that a job was planned with is not available.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It could not be read.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// It is invalid.
    #[error("the definition that the job was planned with is invalid: {0}")]
    Invalid(InvalidDefinition),
    /// It no longer exists.
    #[error("the definition of dataset {0} that the job was planned with no longer exists")]
    Gone(String),
}

impl DefinitionError {
    /// Returns whether another attempt may succeed.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Aws(error) if error.retryable())
    }
}

/// The definitions of datasets in the configuration bucket, at `datasets/<name>.toml`.
///
/// They are cached for a minute, and without limit when read by version.
pub struct Datasets {
    objects: Arc<dyn Objects>,
    bucket: String,
    /// By name, and by version unless the latest was requested.
    cache: Mutex<HashMap<DatasetRef, (SystemTime, Lookup)>>,
    names: Mutex<Option<(SystemTime, Arc<[String]>)>>,
}

impl Datasets {
    /// Returns the definitions in this bucket.
    pub fn new(objects: Arc<dyn Objects>, bucket: impl Into<String>) -> Self {
        Self {
            objects,
            bucket: bucket.into(),
            cache: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// Returns the latest definition, at most a minute old.
    pub async fn latest(&self, name: &str) -> Result<Lookup, AwsError> {
        let latest = DatasetRef {
            name: name.to_owned(),
            version: None,
        };
        self.lookup(&latest).await
    }

    /// Returns the definition that a job was planned with, or why it cannot be used.
    pub async fn require(&self, dataset: &DatasetRef) -> Result<Arc<Dataset>, DefinitionError> {
        match self.lookup(dataset).await? {
            Lookup::Found(dataset, _) => Ok(dataset),
            Lookup::Bad(error, _) => Err(DefinitionError::Invalid(error)),
            Lookup::Unknown => Err(DefinitionError::Gone(dataset.name.clone())),
        }
    }

    /// Returns the sorted names of the datasets that have a definition, at most a minute old and at most 1,000.
    pub async fn names(&self) -> Result<Arc<[String]>, AwsError> {
        self.names_within(FRESH).await
    }

    /// Returns the same names, at most so old.
    pub async fn names_within(&self, age: Duration) -> Result<Arc<[String]>, AwsError> {
        let cached = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, names)) = &*cached()
            && is_within(*since, age)
        {
            return Ok(Arc::clone(names));
        }
        let listed = self.objects.list(&self.bucket, PREFIX, None).await?;
        let names: Arc<[String]> = listed
            .iter()
            .filter_map(|object| object.key.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
            .filter(|name| is_name(name))
            .map(ToOwned::to_owned)
            .collect();
        *cached() = Some((SystemTime::now(), Arc::clone(&names)));
        Ok(names)
    }

    /// Stores the definition of a dataset that has none. Returns whether it had none.
    pub async fn create(&self, name: &str, definition: String) -> Result<bool, AwsError> {
        let key = format!("{PREFIX}{name}{SUFFIX}");
        let body = Bytes::from(definition);
        let created = self
            .objects
            .create(&self.bucket, &key, MEDIA_TYPE, body)
            .await?;
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(created)
    }

    /// Returns the given version of a definition, or the latest one if no version is given. In a bucket without
    /// versions, this is always the latest one.
    pub async fn lookup(&self, requested: &DatasetRef) -> Result<Lookup, AwsError> {
        let name = &requested.name;
        if !is_name(name) {
            return Ok(Lookup::Unknown);
        }
        if let Some(cached) = self.cached(requested) {
            return Ok(cached);
        }
        let key = format!("{PREFIX}{name}{SUFFIX}");
        let invalid = |field: &str, message: String| InvalidDefinition {
            file: key.clone(),
            line: 1,
            field: field.to_owned(),
            message,
        };
        let version = requested.version.as_deref();
        let answer = self
            .objects
            .read_text(&self.bucket, &key, version, MAX_DEFINITION_BYTES);
        let (text, version) = match answer.await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Lookup::Unknown),
            Err(AwsError::Call {
                failure: Failure::UnexpectedResponse,
                reason,
                ..
            }) => return Ok(Lookup::Bad(invalid("file", reason), requested.clone())),
            Err(error) => return Err(error),
        };
        // The next lookup may be by this version.
        let reference = DatasetRef {
            name: name.clone(),
            version,
        };
        let found = match Dataset::from_toml(&key, &text) {
            Ok(dataset) if dataset.name == *name => {
                Lookup::Found(Arc::new(dataset), reference.clone())
            }
            Ok(dataset) => {
                let message = format!(
                    "is {:?}, but the file is named after {name:?}: the names must be equal",
                    dataset.name
                );
                Lookup::Bad(invalid("name", message), reference.clone())
            }
            Err(error) => Lookup::Bad(error, reference.clone()),
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() + 2 > MAX_CACHED {
            cache.clear();
        }
        let now = SystemTime::now();
        cache.insert(requested.clone(), (now, found.clone()));
        cache.insert(reference, (now, found.clone()));
        Ok(found)
    }

    fn cached(&self, requested: &DatasetRef) -> Option<Lookup> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, lookup) = cache.get(requested)?;
        (requested.version.is_some() || is_fresh(*since)).then(|| lookup.clone())
    }
}

/// Compares wall-clock time: the monotonic clock may stop while a function is frozen.
fn is_fresh(since: SystemTime) -> bool {
    is_within(since, FRESH)
}

fn is_within(since: SystemTime, age: Duration) -> bool {
    // The age is unknown if the clock was set back.
    since.elapsed().is_ok_and(|elapsed| elapsed < age)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use landfall_domain::{ByteRange, ObjectRef};

    use super::*;
    use crate::Listed;

    const DEFINITION: &str =
        "name = \"d\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"text\" }]";

    /// A bucket with one definition that counts its reads.
    #[derive(Default)]
    struct Bucket(AtomicUsize);

    #[async_trait]
    impl Objects for Bucket {
        async fn read(&self, object: &ObjectRef, _: ByteRange) -> Result<Bytes, AwsError> {
            Err(AwsError::Gone(object.key.clone()))
        }

        async fn read_latest(&self, _: &str, key: &str, _: ByteRange) -> Result<Bytes, AwsError> {
            Err(AwsError::Gone(key.to_owned()))
        }

        async fn read_text(
            &self,
            _: &str,
            _: &str,
            version: Option<&str>,
            _: usize,
        ) -> Result<Option<(String, Option<String>)>, AwsError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let version = version.unwrap_or("v2").to_owned();
            Ok(Some((DEFINITION.to_owned(), Some(version))))
        }

        async fn list(&self, _: &str, _: &str, _: Option<&str>) -> Result<Vec<Listed>, AwsError> {
            Ok(Vec::new())
        }

        async fn write(&self, _: &str, key: &str, _: &str, _: Bytes) -> Result<(), AwsError> {
            Err(AwsError::Gone(key.to_owned()))
        }

        async fn create(&self, _: &str, key: &str, _: &str, _: Bytes) -> Result<bool, AwsError> {
            Err(AwsError::Gone(key.to_owned()))
        }
    }

    #[tokio::test]
    async fn a_cached_definition_is_not_read_again_by_version() {
        let bucket = Arc::new(Bucket::default());
        let datasets = Datasets::new(Arc::clone(&bucket) as Arc<dyn Objects>, "config");
        let Lookup::Found(_, latest) = datasets.latest("d").await.unwrap() else {
            panic!("the definition is valid");
        };
        assert_eq!(latest.version.as_deref(), Some("v2"));
        let older = DatasetRef {
            version: Some("v1".to_owned()),
            ..latest.clone()
        };
        for (reference, reads) in [(&latest, 1), (&older, 2), (&latest, 2), (&older, 2)] {
            let Lookup::Found(_, found) = datasets.lookup(reference).await.unwrap() else {
                panic!("the definition is valid");
            };
            assert_eq!(&found, reference);
            assert_eq!(bucket.0.load(Ordering::Relaxed), reads);
        }
    }
}

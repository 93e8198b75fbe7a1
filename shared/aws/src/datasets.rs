use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use landfall_domain::{Dataset, DatasetError, DatasetRef, is_name};

use crate::{AwsError, Objects};

/// How long a definition is used before it is read again.
const FRESH: Duration = Duration::from_mins(1);
/// The most bytes of a definition.
const MAX_BYTES: usize = 256 * 1024;
/// The most definitions that are kept.
const MAX_KEPT: usize = 200;

const PREFIX: &str = "datasets/";
const SUFFIX: &str = ".toml";

/// A name, and the version where a certain one is asked for.
type Place = (String, Option<String>);

/// What there is of a dataset.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Its definition.
    Found(Arc<Dataset>, DatasetRef),
    /// A definition with an error.
    Bad(DatasetError, DatasetRef),
    /// None: no definition, or a name that cannot be one's.
    Unknown,
}

/// Datasets' definitions in the configuration bucket, at `datasets/<name>.toml`; kept for a minute,
/// a certain version of one for good.
pub struct Datasets {
    objects: Arc<dyn Objects>,
    bucket: String,
    kept: Mutex<HashMap<Place, (SystemTime, Lookup)>>,
    names: Mutex<Option<(SystemTime, Arc<[String]>)>>,
}

impl Datasets {
    /// The definitions in this bucket.
    pub fn new(objects: Arc<dyn Objects>, bucket: impl Into<String>) -> Self {
        Self {
            objects,
            bucket: bucket.into(),
            kept: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// The definition as it is now, or was at most a minute ago.
    pub async fn latest(&self, name: &str) -> Result<Lookup, AwsError> {
        self.find(name, None).await
    }

    /// The definition that a job was planned with. Where the bucket has no versions it is the latest.
    pub async fn pinned(&self, dataset: &DatasetRef) -> Result<Lookup, AwsError> {
        self.find(&dataset.name, dataset.version.as_deref()).await
    }

    /// Names of the datasets that have a definition, sorted, as they are now or were at most a minute ago; of
    /// more than 1,000 the first.
    pub async fn names(&self) -> Result<Arc<[String]>, AwsError> {
        let kept = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, names)) = &*kept()
            && is_fresh(*since)
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
        *kept() = Some((SystemTime::now(), Arc::clone(&names)));
        Ok(names)
    }

    async fn find(&self, name: &str, version: Option<&str>) -> Result<Lookup, AwsError> {
        if !is_name(name) {
            return Ok(Lookup::Unknown);
        }
        let place = (name.to_owned(), version.map(ToOwned::to_owned));
        if let Some(kept) = self.kept(&place) {
            return Ok(kept);
        }
        let key = format!("{PREFIX}{name}{SUFFIX}");
        let answer = self
            .objects
            .read_text(&self.bucket, &key, version, MAX_BYTES);
        let read = match answer.await {
            Err(AwsError::Answer { reason, .. }) => {
                let error = DatasetError {
                    file: key,
                    line: 1,
                    field: "file".to_owned(),
                    message: reason,
                };
                let reference = DatasetRef {
                    name: name.to_owned(),
                    version: version.map(ToOwned::to_owned),
                };
                return Ok(Lookup::Bad(error, reference));
            }
            read => read?,
        };
        let Some((text, version)) = read else {
            return Ok(Lookup::Unknown);
        };
        let reference = DatasetRef {
            name: name.to_owned(),
            version,
        };
        // Whoever is told of this version may ask for it by its number next.
        let pinned = (name.to_owned(), reference.version.clone());
        let found = match Dataset::from_toml(&key, &text) {
            Ok(dataset) if dataset.name == name => Lookup::Found(Arc::new(dataset), reference),
            Ok(dataset) => {
                let error = DatasetError {
                    file: key,
                    line: 1,
                    field: "name".to_owned(),
                    message: format!(
                        "is {:?}, but the file is that of {name:?}: both must be the same",
                        dataset.name
                    ),
                };
                Lookup::Bad(error, reference)
            }
            Err(error) => Lookup::Bad(error, reference),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() + 2 > MAX_KEPT {
            kept.clear();
        }
        let now = SystemTime::now();
        kept.insert(place, (now, found.clone()));
        kept.insert(pinned, (now, found.clone()));
        Ok(found)
    }

    fn kept(&self, place: &Place) -> Option<Lookup> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, lookup) = kept.get(place)?;
        (place.1.is_some() || is_fresh(*since)).then(|| lookup.clone())
    }
}

/// Of wall-clock time: the other one may stand still while a function is frozen.
fn is_fresh(since: SystemTime) -> bool {
    // A clock that was set back makes it unknown.
    since.elapsed().is_ok_and(|age| age < FRESH)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use landfall_domain::{ByteRange, ObjectRef};

    use super::*;
    use crate::Listed;

    const DEFINITION: &str =
        "name = \"d\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"text\" }]";

    /// A bucket with one definition, which counts how often it is read.
    #[derive(Default)]
    struct Bucket(AtomicUsize);

    #[async_trait]
    impl Objects for Bucket {
        async fn read(&self, object: &ObjectRef, _: ByteRange) -> Result<Bytes, AwsError> {
            Err(AwsError::Gone(object.key.clone()))
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
    }

    #[tokio::test]
    async fn a_definition_that_was_read_is_not_read_again_by_its_version() {
        let bucket = Arc::new(Bucket::default());
        let datasets = Datasets::new(Arc::clone(&bucket) as Arc<dyn Objects>, "config");
        let Lookup::Found(_, latest) = datasets.latest("d").await.unwrap() else {
            panic!("the definition is good");
        };
        assert_eq!(latest.version.as_deref(), Some("v2"));
        let older = DatasetRef {
            version: Some("v1".to_owned()),
            ..latest.clone()
        };
        for (reference, reads) in [(&latest, 1), (&older, 2), (&latest, 2), (&older, 2)] {
            let Lookup::Found(_, found) = datasets.pinned(reference).await.unwrap() else {
                panic!("the definition is good");
            };
            assert_eq!(&found, reference);
            assert_eq!(bucket.0.load(Ordering::Relaxed), reads);
        }
    }
}

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
        let found = match read {
            None => return Ok(Lookup::Unknown),
            Some((text, version)) => {
                let reference = DatasetRef {
                    name: name.to_owned(),
                    version,
                };
                match Dataset::from_toml(&key, &text) {
                    Ok(dataset) if dataset.name == name => {
                        Lookup::Found(Arc::new(dataset), reference)
                    }
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
                }
            }
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(place, (SystemTime::now(), found.clone()));
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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use landfall_domain::InvalidDefinition;
use landfall_sources::Source;

use crate::definitions::{DefinitionFile, Definitions};
use crate::{AwsError, Datasets, Lookup, Objects};

/// How long a definition is kept. It can be newer than its listing, so that the `ETag` alone proves nothing.
const KEPT_FOR: Duration = Duration::from_mins(15);
/// The maximum number of definitions that are kept, as many as a listing has.
const MAX_KEPT: usize = 1_000;
/// The maximum size in bytes of a definition that is kept.
const MAX_KEPT_BYTES: usize = 16 << 10;

/// The result of looking up a source.
#[derive(Clone, Debug)]
pub enum SourceLookup {
    /// A valid definition, and why its dataset cannot get its records, if that is so.
    Found(Box<Source>, Option<String>),
    /// A definition with an error.
    Bad(InvalidDefinition),
    /// There is no definition, or the name is not a valid one.
    Unknown,
}

/// The name of a definition, and which one it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSource {
    /// The name of the source.
    pub name: String,
    etag: String,
}

/// The definitions of sources in the configuration bucket, at `sources/<name>.toml`. Those that were listed are read
/// again only if they have changed; others are not kept.
pub struct Sources {
    definitions: Definitions,
    kept: Mutex<HashMap<String, Kept>>,
}

/// A definition as it was read, without its dataset.
struct Kept {
    etag: String,
    since: SystemTime,
    source: Box<Source>,
}

impl Sources {
    /// Returns the definitions in this bucket.
    pub fn new(objects: Arc<dyn Objects>, bucket: impl Into<String>) -> Self {
        Self {
            definitions: Definitions::new(objects, bucket.into(), "sources/"),
            kept: Mutex::default(),
        }
    }

    /// Returns the sources that have a definition, sorted by name, those after `after`, at most 1,000.
    pub async fn list(&self, after: Option<&str>) -> Result<Vec<ListedSource>, AwsError> {
        let listed = self.definitions.list(after).await?.into_iter();
        let listed = listed.map(|(name, etag)| ListedSource { name, etag });
        Ok(listed.collect())
    }

    /// Returns the definition of a source that was listed, checked with that of its dataset.
    pub async fn lookup_listed(
        &self,
        listed: &ListedSource,
        datasets: &Datasets,
    ) -> Result<SourceLookup, AwsError> {
        let ListedSource { name, etag } = listed;
        if let Some(source) = self.kept(listed) {
            return fit(source, datasets).await;
        }
        let (source, bytes) = match self.read(name).await? {
            Read::Valid(source, bytes) => (source, bytes),
            Read::Invalid(error) => return Ok(SourceLookup::Bad(error)),
            Read::None => return Ok(SourceLookup::Unknown),
        };
        if !etag.is_empty() && bytes <= MAX_KEPT_BYTES {
            let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MAX_KEPT {
                all.clear();
            }
            let kept = Kept {
                etag: etag.clone(),
                since: SystemTime::now(),
                source: source.clone(),
            };
            all.insert(name.clone(), kept);
        }
        fit(source, datasets).await
    }

    fn kept(&self, listed: &ListedSource) -> Option<Box<Source>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(&listed.name)?;
        // The monotonic clock may stop while a function is frozen.
        let is_fresh = found.since.elapsed().is_ok_and(|age| age < KEPT_FOR);
        (is_fresh && found.etag == listed.etag).then(|| found.source.clone())
    }

    /// Returns the definition of a source, checked with that of its dataset.
    pub async fn lookup(&self, name: &str, datasets: &Datasets) -> Result<SourceLookup, AwsError> {
        match self.read(name).await? {
            Read::Valid(source, _) => fit(source, datasets).await,
            Read::Invalid(error) => Ok(SourceLookup::Bad(error)),
            Read::None => Ok(SourceLookup::Unknown),
        }
    }

    async fn read(&self, name: &str) -> Result<Read, AwsError> {
        let DefinitionFile { file, text } = match self.definitions.read(name).await? {
            None => return Ok(Read::None),
            Some(Err(error)) => return Ok(Read::Invalid(error)),
            Some(Ok(file)) => file,
        };
        Ok(match Source::from_toml(name, &file, &text) {
            Ok(source) => Read::Valid(Box::new(source), text.len()),
            Err(error) => Read::Invalid(error),
        })
    }
}

/// A definition that was read.
enum Read {
    /// The source, and the size of its definition in bytes.
    Valid(Box<Source>, usize),
    Invalid(InvalidDefinition),
    None,
}

/// Checks a source with its dataset, and that of its parents.
async fn fit(mut source: Box<Source>, datasets: &Datasets) -> Result<SourceLookup, AwsError> {
    let mut misfit = match datasets.latest(&source.dataset).await? {
        Lookup::Found(dataset, _) => {
            source.csv = dataset.csv.clone();
            source.check_dataset(&dataset).err()
        }
        Lookup::Bad(error, _) => Some(error.to_string()),
        Lookup::Unknown => Some(format!("there is no dataset {}", source.dataset)),
    };
    if let Some(children) = source.children.as_ref().filter(|_| misfit.is_none()) {
        let of = &children.of;
        misfit = match datasets.latest(of).await? {
            Lookup::Found(parents, _) => children.check_parents(&parents).err(),
            Lookup::Bad(error, _) => Some(error.to_string()),
            Lookup::Unknown => Some(format!("there is no dataset {of}, which [children] names")),
        };
    }
    Ok(SourceLookup::Found(source, misfit))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use landfall_domain::{ByteRange, ObjectRef};

    use super::*;
    use crate::Listed;

    const DATASET: &str =
        "name = \"d\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"text\" }]";

    /// A bucket with a dataset and a source, whose URL and `ETag` have its version.
    #[derive(Default)]
    struct Bucket {
        version: AtomicUsize,
        reads: AtomicUsize,
    }

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
            key: &str,
            _: Option<&str>,
            _: usize,
        ) -> Result<Option<(String, Option<String>)>, AwsError> {
            if key.starts_with("datasets/") {
                return Ok(Some((DATASET.to_owned(), None)));
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
            let version = self.version.load(Ordering::Relaxed);
            let url = format!("https://a.example/{version}");
            let text = format!("dataset = \"d\"\nurl = \"{url}\"\nevery = \"1 hour\"\n");
            Ok(Some((text, None)))
        }

        async fn list(&self, _: &str, _: &str, _: Option<&str>) -> Result<Vec<Listed>, AwsError> {
            Ok(vec![Listed {
                key: "sources/s.toml".to_owned(),
                etag: self.version.load(Ordering::Relaxed).to_string(),
                size: 1,
            }])
        }

        async fn write(&self, _: &str, key: &str, _: &str, _: Bytes) -> Result<(), AwsError> {
            Err(AwsError::Gone(key.to_owned()))
        }

        async fn create(&self, _: &str, key: &str, _: &str, _: Bytes) -> Result<bool, AwsError> {
            Err(AwsError::Gone(key.to_owned()))
        }
    }

    #[tokio::test]
    async fn a_definition_is_read_again_only_after_it_has_changed() {
        let bucket = Arc::new(Bucket::default());
        let objects = Arc::clone(&bucket) as Arc<dyn Objects>;
        let datasets = Datasets::new(Arc::clone(&objects), "config");
        let sources = Sources::new(objects, "config");
        for (version, reads) in [(0, 1), (0, 1), (1, 2), (1, 2)] {
            bucket.version.store(version, Ordering::Relaxed);
            let listed = sources.list(None).await.unwrap();
            let SourceLookup::Found(source, None) =
                sources.lookup_listed(&listed[0], &datasets).await.unwrap()
            else {
                panic!("the definition is valid");
            };
            assert_eq!(source.url.path(), format!("/{version}"));
            assert_eq!(bucket.reads.load(Ordering::Relaxed), reads);
        }
    }
}

//! Objects of datasets that have no definition: one is inferred from a part of the object.

use landfall_aws::AwsError;
use landfall_domain::{
    ByteRange, Codec, Dataset, ObjectRef, Problem, ProblemCode, RejectsOrigin, is_name,
};
use landfall_formats::infer::{Budget, Inferred, Source, infer_parts};
use landfall_ledger::JobHead;
use landfall_packed::unpack_start;
use tracing::info;

use crate::{Context, SplitError};

/// The maximum length of a definition in a problem.
const MAX_SHOWN: usize = 1_500;
/// The number of bytes of a packed object that are read, and of those to which they are unpacked.
const START_BYTES: usize = 1024 * 1024;

/// Creates the definition of the dataset of an object, if that is allowed and one can be inferred. Another splitter may
/// be faster; then its definition stays.
pub(crate) async fn define(
    context: &Context,
    object: &ObjectRef,
    codec: Option<Codec>,
) -> Result<(), SplitError> {
    if !context.auto_datasets || RejectsOrigin::is_key(&object.key) {
        return Ok(());
    }
    if let Some(Ok(inferred)) = infer(context, object, codec).await? {
        let definition = inferred.to_string();
        // Names and values of files may not be what a definition accepts.
        if Dataset::from_toml("inferred.toml", &definition).is_ok() {
            let created = context.datasets.create(&inferred.name, definition).await?;
            info!(dataset = inferred.name, created, "a definition is inferred");
        }
    }
    Ok(())
}

/// Returns the problem of an object whose dataset is unknown, with a definition for it.
pub(crate) async fn problem(context: &Context, head: &JobHead) -> Result<Problem, SplitError> {
    let object = &head.object;
    let codec = head.packed.as_ref().map(|packed| packed.codec);
    let inferred = infer(context, object, codec).await?;
    let message = match (object.dataset_name(), inferred) {
        (None, _) => "the key names no dataset: upload files as <dataset>/<file name>".to_owned(),
        (Some(name), None) => format!(
            "dataset {name:?} is not defined, and its name cannot be that of a dataset: it must start with a letter \
             a-z and contain only a-z, 0-9 and _"
        ),
        (Some(name), Some(inferred)) => {
            let start = format!(
                "dataset {name:?} is not defined: store its definition in the configuration bucket as \
                 datasets/{name}.toml, then upload the file again"
            );
            match inferred {
                Err(problem) => format!("{start}. None can be inferred: {}", problem.message),
                Ok(inferred) => start + &shown(&inferred),
            }
        }
    };
    Ok(Problem::new(ProblemCode::UnknownDataset, message))
}

/// Returns the definition as part of a message, if it is short enough.
fn shown(inferred: &Inferred) -> String {
    let text = inferred.to_short_toml();
    if text.len() > MAX_SHOWN {
        let fields = inferred.fields.len();
        return format!(
            ". `landfall infer FILE` prints one, inferred from the file, with its {fields} fields"
        );
    }
    format!(
        ". This one is inferred from {}:\n{text}",
        inferred.looked_at
    )
}

/// Infers the definition of the dataset that the key of an object names. Reads at most 1 MiB. Returns none if the name
/// cannot be that of a dataset.
async fn infer(
    context: &Context,
    object: &ObjectRef,
    codec: Option<Codec>,
) -> Result<Option<Result<Inferred, Problem>>, SplitError> {
    let Some(dataset) = object.dataset_name().filter(|name| is_name(name)) else {
        return Ok(None);
    };
    let ranges = match codec {
        None => Budget::FUNCTION.ranges(object.size),
        Some(_) => vec![ByteRange {
            start: 0,
            end: object.size.min(START_BYTES as u64),
        }],
    };
    let mut parts = Vec::new();
    for range in ranges {
        match context.objects.read(object, range).await {
            Ok(bytes) => parts.push(bytes.to_vec()),
            Err(AwsError::Gone(_)) => {
                let message = "the object was deleted before it was read";
                return Ok(Some(Err(Problem::new(ProblemCode::ObjectGone, message))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut source = Source {
        dataset,
        file: &object.key,
        size: object.size,
    };
    if codec.is_some() {
        let start = parts.concat();
        let is_whole = start.len() as u64 == object.size;
        let text = match unpack_start(&start, START_BYTES) {
            Ok(text) => text,
            Err(problem) => return Ok(Some(Err(problem))),
        };
        source.size = if is_whole && text.len() < START_BYTES {
            text.len() as u64
        } else {
            Source::UNKNOWN_SIZE
        };
        parts = vec![text];
    }
    Ok(Some(infer_parts(source, parts)))
}

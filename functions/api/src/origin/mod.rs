//! Explains a row: which object and which record in it gave the row of a key, or deleted it.
//!
//! No index leads from rows to objects. The version of a row says the time of its object, the first bytes of its job
//! and the place of its record. The jobs of the dataset from that time on are read from the ledger until one has that
//! order: mostly the first few. Fixed rejects and dead chunks that are processed with a newer definition have the order
//! and the places of the first object. They are looked for only if that job did not make a row of the record itself.
//!
//! The version of a row that the API wrote is the id of that write, with which its item in the ledger is found.
//!
//! *Memory*: one chunk and its rows, at most [`MAX_ORIGINS`] times one after the other.

mod decision;
mod search;

use landfall_domain::{
    Dataset, MAX_ORIGINS, Origin, OriginWrite, RowOrigin, RowVersion, Value, WriteId,
};
use landfall_stores::Reader;

use crate::{ApiError, Context};
use decision::Subject;
use search::Candidates;

/// Explains the row of a key, whose values are in the order of the key.
pub(crate) async fn explain(
    context: &Context,
    reader: &dyn Reader,
    dataset: &Dataset,
    key: &[Value],
) -> Result<RowOrigin, ApiError> {
    let subject = Subject::of(reader.versions(dataset, key).await?);
    let more = subject.versions.len().saturating_sub(MAX_ORIGINS);
    let mut origins = Vec::new();
    for (version, columns) in subject.versions.into_iter().take(MAX_ORIGINS) {
        let version = parse(&version)?;
        let write = write_of(context, version).await?;
        let candidates = match &write {
            Some(_) => Candidates::default(),
            None => search::candidates(context, &dataset.name, version).await?,
        };
        origins.push(Origin {
            write,
            ..candidates.into_origin(version, columns)
        });
    }
    let mut pruned_by = None;
    if let Some(floor) = subject.floor {
        let first = parse(&floor)?;
        let snapshot = search::snapshot(context, &dataset.name, first).await?;
        pruned_by = Some(snapshot.into_origin(first, Vec::new()));
    }
    Ok(RowOrigin {
        dataset: dataset.name.clone(),
        store: reader.kind(),
        state: subject.state,
        origins,
        more,
        deleted_at: subject.deleted_at,
        pruned_by,
    })
}

fn parse(version: &[u8]) -> Result<RowVersion, ApiError> {
    RowVersion::from_bytes(version)
        .ok_or_else(|| ApiError::Internal("a store has a version of another length".to_owned()))
}

/// Returns the write by the API that a version belongs to, if it does.
async fn write_of(context: &Context, version: RowVersion) -> Result<Option<OriginWrite>, ApiError> {
    let Some(write) = WriteId::of(version.object()) else {
        return Ok(None);
    };
    let known = context.writes.find_write(write).await?;
    let (operation, by, at, definition) = known.map_or_else(Default::default, |known| {
        let definition = known.dataset.version;
        (
            Some(known.operation),
            Some(known.by),
            Some(known.at),
            definition,
        )
    });
    Ok(Some(OriginWrite {
        write,
        operation,
        by,
        at,
        definition,
    }))
}

impl Candidates {
    fn into_origin(self, version: RowVersion, columns: Vec<String>) -> Origin {
        let (source, original) = decision::choose(self.found);
        Origin {
            version: version.to_string(),
            columns,
            event_time: search::event_time(version).to_string(),
            offset: version.offset(),
            write: None,
            source,
            original,
            is_cut_short: self.is_cut_short,
        }
    }
}

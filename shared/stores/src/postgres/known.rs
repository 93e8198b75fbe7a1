//! Hashes of the keys that a table has, kept from its first row on while it is filled.
//!
//! A row whose key has another hash than all of them is new, and `COPY` takes it straight into the table. A
//! merge would take it through a temporary table, look its key up and write it to the log alone,
//! which costs much more. Nothing but speed depends on the hashes: the primary key refuses a row whose key is there
//! all the same (by another program, or by a merge of few rows), and that ends them.

use futures::TryStreamExt;
use landfall_domain::Row;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::read::arguments;
use super::table::{count, quote, run, type_of};
use super::{Chunk, error};
use crate::StoreError;
use crate::lanes::LANES;
use crate::schema::list;

/// A row for each chunk of a lane: hashes of 32 bits, big-endian, ascending.
const CREATE: &str = "CREATE TABLE _landfall_keys (\
     dataset text COLLATE \"C\" NOT NULL, lane integer NOT NULL, hashes bytea NOT NULL); \
     CREATE INDEX _landfall_keys_of ON _landfall_keys (dataset, lane)";

/// Chunks of a lane of which hashes are kept: to read those of more takes as long as to look keys up.
const MAX_CHUNKS: usize = 64;

/// Bits of a hash that say at once of most hashes that they are of no row: as many as stay in a processor's cache.
const FILTER_BITS: u32 = 20;

/// Rows that are looked up to guess about all.
const SAMPLE: usize = 32;

const SELECT: &str = "SELECT hashes FROM _landfall_keys WHERE dataset = $1 AND lane = $2";

/// In one order, so that two that give the same hashes up don't wait for each other.
const FORGET: &str = "DELETE FROM _landfall_keys WHERE ctid = ANY (ARRAY(\
     SELECT ctid FROM _landfall_keys WHERE dataset = $1 ORDER BY ctid FOR UPDATE))";

/// Makes the table of hashes where it is missing. `IF NOT EXISTS` would lock it until the transaction ends, even where
/// it is there: who fills a dataset would wait for this transaction, and this one for the dataset.
pub(super) async fn make(connection: &mut PgConnection) -> Result<(), StoreError> {
    if is_made(connection).await? {
        return Ok(());
    }
    run(connection, CREATE).await.map(drop)
}

/// Whether the table of hashes is there.
pub(super) async fn is_made(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let ask = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('_landfall_keys')";
    Ok(count(connection, ask).await? == [1])
}

/// Begins to keep the hashes of a new table.
pub(super) async fn begin(connection: &mut PgConnection, dataset: &str) -> Result<(), StoreError> {
    forget(connection, dataset).await?;
    for lane in 0..LANES {
        add(connection, dataset, lane, &[]).await?;
    }
    Ok(())
}

/// Gives the hashes of a table up.
pub(super) async fn forget(connection: &mut PgConnection, dataset: &str) -> Result<(), StoreError> {
    sqlx::query(FORGET)
        .bind(dataset)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Whether hashes of a table are kept.
pub(super) async fn are_kept(
    connection: &mut PgConnection,
    dataset: &str,
) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM _landfall_keys WHERE dataset = $1)")
        .bind(dataset)
        .fetch_one(connection)
        .await
        .map_err(error)
}

/// Returns whether most of the chunk's rows seem to be new, judged by a sample of their keys.
pub(super) async fn are_most_new(
    connection: &mut PgConnection,
    chunk: &Chunk<'_>,
) -> Result<bool, StoreError> {
    let step = chunk.rows.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<_> = chunk.rows.iter().step_by(step).collect();
    let key = chunk.key.iter().map(|index| &chunk.table.columns[*index]);
    let types: Vec<String> = key.clone().map(type_of).collect();
    let count = format!(
        "SELECT count(*) FROM {} WHERE ({}) IN ({})",
        quote(&chunk.table.name),
        list(key, ", ", |column| quote(&column.name)),
        key_places(sample.len(), &types)
    );
    let values = sample.iter().flat_map(|row| {
        let key = chunk.key.iter();
        key.map(|index| row.values[*index].clone())
    });
    let values = arguments(values.collect()).map_err(error)?;
    // Unprepared: a plan made for an empty table would stay otherwise.
    let there: i64 = sqlx::query_scalar_with(AssertSqlSafe(count), values)
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(error)?;
    Ok(there.unsigned_abs() * 2 < sample.len() as u64)
}

/// Returns the placeholders of `keys` keys whose fields have these types, each placeholder with a number of its own:
/// `($1::text, $2::date), ($3::text, $4::date)`.
fn key_places(keys: usize, types: &[String]) -> String {
    list(0..keys, ", ", |key| {
        let numbered = types.iter().zip(key * types.len() + 1..);
        let places = list(numbered, ", ", |(kind, number)| {
            format!("${number}::{kind}")
        });
        format!("({places})")
    })
}

/// Rows of a lane with the hashes of their keys.
pub(super) struct Hashed<'c, 'r> {
    chunk: &'c Chunk<'r>,
    /// Hashes, ascending, and places of their rows.
    hashes: Vec<(u32, usize)>,
    /// A bit for each beginning of a hash: whether a row's begins so.
    filter: Vec<u64>,
}

/// Rows of a lane, apart.
pub(super) struct Apart<'r> {
    /// Those whose keys are new.
    pub(super) new: Vec<&'r Row>,
    /// Those whose keys may be there.
    pub(super) others: Vec<&'r Row>,
    /// Hashes of the new keys.
    hashes: Vec<u8>,
}

impl<'c, 'r> Hashed<'c, 'r> {
    /// `hashes` are those of the rows' keys, in the order of the rows.
    pub(super) fn new(chunk: &'c Chunk<'r>, hashes: &[u32]) -> Self {
        let mut hashes: Vec<_> = hashes.iter().copied().zip(0..).collect();
        hashes.sort_unstable();
        let mut filter = vec![0; (1 << FILTER_BITS) / 64];
        for (hash, _) in &hashes {
            let (word, bit) = place_of(*hash);
            filter[word] |= bit;
        }
        Self {
            chunk,
            hashes,
            filter,
        }
    }

    /// Takes the rows apart by what is kept of their lane, which is locked; gives none where nothing is.
    pub(super) async fn take_apart(
        &self,
        connection: &mut PgConnection,
        lane: usize,
    ) -> Result<Option<Apart<'r>>, StoreError> {
        let rows = &self.chunk.rows;
        let mut may_be_there = vec![false; rows.len()];
        let mut chunks = 0;
        let select = sqlx::query(SELECT)
            .bind(&self.chunk.table.name)
            .bind(number(lane));
        let mut kept = select.fetch(&mut *connection);
        while let Some(chunk) = kept.try_next().await.map_err(error)? {
            chunks += 1;
            self.mark(chunk.try_get(0).map_err(error)?, &mut may_be_there);
        }
        drop(kept);
        if chunks == 0 {
            return Ok(None);
        }
        if chunks > MAX_CHUNKS {
            forget(connection, &self.chunk.table.name).await?;
            return Ok(None);
        }
        let new = self
            .hashes
            .iter()
            .filter(|(_, place)| !may_be_there[*place]);
        let hashes = new.flat_map(|(hash, _)| hash.to_be_bytes()).collect();
        let places = rows.iter().copied().zip(may_be_there);
        let (others, new): (Vec<_>, Vec<_>) = places.partition(|(_, there)| *there);
        Ok(Some(Apart {
            new: new.into_iter().map(|(row, _)| row).collect(),
            others: others.into_iter().map(|(row, _)| row).collect(),
            hashes,
        }))
    }

    /// Marks the rows whose hashes are among these.
    fn mark(&self, hashes: &[u8], may_be_there: &mut [bool]) {
        let (hashes, _) = hashes.as_chunks();
        for hash in hashes.iter().map(|hash| u32::from_be_bytes(*hash)) {
            let (word, bit) = place_of(hash);
            if self.filter[word] & bit == 0 {
                continue;
            }
            let first = self.hashes.partition_point(|(own, _)| *own < hash);
            let same = self.hashes[first..].iter();
            for (_, place) in same.take_while(|(own, _)| *own == hash) {
                may_be_there[*place] = true;
            }
        }
    }
}

impl Apart<'_> {
    /// Keeps the hashes of the new keys.
    pub(super) async fn keep(
        &self,
        connection: &mut PgConnection,
        dataset: &str,
        lane: usize,
    ) -> Result<(), StoreError> {
        add(connection, dataset, lane, &self.hashes).await
    }
}

async fn add(
    connection: &mut PgConnection,
    dataset: &str,
    lane: usize,
    hashes: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO _landfall_keys (dataset, lane, hashes) VALUES ($1, $2, $3)")
        .bind(dataset)
        .bind(number(lane))
        .bind(hashes)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Where the filter has a hash: word, and bit of it.
fn place_of(hash: u32) -> (usize, u64) {
    let beginning = hash >> (u32::BITS - FILTER_BITS);
    let word = usize::try_from(beginning / u64::BITS).unwrap_or_default();
    (word, 1 << (beginning % u64::BITS))
}

fn number(lane: usize) -> i32 {
    i32::try_from(lane).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_every_key_has_a_placeholder_of_its_own() {
        let types = ["text".to_owned(), "date".to_owned()];
        assert_eq!(
            key_places(2, &types),
            "($1::text, $2::date), ($3::text, $4::date)"
        );
        assert_eq!(key_places(1, &types[..1]), "($1::text)");
    }
}

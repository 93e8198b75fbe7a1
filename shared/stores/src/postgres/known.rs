//! Hashes of the keys in a new table, so that a first load can copy new rows straight into it.
//!
//! From the first row of a table on, `_landfall_keys` holds 32 bits of the hash of each key, in one row per chunk
//! and lane, for up to 64 chunks. A row whose hash is not among them is new: `COPY` writes it straight into the
//! table, under the lane's lock, and only the other rows are merged. The server then does not look the key up, pass
//! the row through a temporary table, or log it singly, which together would be much of its CPU time in a first
//! load.
//!
//! The hashes affect only speed. If a key exists without its hash (written by another program, or by a small
//! chunk), the primary key refuses the row. The rows are then merged and the hashes are given up. They are also
//! given up once a sample of a chunk shows that most of its keys exist. Datasets with totals do not use the hashes,
//! because totals need the old values, which only a merge has.

use futures::TryStreamExt;
use landfall_domain::Row;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _};

use super::chunk::Chunk;
use super::statement::{STORE, count, error, run};
use super::table::{quote, type_of};
use crate::error::Result;
use crate::read::fetch::ReadRows as _;
use crate::registry::unsigned;
use crate::schema::list;
use crate::sql::lanes::LANES;

/// One row for each chunk of a lane: hashes of 32 bits, big-endian, ascending.
const CREATE: &str = "CREATE TABLE _landfall_keys (\
     dataset text COLLATE \"C\" NOT NULL, lane integer NOT NULL, hashes bytea NOT NULL); \
     CREATE INDEX _landfall_keys_of ON _landfall_keys (dataset, lane)";

/// The maximum number of chunks of a lane whose hashes are kept. Reading more takes as long as looking keys up.
const MAX_CHUNKS: usize = 64;

/// Bits of a hash for a first test that rules out most hashes: as many as fit a processor's cache.
const FILTER_BITS: u32 = 20;

/// The number of rows that are looked up to estimate how many are new.
const SAMPLE: usize = 32;

const SELECT: &str = "SELECT hashes FROM _landfall_keys WHERE dataset = $1 AND lane = $2";

/// In a fixed order, so that two workers that delete the same hashes do not deadlock.
const FORGET: &str = "DELETE FROM _landfall_keys WHERE ctid = ANY (ARRAY(\
     SELECT ctid FROM _landfall_keys WHERE dataset = $1 ORDER BY ctid FOR UPDATE))";

/// Creates the table of hashes if it is missing. `IF NOT EXISTS` would lock an existing table until the transaction
/// ends, and deadlock with a worker that fills a dataset.
pub(super) async fn make(connection: &mut PgConnection) -> Result<()> {
    if is_made(connection).await? {
        return Ok(());
    }
    run(connection, CREATE).await.map(drop)
}

pub(super) async fn is_made(connection: &mut PgConnection) -> Result<bool> {
    let ask = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('_landfall_keys')";
    Ok(count(connection, ask).await? == [1])
}

/// Starts to keep the hashes of a new table.
pub(super) async fn begin(connection: &mut PgConnection, dataset: &str) -> Result<()> {
    forget(connection, dataset).await?;
    for lane in 0..LANES {
        add(connection, dataset, lane, &[]).await?;
    }
    Ok(())
}

pub(super) async fn forget(connection: &mut PgConnection, dataset: &str) -> Result<()> {
    sqlx::query(FORGET)
        .bind(dataset)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

pub(super) async fn are_kept(connection: &mut PgConnection, dataset: &str) -> Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM _landfall_keys WHERE dataset = $1)")
        .bind(dataset)
        .fetch_one(connection)
        .await
        .map_err(error)
}

/// Returns whether most of the chunk's rows seem to be new, judged by a sample of their keys.
pub(super) async fn are_most_new(connection: &mut PgConnection, chunk: &Chunk<'_>) -> Result<bool> {
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
    let values = Postgres::arguments(values.collect()).map_err(error)?;
    // Unprepared: a plan made for an empty table would stay otherwise.
    let existing: i64 = sqlx::query_scalar_with(AssertSqlSafe(count), values)
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(error)?;
    Ok(unsigned(STORE, existing)? * 2 < sample.len() as u64)
}

/// Returns the placeholders of `keys` keys whose fields have these types, each numbered separately:
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

pub(super) struct Hashed<'c, 'r> {
    chunk: &'c Chunk<'r>,
    /// Hashes, ascending, with the indexes of their rows.
    hashes: Vec<(u32, usize)>,
    /// One bit for each first part of a hash: whether a row's hash begins so.
    filter: Vec<u64>,
}

/// Rows of a lane, split by whether their keys are new.
pub(super) struct Split<'r> {
    pub(super) new: Vec<&'r Row>,
    pub(super) others: Vec<&'r Row>,
    /// Those of the new keys.
    pub(super) hashes: Vec<u8>,
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

    /// Splits the rows by the hashes of their lane, which is locked. Returns none if no hashes are kept.
    pub(super) async fn split(
        &self,
        connection: &mut PgConnection,
        lane: usize,
    ) -> Result<Option<Split<'r>>> {
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
        let (others, new): (Vec<_>, Vec<_>) = places.partition(|(_, exists)| *exists);
        Ok(Some(Split {
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

/// Keeps the hashes of a chunk.
pub(super) async fn add(
    connection: &mut PgConnection,
    dataset: &str,
    lane: usize,
    hashes: &[u8],
) -> Result<()> {
    sqlx::query("INSERT INTO _landfall_keys (dataset, lane, hashes) VALUES ($1, $2, $3)")
        .bind(dataset)
        .bind(number(lane))
        .bind(hashes)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Returns the filter's word and bit of a hash.
fn place_of(hash: u32) -> (usize, u64) {
    let beginning = hash >> (u32::BITS - FILTER_BITS);
    let word = (beginning / u64::BITS) as usize;
    (word, 1 << (beginning % u64::BITS))
}

fn number(lane: usize) -> i32 {
    debug_assert!(lane < LANES, "there is no lane {lane}");
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

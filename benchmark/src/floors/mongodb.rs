//! `MongoDB`'s floors: unordered `insertMany`, and plain batched updates.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use landfall_local::workers;
use mongodb::Database as Client;
use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, rawdoc};
use tokio::task::JoinSet;

use super::timed;
use crate::data::{Rows, Sample};
use crate::result::Run;
use crate::tables::{Database, mongodb};

pub(crate) const INSERT: (&str, &str) = (
    "unordered insertMany",
    "the last row of each key in the order of the file, insertMany of 5,000 documents by two clients a worker at once",
);
pub(crate) const UPDATE: (&str, &str) = (
    "batched update",
    "the last row of each key in the order of the file, update commands of 1,000 $set by _id by two clients a worker at once",
);

const COLLECTION: &str = "floor_live";
const INSERTED_AT_ONCE: usize = 5_000;
const UPDATED_AT_ONCE: usize = 1_000;

/// Inserts all documents into a new collection.
pub(crate) async fn insert(uri: &str, sample: &Sample) -> Result<Run> {
    Database::Mongodb(uri).remove(COLLECTION).await?;
    each_client(uri, sample, |client, rows, mine| async move {
        let collection = client.collection::<RawDocumentBuf>(COLLECTION);
        for batch in mine.chunks(INSERTED_AT_ONCE) {
            let documents = batch.iter().map(|&index| {
                let [sku, name, description] = rows.get(index);
                rawdoc! { "_id": sku, "name": name, "description": description }
            });
            collection.insert_many(documents).ordered(false).await?;
        }
        Ok(())
    })
    .await
}

/// Updates all documents that [`insert`] left.
pub(crate) async fn update(uri: &str, sample: &Sample) -> Result<Run> {
    let run = each_client(uri, sample, |client, rows, mine| async move {
        for batch in mine.chunks(UPDATED_AT_ONCE) {
            let mut updates = RawArrayBuf::new();
            for &index in batch {
                let [sku, name, description] = rows.get(index);
                let set = rawdoc! { "$set": { "name": name, "description": description } };
                updates.push(rawdoc! { "q": { "_id": sku }, "u": set });
            }
            let command = rawdoc! { "update": COLLECTION, "updates": updates, "ordered": false };
            let answer: Document = client.run_raw_command(command).await?;
            let found = answer.get_i32("n").context("an update tells no count")?;
            ensure!(
                usize::try_from(found)? == batch.len(),
                "an update of {} documents found {found}",
                batch.len()
            );
        }
        Ok(())
    })
    .await?;
    Database::Mongodb(uri).remove(COLLECTION).await?;
    Ok(run)
}

/// Splits the file's documents among as many clients as the workers have connections, and checks the result.
async fn each_client<F>(
    uri: &str,
    sample: &Sample,
    work: impl Fn(Client, Arc<Rows>, Vec<usize>) -> F,
) -> Result<Run>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let count = 2 * workers();
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(mongodb(uri).await?);
    }
    let run = timed(async {
        let rows = Arc::new(Rows::read(&sample.clean)?);
        let mut kept = rows.last_of_each_key();
        kept.sort_unstable();
        let prepared = Instant::now();
        let mut working = JoinSet::new();
        for (client, mine) in clients
            .into_iter()
            .zip(kept.chunks(kept.len().div_ceil(count)))
        {
            let (rows, mine) = (Arc::clone(&rows), mine.to_vec());
            working.spawn(work(client, rows, mine));
        }
        while let Some(done) = working.join_next().await {
            done??;
        }
        Ok(Some(prepared))
    })
    .await?;
    let found = Database::Mongodb(uri).content(COLLECTION).await?;
    sample.keyed.check(found, COLLECTION)?;
    Ok(run)
}

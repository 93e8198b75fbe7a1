//! What a store has recorded about the keys of a destination.

use std::sync::Arc;

use jiff::Timestamp;
use landfall_destinations::Breaker;
use landfall_domain::{ChangeState, Dataset};
use landfall_ledger::{DestinationTable, DynamoTable};
use landfall_local::Stack;
use landfall_stores::{ChangeReader, ChangeSummary, ReadOptions, read_changes};
use mongodb::bson::{Document, doc};
use sqlx::{Connection, MySqlConnection, PgConnection};

use super::DATASET;
use crate::support::sqlite;

const END_LEASES: &str =
    "UPDATE _keys_orders SET _due_at = 0 WHERE _lease IS NOT NULL AND _state = 'waiting'";

pub struct Keys<'a> {
    stack: &'a Stack,
    store: Arc<dyn ChangeReader>,
    dataset: Dataset,
}

impl<'a> Keys<'a> {
    pub async fn of(stack: &'a Stack) -> Self {
        let address = |address: &'a str| (!address.is_empty()).then_some(address);
        let (mongodb, sql) = (address(stack.mongodb_uri()), address(stack.sql_url()));
        let store = read_changes(mongodb, sql, ReadOptions::default()).await;
        Self {
            stack,
            store: store.unwrap(),
            dataset: Dataset::from_toml("orders.toml", DATASET).unwrap(),
        }
    }

    pub async fn summary(&self, destination: &str) -> ChangeSummary {
        let now = Timestamp::now();
        let summary = self.store.summary(&self.dataset, destination, now).await;
        summary.unwrap()
    }

    /// Returns what the service answered to the changes that are set aside.
    pub async fn answers(&self, destination: &str) -> Vec<String> {
        let state = ChangeState::SetAside;
        let page = self
            .store
            .list(&self.dataset, destination, state, None, 1_000);
        let changes = page.await.unwrap().changes.into_iter();
        changes.filter_map(|change| change.answer).collect()
    }

    /// Returns the circuit of a destination.
    pub async fn circuit(&self, destination: &str) -> Breaker {
        let client = aws_sdk_dynamodb::Client::new(self.stack.sdk_config());
        let table = DynamoTable::new(client, &self.stack.outputs().ledger_table);
        table.destination(destination).await.unwrap().breaker
    }

    /// Ends all leases, as four minutes would, and returns their number.
    pub async fn end_leases(&self) -> u64 {
        let url = self.stack.sql_url();
        if url.is_empty() {
            let client = mongodb::Client::with_uri_str(self.stack.mongodb_uri());
            let database = client.await.unwrap().default_database().unwrap();
            let keys = database.collection::<Document>("_keys_orders");
            let leased = doc! { "lease": { "$ne": null }, "state": "waiting" };
            let end = doc! { "$set": { "due_at": 0_i64 } };
            return keys.update_many(leased, end).await.unwrap().matched_count;
        }
        if url.starts_with("sqlite://") {
            let ended = sqlite(self.stack).execute(END_LEASES, []).unwrap();
            return ended as u64;
        }
        if url.starts_with("mysql://") {
            let mut connection = MySqlConnection::connect(url).await.unwrap();
            let ended = sqlx::query(END_LEASES).execute(&mut connection).await;
            return ended.unwrap().rows_affected();
        }
        let mut connection = PgConnection::connect(url).await.unwrap();
        let ended = sqlx::query(END_LEASES).execute(&mut connection).await;
        ended.unwrap().rows_affected()
    }
}

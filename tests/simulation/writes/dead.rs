//! A write whose message was received as often as the queue allows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use landfall_aws::WorkMessage;
use landfall_domain::{
    DatasetRef, DeadCode, KeyDigest, Value, WriteMessage, WriteOperation, WriteState,
};
use landfall_ledger::{Write, WriteTable};

use crate::files::Kind;
use crate::repair::Janitor;
use crate::world::{Cause, World};

#[tokio::test]
async fn a_write_in_the_dead_letter_queue_has_failed() {
    let world = World::new(100_000, Kind::Plain);
    let key = KeyDigest::new("products", &[Value::Text("a".into())]);
    let write = key.write_at(1_795_000_000_000, 0).unwrap();
    let dataset = DatasetRef {
        name: "products".to_owned(),
        version: None,
    };
    let waiting = Write {
        write,
        dataset: dataset.clone(),
        operation: WriteOperation::Delete,
        key_digest: key.to_string(),
        version: write.order().at(0).to_string(),
        by: "shop".to_owned(),
        at: "2026-11-18T11:06:40Z".to_owned(),
        state: WriteState::Waiting,
        stores: BTreeMap::new(),
        problem: None,
        ended_at: None,
        expires_at: Write::expiry(Timestamp::now()),
    };
    world.table.0.put_write(&waiting).await.unwrap();
    let message = WorkMessage::Write(Box::new(WriteMessage {
        write,
        dataset,
        operation: WriteOperation::Delete,
        key: vec!["a".to_owned()],
        order_value: None,
        created_at: None,
        row: None,
    }));
    let body = serde_json::to_string(&message).unwrap();
    let failed = Janitor::new(&world, 6).call(Some(body.clone())).await;
    assert!(failed.unwrap().is_empty());
    let dead = world.table.0.find_write(write).await.unwrap().unwrap();
    assert_eq!(dead.state, WriteState::Failed);
    assert_eq!(dead.problem.unwrap().code, DeadCode::Lost);

    // Another copy of the message changes nothing.
    let failed = world.call(&Cause::Messages(vec![(body, 1)])).await;
    assert!(failed.unwrap().is_empty());
    assert!(world.stores[0].rows.lock().unwrap().is_empty());
}

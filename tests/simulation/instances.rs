//! Instances of the api in a world.

use std::sync::Arc;

use api::Settings;
use axum::Router;
use jiff::SignedDuration;
use landfall_auth::{Access, Scope, Token, TokenList, Tokens};
use landfall_aws::{ChunkQueue, Datasets, Destinations, Objects, Sources};

use crate::world::World;
use crate::writes::ports::{NoChanges, NoInbox};

/// Returns an instance whose clock is so far ahead, and which accepts a token for everything.
pub fn api_of(world: &World, token: &Token, ahead: SignedDuration) -> Router {
    let mut list = TokenList::default();
    let scopes = [Scope::Read, Scope::Write].into();
    list.add("shop", token, scopes, Access::All).unwrap();
    let objects = || Arc::clone(&world.buckets) as Arc<dyn Objects>;
    let time = world.queue.time.clone();
    let settings = Settings {
        inbox_bucket: "inbox".to_owned(),
        rejects_bucket: "rejects".to_owned(),
        work_bucket: "work".to_owned(),
        cors_origins: Vec::new(),
        socket_url: None,
        upload_origin: None,
        requests_per_second: 1_000_000.try_into().unwrap(),
        void_seconds: 3600,
    };
    let context = api::Context::new(
        settings,
        Tokens::fixed(list),
        Arc::clone(&world.table),
        Arc::clone(&world.queue) as Arc<dyn ChunkQueue>,
        objects(),
        Arc::new(NoInbox),
        Datasets::new(objects(), "config"),
        Sources::new(objects(), "config"),
        Destinations::new(objects(), "config"),
        Vec::new(),
        Arc::new(NoChanges),
        Arc::new(move || time.now() + ahead),
    );
    api::app(&Arc::new(context))
}

//! Objects of a dataset that has no definition.

use std::sync::Arc;

use landfall_domain::{CompletionEvent, Dataset, JobId, JobState, ProblemCode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::files::{File, Kind};
use crate::world::{Confirmations, World};

/// Two files of which the definition of the first rejects the rows of the second.
fn files() -> [File; 2] {
    let file = |index: i64, text: &'static str| File {
        key: format!("visits/{index}.csv"),
        version: format!("v{index}"),
        bytes: text.into(),
        time_ms: 1_000 + index,
        codec: None,
    };
    [
        file(0, "id,visitors\n1,20\n2,30\n"),
        file(1, "id,visitors\na,few\nb,many\nc,none\n"),
    ]
}

/// Ingests both files at once, and returns the events of their jobs, and the definition that was created.
async fn ingest(seed: u64, auto_datasets: bool) -> ([CompletionEvent; 2], Option<Dataset>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new(100_000, Kind::Plain);
    Arc::get_mut(&mut world.splitter).unwrap().auto_datasets = auto_datasets;
    let files = files();
    let notifications = world.put(&files.each_ref(), &mut rng);
    let mut crashes = rng.random_range(0..4);
    let mut confirmations = Confirmations::default();
    world
        .run(notifications, &mut confirmations, &mut crashes, &mut rng)
        .await;
    let events = files.map(|file| {
        let job = JobId::for_object("inbox", &file.key, &file.version);
        let events = world.bus.events.lock().unwrap();
        let event = events.iter().find(|event| event.job == job);
        event.expect("every job completes").clone()
    });
    let latest = world.buckets.latest.lock().unwrap();
    let stored = latest.get(&("config".to_owned(), "datasets/visits.toml".to_owned()));
    let definition = stored.map(|bytes| {
        let text = std::str::from_utf8(bytes).unwrap();
        Dataset::from_toml("visits.toml", text).unwrap()
    });
    (events, definition)
}

/// Both jobs have the definition of the file whose splitter was first.
pub async fn agree(seed: u64) {
    let ([first, second], definition) = ingest(seed, true).await;
    let definition = definition.expect("a definition is created");
    let outcome = |event: &CompletionEvent| {
        let counts = &event.counts;
        (event.state, counts.rows, counts.rejected)
    };
    let succeeded = (JobState::Succeeded, 2, 0);
    assert_eq!(outcome(&first), succeeded, "{:?}", first.problem);
    let expected = match definition.fields[1].kind.as_str() {
        "integer" => (JobState::Failed, 3, 3),
        _ => (JobState::Succeeded, 3, 0),
    };
    assert_eq!(outcome(&second), expected, "{definition:?}");
}

/// Without the setting, the problem of each job has a definition for its file, and none is created.
pub async fn fail(seed: u64) {
    let (events, definition) = ingest(seed, false).await;
    assert_eq!(definition, None);
    for (event, kind) in events.into_iter().zip(["integer", "text"]) {
        assert_eq!(event.state, JobState::Failed);
        let problem = event.problem.expect("the dataset is unknown");
        assert_eq!(problem.code, ProblemCode::UnknownDataset);
        let (_, definition) = problem.message.split_once(":\n").expect("a definition");
        let definition = Dataset::from_toml("visits.toml", definition).unwrap();
        assert_eq!(definition.fields[1].kind.as_str(), kind);
    }
}

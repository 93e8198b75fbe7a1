//! Random datasets and random chunks in random order, against a plain map.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use landfall_domain::{Dataset, FieldType, Mode, Row, StoreCounts, Value, latest_by_key};
use landfall_stores::{Step, StoreOptions};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset_of};
use crate::generated::{KEY_TYPES, Rows, assert_rows, key_of, key_texts, keys_of, value_of};
use crate::rows::order;
use crate::totals;

/// The number of cases that are the same in each run; new ones follow.
const FIXED: u64 = 8;
/// How long cases are tried, unless `LANDFALL_MINUTES` is set.
const TRIED_FOR: Duration = Duration::from_secs(10);

/// Returns the seed to repeat, or a new one.
pub(crate) fn seed() -> u64 {
    given_seed().unwrap_or_else(|| rand::rng().random())
}

fn given_seed() -> Option<u64> {
    let seed = std::env::var("LANDFALL_SEED").ok()?;
    Some(seed.parse().unwrap())
}

/// Prints how to repeat a case if it panics.
pub(crate) struct Repeat(pub(crate) u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("LANDFALL_SEED={} runs it again", self.0);
        }
    }
}

pub(crate) async fn random_datasets_and_chunks(database: &Database) {
    if let Some(seed) = given_seed() {
        return run(database, seed).await;
    }
    let minutes = std::env::var("LANDFALL_MINUTES").ok();
    let minutes: Option<u64> = minutes.map(|minutes| minutes.parse().unwrap());
    let tried_for = minutes.map_or(TRIED_FOR, |minutes| Duration::from_secs(minutes * 60));
    let start = Instant::now();
    let mut cases = 0;
    while cases < FIXED || start.elapsed() < tried_for {
        let seed = if cases < FIXED {
            cases
        } else {
            rand::rng().random()
        };
        run(database, seed).await;
        cases += 1;
    }
    println!("{cases} cases");
}

/// A chunk of an object, or the end of an object that is a snapshot.
enum Delivery {
    Chunk { moment: i64, rows: Vec<Row> },
    Prune { moment: i64 },
}

async fn run(database: &Database, seed: u64) {
    let repeat = Repeat(seed);
    let random = &mut StdRng::seed_from_u64(seed);
    let case = Case::new(random);
    let dataset = &case.dataset;
    // Several steps for a prune.
    let options = StoreOptions {
        step_rows: random.random_range(1..100),
        ..StoreOptions::default()
    };
    let mut store = database.store_with(options).await;
    store.prepare(dataset).await.unwrap();
    let mut model = Model::default();
    for (step, delivery) in case.deliveries(random).into_iter().enumerate() {
        if random.random_ratio(1, 10) {
            // Another worker.
            store = database.store_with(options).await;
            store.prepare(dataset).await.unwrap();
        }
        let after = match delivery {
            Delivery::Chunk { moment, rows } => {
                let expected = model.apply(dataset, moment, &rows);
                let after = format!("step {step}, {} rows of {moment}", rows.len());
                let counts = store.apply(dataset, &order(moment), &rows.into()).await;
                assert_eq!(counts.unwrap(), expected, "{after}, {dataset:?}");
                after
            }
            Delivery::Prune { moment } => {
                let expected = model.prune(moment);
                let pruned = loop {
                    let step = store.prune(dataset, &order(moment)).await;
                    if let Step::Done(pruned) = step.unwrap() {
                        break pruned;
                    }
                };
                assert_eq!(
                    pruned, expected,
                    "step {step}, end of {moment}, {dataset:?}"
                );
                format!("step {step}, end of {moment}")
            }
        };
        if random.random_ratio(1, 4) {
            case.check(database, &model, &after).await;
        }
    }
    case.check(database, &model, "the end").await;
    database.drop_table(dataset).await;
    drop(repeat);
}

/// A dataset, the types of its key, and the maximum number of rows of an object.
struct Case {
    dataset: Dataset,
    key: Vec<FieldType>,
    most: u64,
}

impl Case {
    fn new(random: &mut StdRng) -> Self {
        let key: Vec<_> = (0..*[1, 1, 2, 2, 3, 4, 8].choose(random).unwrap())
            .map(|_| *KEY_TYPES.choose(random).unwrap())
            .collect();
        let other_types = [&KEY_TYPES[..], &[FieldType::Float, FieldType::Json]].concat();
        let others: Vec<_> = (0..random.random_range(0..6))
            .map(|_| *other_types.choose(random).unwrap())
            .collect();
        let is_big = random.random_ratio(1, 4);
        // Stores have the most methods for big chunks without deletes or totals.
        let is_plain = is_big && random.random_ratio(2, 3);
        let by_place = random.random_ratio(1, 8);
        let key = if by_place {
            vec![FieldType::Text, FieldType::Integer]
        } else {
            key
        };
        let dataset = dataset_of(|name| {
            if by_place {
                definition_by_place(&others, random)
            } else {
                definition(name, &key, &others, is_plain, random)
            }
        });
        let most = if is_big { 6_000 } else { 150 };
        Self { dataset, key, most }
    }

    /// Returns chunks of some objects in any order, some of them twice. A snapshot ends after all of its chunks.
    fn deliveries(&self, random: &mut StdRng) -> Vec<Delivery> {
        let mut chunks: Vec<(i64, Vec<Row>)> = Vec::new();
        let all_keys = keys_of(&self.key).unwrap_or(self.most * 2);
        for moment in 1..=random.random_range(1..5) {
            let count = random.random_range(1..=self.most);
            let rows = (0..count).map(|offset| {
                let number = random.random_range(0..all_keys);
                self.row(number, offset * 10, random)
            });
            let mut rows: Vec<_> = rows.collect();
            while !rows.is_empty() {
                let length = if random.random_bool(0.5) {
                    rows.len()
                } else {
                    random.random_range(1..=rows.len())
                };
                let rest = rows.split_off(length);
                let (chunk, _) = latest_by_key(rows, &self.dataset);
                chunks.push((moment, chunk));
                rows = rest;
            }
        }
        let again = chunks.iter().filter(|_| random.random_ratio(1, 5));
        let again: Vec<_> = again.cloned().collect();
        let firsts = chunks.len();
        chunks.extend(again);
        let mut order: Vec<usize> = (0..chunks.len()).collect();
        order.shuffle(random);
        let mut deliveries = Vec::new();
        let mut open: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
        for (index, (moment, _)) in chunks[..firsts].iter().enumerate() {
            open.entry(*moment).or_default().insert(index);
        }
        for index in order {
            let (moment, rows) = chunks[index].clone();
            deliveries.push(Delivery::Chunk { moment, rows });
            let waiting = open.get_mut(&moment).unwrap();
            let is_last = waiting.remove(&index) && waiting.is_empty();
            if is_last && self.dataset.mode == Mode::Snapshot {
                let times = random.random_range(1..3);
                deliveries.extend((0..times).map(|_| Delivery::Prune { moment }));
            }
        }
        deliveries
    }

    fn row(&self, number: u64, offset: u64, random: &mut StdRng) -> Row {
        let deleted = self.dataset.operation.is_some() && random.random_ratio(1, 4);
        let mut values = vec![Value::Null; self.dataset.fields.len()];
        let key = key_of(&self.key, number);
        for (index, value) in self.dataset.key_indexes().iter().zip(key) {
            values[*index] = value;
        }
        for (index, field) in self.dataset.fields.iter().enumerate() {
            let is_key = self.dataset.key_indexes().contains(&index);
            let is_absent = deleted && !self.dataset.is_in_deletes(index);
            if is_key || is_absent || (!field.required && random.random_ratio(1, 6)) {
                continue;
            }
            values[index] = match &field.default {
                Some(default) if random.random_ratio(1, 4) => default.clone(),
                _ => value_of(field.kind, random.random_range(0..4)),
            };
        }
        let keeps = self.dataset.unknown_columns == landfall_domain::UnknownColumns::Keep;
        let extra = (keeps && !deleted && random.random_bool(0.5))
            .then(|| format!("{{\"more\":\"{}\"}}", random.random_range(0..3)));
        Row {
            offset,
            deleted,
            values: values.into(),
            extra,
            parts: None,
        }
    }

    async fn check(&self, database: &Database, model: &Model, after: &str) {
        assert_rows(database, &self.dataset, &model.rows(), after).await;
        if !database.is_mongodb() {
            totals::check(database, &self.dataset).await;
        }
    }
}

/// Returns the definition of rows that are identified by their place.
fn definition_by_place(others: &[FieldType], random: &mut StdRng) -> String {
    let others = others.iter().enumerate().map(|(index, kind)| {
        let kind = kind.as_str();
        format!(", {{ name = \"f{index}\", type = \"{kind}\" }}")
    });
    let mode = ["upsert", "snapshot"].choose(random).unwrap();
    let others: String = others.collect();
    format!(
        "key = \"position\"\nmode = \"{mode}\"\nfields = [{{ name = \"note\", type = \"text\" }}{others}]"
    )
}

fn definition(
    name: &str,
    key: &[FieldType],
    others: &[FieldType],
    is_plain: bool,
    random: &mut StdRng,
) -> String {
    let mut fields = Vec::new();
    for (index, kind) in key.iter().enumerate() {
        let indexed = random.random_ratio(1, 5);
        let kind = kind.as_str();
        fields.push(format!(
            "{{ name = \"k{index}\", type = \"{kind}\", index = {indexed} }}"
        ));
    }
    for (index, kind) in others.iter().enumerate() {
        let indexed = *kind != FieldType::Json && random.random_ratio(1, 5);
        let required = random.random_ratio(1, 3);
        let default = match (kind, random.random_ratio(1, 3)) {
            (FieldType::Integer, true) => ", default = 7",
            (FieldType::Text, true) => ", default = \"none\"",
            _ => "",
        };
        let kind = kind.as_str();
        fields.push(format!(
            "{{ name = \"f{index}\", type = \"{kind}\", index = {indexed}, required = {required}{default} }}"
        ));
    }
    let is_ordered = random.random_ratio(1, 3);
    if is_ordered {
        let kind = ["integer", "date", "timestamp"].choose(random).unwrap();
        fields.push(format!(
            "{{ name = \"at\", type = \"{kind}\", required = true }}"
        ));
    }
    fields.shuffle(random);
    let mut keys: Vec<_> = (0..key.len())
        .map(|index| format!("\"k{index}\""))
        .collect();
    let key_names = keys.join(", ");
    let mut lines = vec![
        format!("key = [{key_names}]"),
        format!("fields = [{}]", fields.join(", ")),
        format!(
            "unknown_columns = \"{}\"",
            ["keep", "drop"].choose(random).unwrap()
        ),
    ];
    if is_ordered {
        lines.push("order = \"at\"".to_owned());
    }
    if is_plain {
        return lines.join("\n");
    }
    if !is_ordered && random.random_ratio(1, 4) {
        lines.push("mode = \"snapshot\"".to_owned());
    }
    if random.random_ratio(1, 2) {
        lines.push("operation = { column = \"op\" }".to_owned());
    }
    if random.random_ratio(2, 5) {
        keys.extend((0..others.len()).filter_map(|index| {
            let groups = !matches!(others[index], FieldType::Float | FieldType::Json);
            groups.then(|| format!("\"f{index}\""))
        }));
        keys.shuffle(random);
        keys.truncate(random.random_range(1..3));
        let measures = others.iter().enumerate().flat_map(|(index, kind)| {
            let measures: &[&str] = match kind {
                FieldType::Integer | FieldType::Decimal => &["sum", "min", "max"],
                FieldType::Date | FieldType::Timestamp => &["min", "max"],
                _ => &[],
            };
            measures
                .iter()
                .map(move |measure| format!(", {measure}{index} = \"{measure}(f{index})\""))
        });
        let measures: String = measures.collect();
        lines.push(format!(
            "totals = [{{ name = \"{name}_totals\", by = [{}], columns = {{ n = \"count\"{measures} }} }}]",
            keys.join(", ")
        ));
    }
    lines.join("\n")
}

/// What a store holds for a key.
#[derive(Clone)]
enum Known {
    Row {
        values: Vec<Value>,
        extra: Option<String>,
    },
    Deleted,
}

/// The promise of a store, as a plain map.
#[derive(Default)]
struct Model {
    /// By the texts of the key, with the version.
    keys: BTreeMap<Vec<String>, (String, Known)>,
    /// The first version of the newest snapshot that has ended, and the number of rows that it pruned.
    floor: Option<(String, u64)>,
}

impl Model {
    fn apply(&mut self, dataset: &Dataset, moment: i64, rows: &[Row]) -> StoreCounts {
        let versions = dataset.versions(order(moment));
        let mut counts = StoreCounts::default();
        let first = versions.first().to_string();
        if self.floor.as_ref().is_some_and(|(floor, _)| *floor > first) {
            counts.stale = rows.len() as u64;
            return counts;
        }
        for row in rows {
            let version = versions.of(row).to_string();
            let values = row.values.to_vec();
            let key = key_texts(dataset, &values);
            let new = if row.deleted {
                Known::Deleted
            } else {
                Known::Row {
                    values,
                    extra: row.extra.clone(),
                }
            };
            let known = self.keys.get(&key);
            let count = match (known, &new) {
                (Some((there, _)), _) if *there > version => {
                    counts.stale += 1;
                    continue;
                }
                (Some((there, _)), _) if *there == version => &mut counts.unchanged,
                (None | Some((_, Known::Deleted)), Known::Deleted) => &mut counts.unchanged,
                (None | Some((_, Known::Deleted)), Known::Row { .. }) => &mut counts.inserted,
                (Some((_, Known::Row { .. })), Known::Deleted) => &mut counts.deleted,
                (
                    Some((_, Known::Row { values, extra })),
                    Known::Row {
                        values: new,
                        extra: more,
                    },
                ) => {
                    if values == new && extra == more {
                        &mut counts.unchanged
                    } else {
                        &mut counts.updated
                    }
                }
            };
            *count += 1;
            self.keys.insert(key, (version, new));
        }
        counts
    }

    fn prune(&mut self, moment: i64) -> u64 {
        let version = order(moment).at(0).to_string();
        match &self.floor {
            Some((floor, pruned)) if *floor == version => return *pruned,
            Some((floor, _)) if *floor > version => return 0,
            _ => {}
        }
        let mut pruned = 0;
        self.keys.retain(|_, (there, known)| {
            let stays = *there >= version;
            pruned += u64::from(!stays && matches!(known, Known::Row { .. }));
            stays
        });
        self.floor = Some((version, pruned));
        pruned
    }

    fn rows(&self) -> Rows {
        let rows = self
            .keys
            .iter()
            .filter_map(|(key, (version, known))| match known {
                Known::Row { values, extra } => Some((
                    key.clone(),
                    (values.clone(), extra.clone(), version.clone()),
                )),
                Known::Deleted => None,
            });
        rows.collect()
    }
}

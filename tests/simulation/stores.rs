//! A store in memory, which can refuse rows, panic, and be down.

use std::collections::{BTreeMap, HashSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use landfall_domain::{
    Dataset, Mode, ObjectOrder, PrunePreview, Row, RowVersion, StoreCounts, StoreKind, Structure,
    Value,
};
use landfall_stores::{Current, Maintenance, Prepared, Step, Store, StoreError};

use crate::fakes::locked;
use crate::schedule::pause;

/// What a store has for a key: the greatest version and its values, or `None` if that version deleted the key.
pub type Stored = (RowVersion, Option<Vec<Value>>);

/// The number of rows that a step of a prune deletes.
const STEP_ROWS: usize = 7;

/// A store: a map with the version guard of the real ones.
pub struct Map {
    pub kind: StoreKind,
    /// Whether the store cannot be reached.
    pub is_down: AtomicBool,
    /// Whether every step of a prune fails, and how many have.
    pub refuses_prunes: AtomicBool,
    pub refused_prunes: AtomicUsize,
    /// Whether the store accepts every row.
    pub is_repaired: AtomicBool,
    pub rows: Mutex<BTreeMap<String, Stored>>,
    floor: Mutex<Option<RowVersion>>,
    /// Number of rows that the prune of the floor has deleted.
    pruned: Mutex<u64>,
    /// Number of indexes that maintenance is to create.
    pub missing: AtomicU32,
    /// Whether maintenance is to make room for the rows.
    pub is_blocked: AtomicBool,
    /// Whether writers cannot go on while an index is created.
    pub locks_writers: AtomicBool,
    /// The session that creates an index, and how often the store is still found busy if its function has died.
    creating: Mutex<Option<(Weak<()>, u32)>>,
    /// The snapshots whose previews have begun.
    counted: Mutex<HashSet<ObjectOrder>>,
    /// The number of expired tombstones by dataset.
    pub expired: Mutex<BTreeMap<String, u64>>,
    /// The versions of columns of rows that are merged by column.
    columns: Mutex<BTreeMap<(String, usize), RowVersion>>,
}

impl Map {
    pub fn new(kind: StoreKind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            is_down: AtomicBool::default(),
            refuses_prunes: AtomicBool::default(),
            refused_prunes: AtomicUsize::default(),
            is_repaired: AtomicBool::default(),
            rows: Mutex::default(),
            floor: Mutex::default(),
            pruned: Mutex::default(),
            missing: AtomicU32::new(0),
            is_blocked: AtomicBool::default(),
            locks_writers: AtomicBool::default(),
            creating: Mutex::default(),
            counted: Mutex::default(),
            expired: Mutex::default(),
            columns: Mutex::default(),
        })
    }

    /// Stores a row with this key, without values.
    pub fn put(&self, key: &str) {
        let version = RowVersion::from_bytes(&[0; RowVersion::LEN]).unwrap();
        locked(&self.rows).insert(key.to_owned(), (version, Some(Vec::new())));
    }

    /// Merges the columns that a row has beside its key, the first one. Returns whether any changes.
    fn merge(&self, row: &Row, version: RowVersion, values: &mut [Value], key: &str) -> bool {
        let mut columns = locked(&self.columns);
        let parts = row
            .parts
            .as_deref()
            .expect("a row says which columns it has");
        let own = (version, parts.own.clone());
        let mut changes = false;
        for (version, part) in parts.older.iter().chain([&own]) {
            for column in (1..values.len()).filter(|column| part.contains(*column)) {
                let known = columns.entry((key.to_owned(), column)).or_insert(*version);
                if *known <= *version {
                    *known = *version;
                    changes |= values[column] != row.values[column];
                    values[column] = row.values[column].clone();
                }
            }
        }
        changes
    }
}

impl Map {
    /// Returns whether an index is being created. If its function has died, the server completes it after a while.
    fn is_creating(&self) -> bool {
        let mut creating = locked(&self.creating);
        let Some((session, left)) = &mut *creating else {
            return false;
        };
        if session.strong_count() > 0 {
            return true;
        }
        *left -= 1;
        if *left == 0 {
            *creating = None;
            self.complete();
        }
        true
    }

    /// Completes what is created first.
    fn complete(&self) {
        if !self.is_blocked.swap(false, Ordering::Relaxed) {
            self.missing.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub fn needs_maintenance(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed) || self.missing.load(Ordering::Relaxed) > 0
    }

    /// Fails for rows whose name says so.
    fn check(&self, rows: &[Row]) -> Result<(), StoreError> {
        if self.is_repaired.load(Ordering::Relaxed) {
            return Ok(());
        }
        for row in rows {
            let Some(Value::Text(name)) = row.values.get(1) else {
                continue;
            };
            match (&**name, self.kind) {
                ("refused", StoreKind::Postgres) => {
                    return Err(StoreError::Refused {
                        store: self.kind,
                        reason: "22003 out of range".to_owned(),
                    });
                }
                // Without a message of the panic hook.
                ("panics", StoreKind::Mongodb) => resume_unwind(Box::new("a defect")),
                ("unavailable", _) => return Err(unavailable(self.kind)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns the values of the key as one text.
fn key_text(dataset: &Dataset, row: &Row) -> String {
    let values = dataset.key_indexes().iter();
    let texts = values.map(|index| {
        let text = row.values[*index].to_text();
        text.expect("a row without a key was applied").into_owned()
    });
    texts.collect::<Vec<_>>().join("@")
}

fn unavailable(store: StoreKind) -> StoreError {
    StoreError::Unavailable {
        store,
        reason: "overloaded".to_owned(),
    }
}

#[async_trait]
impl Store for Map {
    fn kind(&self) -> StoreKind {
        self.kind
    }

    fn is_followed(&self, _: &str) -> bool {
        self.kind == StoreKind::Postgres
    }

    async fn prepare(&self, _: &Dataset) -> Result<Prepared, StoreError> {
        Ok(if self.is_blocked.load(Ordering::Relaxed) {
            Prepared::Blocked
        } else if self.needs_maintenance() {
            Prepared::NeedsMaintenance
        } else {
            Prepared::Complete
        })
    }

    async fn maintain(&self, _: &Dataset, current: &Current) -> Result<Maintenance, StoreError> {
        pause().await;
        if self.is_creating() {
            return Ok(Maintenance::Busy);
        }
        if !self.needs_maintenance() {
            return Ok(Maintenance::Done);
        }
        current.send_replace(Some(if self.is_blocked.load(Ordering::Relaxed) {
            Structure::versions("products")
        } else {
            Structure::index("name")
        }));
        let session = Arc::new(());
        *locked(&self.creating) = Some((Arc::downgrade(&session), 3));
        pause().await;
        pause().await;
        *locked(&self.creating) = None;
        self.complete();
        Ok(Maintenance::Continues)
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        pause().await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::Down {
                store: self.kind,
                reason: "connection refused".to_owned(),
            });
        }
        let is_blocked = self.is_blocked.load(Ordering::Relaxed);
        assert!(!is_blocked, "rows of a table without room");
        if self.locks_writers.load(Ordering::Relaxed) && locked(&self.creating).is_some() {
            return Err(StoreError::Maintained {
                store: self.kind,
                reason: "lock timeout".to_owned(),
            });
        }
        self.check(rows)?;
        let mut counts = StoreCounts::default();
        {
            let mut stored = locked(&self.rows);
            let floor = *locked(&self.floor);
            for row in rows.iter() {
                let key = key_text(dataset, row);
                let version = dataset.versions(*order).of(row);
                let values = (!row.deleted).then(|| row.values.to_vec());
                if dataset.mode == Mode::Merge {
                    let is_new = !stored.contains_key(&key);
                    let empty = vec![Value::Null; row.values.len()];
                    let merged = stored.entry(key.clone());
                    let merged = merged.or_insert((version, Some(empty)));
                    merged.0 = merged.0.max(version);
                    let values = merged.1.as_mut().unwrap();
                    values[0] = row.values[0].clone();
                    *match (is_new, self.merge(row, version, values, &key)) {
                        (true, _) => &mut counts.inserted,
                        (false, true) => &mut counts.updated,
                        (false, false) => &mut counts.unchanged,
                    } += 1;
                    continue;
                }
                let existing = stored.get(&key);
                if existing.is_some_and(|(existing, _)| *existing == version) {
                    counts.unchanged += 1;
                    continue;
                }
                if existing.is_some_and(|(existing, _)| *existing > version)
                    || floor > Some(version)
                {
                    counts.stale += 1;
                    continue;
                }
                *match (existing, &values) {
                    (Some((_, existing)), _) if *existing == values => &mut counts.unchanged,
                    (Some((_, Some(_))), Some(_)) => &mut counts.updated,
                    (_, Some(_)) => &mut counts.inserted,
                    (Some(_), None) => &mut counts.deleted,
                    (None, None) => &mut counts.unchanged,
                } += 1;
                stored.insert(key, (version, values));
            }
        }
        pause().await;
        Ok(counts)
    }

    async fn preview_prune(
        &self,
        _: &Dataset,
        order: &ObjectOrder,
    ) -> Result<Step<PrunePreview>, StoreError> {
        pause().await;
        let is_first = locked(&self.counted).insert(*order);
        let preview = {
            let stored = locked(&self.rows);
            let rows = stored.values().filter(|(_, values)| values.is_some());
            let deletes = rows.clone().filter(|(version, _)| *version < order.at(0));
            PrunePreview {
                rows: rows.count() as u64,
                deletes: deletes.count() as u64,
            }
        };
        pause().await;
        Ok(if is_first {
            Step::Continues
        } else {
            Step::Done(preview)
        })
    }

    async fn prune(&self, _: &Dataset, order: &ObjectOrder) -> Result<Step<u64>, StoreError> {
        pause().await;
        if self.refuses_prunes.load(Ordering::Relaxed) {
            self.refused_prunes.fetch_add(1, Ordering::Relaxed);
            return Err(unavailable(self.kind));
        }
        let step = {
            let (own, mut floor) = (order.at(0), locked(&self.floor));
            let mut pruned = locked(&self.pruned);
            if *floor < Some(own) {
                (*floor, *pruned) = (Some(own), 0);
            }
            let mut rows = locked(&self.rows);
            let is_below = |(version, _): &Stored| Some(*version) < *floor;
            let below = rows.iter().filter(|(_, stored)| is_below(stored));
            let below: Vec<String> = below.map(|(key, _)| key.clone()).collect();
            for key in below.iter().take(STEP_ROWS) {
                let removed = rows.remove(key);
                *pruned += u64::from(removed.is_some_and(|(_, values)| values.is_some()));
            }
            if below.len() > STEP_ROWS {
                Step::Continues
            } else if *floor == Some(own) {
                Step::Done(*pruned)
            } else {
                Step::Done(0)
            }
        };
        pause().await;
        Ok(step)
    }

    async fn next_to_sweep(&self, after: Option<&str>) -> Result<Option<String>, StoreError> {
        pause().await;
        let expired = locked(&self.expired);
        let mut datasets = expired.keys();
        Ok(datasets.find(|name| Some(name.as_str()) > after).cloned())
    }

    async fn sweep(&self, dataset: &str) -> Result<u64, StoreError> {
        pause().await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err(unavailable(self.kind));
        }
        let mut expired = locked(&self.expired);
        let left = expired.get_mut(dataset).expect("a registered dataset");
        let swept = (*left).min(STEP_ROWS as u64);
        *left -= swept;
        Ok(swept)
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(Vec::new())
    }
}

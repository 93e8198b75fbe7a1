use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::dynamo::{Item, from_attribute, number, require, text};
use landfall_domain::StoreKind;
use serde::{Deserialize, Serialize};

use crate::dynamo::Updated;
use crate::item::CIRCUITS_KEY;
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Ends of the names of the attributes that a store with an open circuit has.
const SINCE: &str = "_down_since";
const REASON: &str = "_reason";
const PROBE_AT: &str = "_probe_at";

/// The open circuit of a store: the store is down, and chunks wait instead of trying to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// The store.
    pub store: StoreKind,
    /// When it was found to be down.
    pub since: Timestamp,
    /// What its last error said.
    pub reason: String,
    /// When a worker may try again whether it is back.
    pub probe_at: Timestamp,
}

/// A store that is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreDown {
    /// The store.
    pub store: StoreKind,
    /// Since when, as far as is known; RFC 3339.
    pub since: String,
    /// What its last error said.
    pub reason: String,
}

impl From<Circuit> for StoreDown {
    fn from(circuit: Circuit) -> Self {
        Self {
            store: circuit.store,
            since: format!("{:.0}", circuit.since),
            reason: circuit.reason,
        }
    }
}

/// The circuits of the stores, shared by all workers, in one item.
#[async_trait]
pub trait CircuitTable: Send + Sync {
    /// Returns the open circuits, by store.
    async fn open_circuits(&self) -> Result<Vec<Circuit>, LedgerError>;

    /// Opens the circuit of a store; if it is open, sets only its reason and the time of the next probe. Returns the
    /// circuit as it is afterwards.
    async fn open_circuit(&self, circuit: &Circuit) -> Result<Circuit, LedgerError>;

    /// Sets when the next probe follows, unless the circuit has changed since it was read. Returns whether it had not:
    /// then the caller may probe.
    async fn claim_probe(&self, circuit: &Circuit, next: Timestamp) -> Result<bool, LedgerError>;

    /// Closes a circuit, unless it has been closed, or closed and opened again, since it was read.
    async fn close_circuit(&self, circuit: &Circuit) -> Result<(), LedgerError>;
}

fn attribute(store: StoreKind, end: &str) -> String {
    format!("{}{end}", store.as_str())
}

fn read_circuits(item: &Item) -> Result<Vec<Circuit>, LedgerError> {
    let corrupt = |error| LedgerError::corrupt(CIRCUITS_KEY, error);
    let time = |name: &str| {
        let time: i64 = require(item, name).map_err(corrupt)?;
        Timestamp::from_millisecond(time).map_err(|error| LedgerError::corrupt(CIRCUITS_KEY, error))
    };
    let mut circuits = Vec::new();
    for store in item.keys().filter_map(|name| name.strip_suffix(SINCE)) {
        let store: StoreKind = from_attribute(text(store)).map_err(corrupt)?;
        circuits.push(Circuit {
            store,
            since: time(&attribute(store, SINCE))?,
            reason: require(item, &attribute(store, REASON)).map_err(corrupt)?,
            probe_at: time(&attribute(store, PROBE_AT))?,
        });
    }
    circuits.sort_unstable_by_key(|circuit| circuit.store);
    Ok(circuits)
}

#[async_trait]
impl CircuitTable for DynamoTable {
    async fn open_circuits(&self) -> Result<Vec<Circuit>, LedgerError> {
        let item = self.get(CIRCUITS_KEY).await?;
        item.as_ref().map_or_else(|| Ok(Vec::new()), read_circuits)
    }

    async fn open_circuit(&self, circuit: &Circuit) -> Result<Circuit, LedgerError> {
        let update = self
            .update(CIRCUITS_KEY)
            .update_expression(
                "SET #since = if_not_exists(#since, :since), #reason = :reason, #probe_at = :probe_at",
            )
            .expression_attribute_names("#since", attribute(circuit.store, SINCE))
            .expression_attribute_names("#reason", attribute(circuit.store, REASON))
            .expression_attribute_names("#probe_at", attribute(circuit.store, PROBE_AT))
            .expression_attribute_values(":since", number(circuit.since.as_millisecond()))
            .expression_attribute_values(":reason", text(&circuit.reason))
            .expression_attribute_values(":probe_at", number(circuit.probe_at.as_millisecond()));
        let (Updated::Applied(item) | Updated::Unmet(item)) =
            self.send(CIRCUITS_KEY.to_owned(), update).await?;
        let mut circuits = read_circuits(&item)?.into_iter();
        circuits
            .find(|open| open.store == circuit.store)
            .ok_or_else(|| LedgerError::corrupt(CIRCUITS_KEY, "the circuit did not open"))
    }

    async fn claim_probe(&self, circuit: &Circuit, next: Timestamp) -> Result<bool, LedgerError> {
        let update = self
            .update(CIRCUITS_KEY)
            .condition_expression("#since = :since AND #probe_at = :probe_at")
            .update_expression("SET #probe_at = :next")
            .expression_attribute_names("#since", attribute(circuit.store, SINCE))
            .expression_attribute_names("#probe_at", attribute(circuit.store, PROBE_AT))
            .expression_attribute_values(":since", number(circuit.since.as_millisecond()))
            .expression_attribute_values(":probe_at", number(circuit.probe_at.as_millisecond()))
            .expression_attribute_values(":next", number(next.as_millisecond()));
        let updated = self.send(CIRCUITS_KEY.to_owned(), update).await?;
        Ok(matches!(updated, Updated::Applied(_)))
    }

    async fn close_circuit(&self, circuit: &Circuit) -> Result<(), LedgerError> {
        let update = self
            .update(CIRCUITS_KEY)
            .condition_expression("#since = :since")
            .update_expression("REMOVE #since, #reason, #probe_at")
            .expression_attribute_names("#since", attribute(circuit.store, SINCE))
            .expression_attribute_names("#reason", attribute(circuit.store, REASON))
            .expression_attribute_names("#probe_at", attribute(circuit.store, PROBE_AT))
            .expression_attribute_values(":since", number(circuit.since.as_millisecond()));
        self.send(CIRCUITS_KEY.to_owned(), update).await.map(drop)
    }
}

#[async_trait]
impl CircuitTable for MemoryTable {
    async fn open_circuits(&self) -> Result<Vec<Circuit>, LedgerError> {
        Ok(self.items().circuits.values().cloned().collect())
    }

    async fn open_circuit(&self, circuit: &Circuit) -> Result<Circuit, LedgerError> {
        let mut items = self.items();
        let open = items.circuits.entry(circuit.store);
        let open = open.or_insert_with(|| circuit.clone());
        open.reason.clone_from(&circuit.reason);
        open.probe_at = circuit.probe_at;
        Ok(open.clone())
    }

    async fn claim_probe(&self, circuit: &Circuit, next: Timestamp) -> Result<bool, LedgerError> {
        let mut items = self.items();
        let open = items.circuits.get_mut(&circuit.store);
        let unchanged =
            open.filter(|open| (open.since, open.probe_at) == (circuit.since, circuit.probe_at));
        Ok(unchanged.map(|open| open.probe_at = next).is_some())
    }

    async fn close_circuit(&self, circuit: &Circuit) -> Result<(), LedgerError> {
        let mut items = self.items();
        if items
            .circuits
            .get(&circuit.store)
            .is_some_and(|open| open.since == circuit.since)
        {
            items.circuits.remove(&circuit.store);
        }
        Ok(())
    }
}

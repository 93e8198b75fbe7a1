//! Orders that are created, updated and deleted.
//!
//! The same number of orders and changes and the same seed generate the same life.

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::files::{STATUSES, customer, items};

/// The value of the field `channel` in all orders of a seeding.
pub(super) const CHANNEL: &str = "seed";
/// Share of the changes that delete an order.
const DELETED: f64 = 0.1;
/// Share of the updates that change the status, if the order is not shipped yet.
const MOVED: f64 = 0.7;
/// The position of the last status that an order of a seeding reaches, `shipped`.
const LAST_STATUS: usize = STATUSES.len() - 2;

/// An order as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its key.
    pub id: u64,
    /// Position of its status.
    status: usize,
    cents: u64,
    seed: u64,
}

/// What happens to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is created.
    Create(Order),
    /// It has other values than before.
    Update(Order),
    /// The order with this key is deleted.
    Delete(u64),
}

/// The changes of orders: first each order is created, with the keys from 1 on, then a random one changes each time. A
/// deleted order is not created again. Half of the orders, rounded up, are never deleted.
#[derive(Clone, Debug)]
pub struct Life {
    rng: StdRng,
    seed: u64,
    orders: Vec<Order>,
    /// Orders that are not created yet.
    new: u64,
    created: u64,
    /// Changes that are still to come.
    changes: u64,
    /// Orders that may still be deleted.
    deletable: u64,
}

impl Order {
    fn new(id: u64, seed: u64, rng: &mut StdRng) -> Self {
        Self {
            id,
            status: 0,
            cents: rng.random_range(100..200_000),
            seed,
        }
    }

    fn change(&mut self, rng: &mut StdRng) {
        if self.status < LAST_STATUS && rng.random_bool(MOVED) {
            self.status += 1;
        } else {
            self.cents += rng.random_range(1..1_000);
        }
    }

    /// Returns the status.
    pub fn status(&self) -> &'static str {
        STATUSES[self.status]
    }

    /// Returns the total in cents.
    pub fn cents(&self) -> u64 {
        self.cents
    }

    /// Returns the row of the dataset `orders`.
    pub fn row(&self) -> Value {
        let mut rng = StdRng::seed_from_u64(self.seed ^ self.id.rotate_left(32));
        let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 20_000);
        let seconds = SignedDuration::from_secs((self.id % 31_536_000).cast_signed());
        json!({
            "order_id": self.id,
            "customer": customer(&mut rng),
            "status": self.status(),
            "items": items(&mut rng),
            "total": format!("{}.{:02}", self.cents / 100, self.cents % 100),
            "placed_at": (start + seconds).to_string(),
            "channel": CHANNEL,
        })
    }
}

impl Change {
    /// Returns the key of the order.
    pub fn id(&self) -> u64 {
        match self {
            Self::Create(order) | Self::Update(order) => order.id,
            Self::Delete(id) => *id,
        }
    }

    /// Returns the record of a file with the change.
    pub fn record(&self) -> Value {
        match self {
            Self::Create(order) | Self::Update(order) => order.row(),
            Self::Delete(id) => json!({ "order_id": id, "op": "delete" }),
        }
    }
}

impl Life {
    /// Begins a life of so many orders, with so many changes after their creation.
    pub fn new(orders: u64, changes: u64, seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            seed,
            orders: Vec::new(),
            new: orders,
            created: 0,
            changes: if orders == 0 { 0 } else { changes },
            deletable: orders / 2,
        }
    }

    /// Returns the orders as they stand after the changes so far, in no particular order.
    pub fn into_orders(self) -> Vec<Order> {
        self.orders
    }
}

impl Iterator for Life {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        if let Some(new) = self.new.checked_sub(1) {
            self.new = new;
            self.created += 1;
            let order = Order::new(self.created, self.seed, &mut self.rng);
            self.orders.push(order.clone());
            return Some(Change::Create(order));
        }
        self.changes = self.changes.checked_sub(1)?;
        let at = self.rng.random_range(0..self.orders.len());
        if self.deletable > 0 && self.rng.random_bool(DELETED) {
            self.deletable -= 1;
            return Some(Change::Delete(self.orders.swap_remove(at).id));
        }
        let order = self.orders.get_mut(at)?;
        order.change(&mut self.rng);
        Some(Change::Update(order.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Applies changes to orders, and checks that each is possible.
    fn fold(changes: impl Iterator<Item = Change>) -> BTreeMap<u64, Option<Order>> {
        let mut orders = BTreeMap::new();
        for change in changes {
            match change {
                Change::Create(order) => {
                    assert_eq!(orders.insert(order.id, Some(order)), None, "created twice");
                }
                Change::Update(order) => {
                    let id = order.id;
                    let before = orders.insert(id, Some(order.clone()));
                    let before = before.expect("updated before it is created");
                    let before = before.expect("updated after it is deleted");
                    assert_ne!(before, order, "the update changes nothing");
                    assert!(before.status <= order.status && before.cents <= order.cents);
                }
                Change::Delete(id) => {
                    let before = orders.insert(id, None);
                    assert!(before.is_some_and(|before| before.is_some()), "{id}");
                }
            }
        }
        orders
    }

    proptest! {
        #[test]
        fn orders_are_created_then_updated_then_deleted(
            orders in 0..60_u64, changes in 0..600_u64, seed in any::<u64>()
        ) {
            let mut life = Life::new(orders, changes, seed);
            let all: Vec<Change> = life.by_ref().collect();
            let expected = if orders == 0 { 0 } else { orders + changes };
            prop_assert_eq!(all.len() as u64, expected);
            let folded = fold(all.iter().cloned());
            prop_assert_eq!(folded.keys().copied().collect::<Vec<_>>(), (1..=orders).collect::<Vec<_>>());
            let mut left = life.into_orders();
            left.sort_by_key(|order| order.id);
            prop_assert!(left.len() as u64 >= orders.div_ceil(2));
            prop_assert_eq!(left, folded.into_values().flatten().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_same_seed_generates_the_same_life() {
        let make = |seed| Life::new(20, 100, seed).map(|change| change.record());
        assert!(make(1).eq(make(1)));
        assert!(!make(1).eq(make(2)));
    }

    #[test]
    fn an_update_changes_only_status_and_total() {
        let changes: Vec<_> = Life::new(1, 1, 7).collect();
        let [Change::Create(before), Change::Update(after)] = &changes[..] else {
            panic!("{changes:?}");
        };
        let (mut before, after) = (before.row(), after.row());
        before["status"] = after["status"].clone();
        before["total"] = after["total"].clone();
        assert_eq!(before, after);
    }
}

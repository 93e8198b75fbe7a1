//! Reads a key with its state.

use landfall_domain::{RowVersion, StoreKind};

use super::cells::{Cells, unreadable};
use super::statements::STATE_COLUMNS;
use super::{ChangeKey, DueChange, ListedChange, Sent, timestamp};
use crate::error::Result;
use crate::read::StoredRow;

/// A key that a statement has selected.
pub(super) struct ListedKey {
    pub(super) listed: ListedChange,
}

impl ListedKey {
    /// Reads the columns of a key and its state.
    pub(super) fn read(store: StoreKind, row: StoredRow) -> Result<Self> {
        let mut values = row.values;
        let state = values.split_off(values.len().saturating_sub(STATE_COLUMNS));
        let mut cells = Cells::new(store, state);
        let place = cells.integer()?;
        let wanted = cells.version()?.ok_or_else(|| unreadable(store))?;
        let wanted_at = timestamp(store, cells.integer()?)?;
        let sent = cells.version()?;
        let exists = cells.integer()? == 1;
        let id = cells.text()?;
        let attempts = u32::try_from(cells.integer()?).map_err(|_| unreadable(store))?;
        Ok(Self {
            listed: ListedChange {
                key: ChangeKey { values, place },
                wanted,
                wanted_at,
                sent: sent.map(|version| Sent {
                    version,
                    exists,
                    id,
                }),
                attempts,
                due_at: timestamp(store, cells.integer()?)?,
                is_leased: cells.integer()? == 1,
                is_uncertain: cells.integer()? == 1,
                holds: cells.integer()? == 1,
                answer: cells.text()?,
            },
        })
    }

    pub(super) fn id(&self) -> i64 {
        self.listed.key.place
    }

    /// Returns the change to send, with the row as it stands.
    pub(super) fn leased(self, row: Option<(i64, RowVersion, StoredRow)>) -> DueChange {
        let listed = self.listed;
        let version = row
            .as_ref()
            .map_or(listed.wanted, |(_, version, _)| *version);
        DueChange {
            key: listed.key,
            row: row.map(|(.., row)| row),
            version,
            sent: listed.sent,
            attempts: listed.attempts,
            // A lease that ended without a result.
            is_uncertain: listed.is_uncertain || listed.is_leased,
            wanted_at: listed.wanted_at,
        }
    }
}

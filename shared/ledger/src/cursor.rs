use async_trait::async_trait;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{require, text};

use crate::item::cursor_key;
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Positions at which the next run of a periodic task continues.
///
/// A lost update, or one of two runs at the same time, only repeats or skips a part of one round.
#[async_trait]
pub trait CursorTable: Send + Sync {
    /// Returns the saved position of a task.
    async fn cursor(&self, task: &str) -> Result<Option<String>, LedgerError>;

    /// Saves the position of a task.
    async fn save_cursor(&self, task: &str, position: &str) -> Result<(), LedgerError>;
}

#[async_trait]
impl CursorTable for DynamoTable {
    async fn cursor(&self, task: &str) -> Result<Option<String>, LedgerError> {
        let key = cursor_key(task);
        let item = self.get(&key).await?;
        let position = item.map(|item| require(&item, "position"));
        let position = position.transpose();
        position.map_err(|error| LedgerError::corrupt(&key, error))
    }

    async fn save_cursor(&self, task: &str, position: &str) -> Result<(), LedgerError> {
        let key = cursor_key(task);
        self.update(&key)
            .update_expression("SET #position = :position")
            .expression_attribute_names("#position", "position")
            .expression_attribute_values(":position", text(position))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }
}

#[async_trait]
impl CursorTable for MemoryTable {
    async fn cursor(&self, task: &str) -> Result<Option<String>, LedgerError> {
        Ok(self.items().cursors.get(task).cloned())
    }

    async fn save_cursor(&self, task: &str, position: &str) -> Result<(), LedgerError> {
        let mut items = self.items();
        items.cursors.insert(task.to_owned(), position.to_owned());
        Ok(())
    }
}

//! Rebuilding of tables of totals.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use landfall_domain::Dataset;
use landfall_stores::{StoreOptions, connect_sql};

/// Timeout of a rebuild, which is a GROUP BY over a table of any size.
const TIMEOUT: Duration = Duration::from_hours(6);

/// Rebuilds the totals of the dataset with this definition. Returns the number of groups in each table.
pub(crate) async fn rebuild(definition: &Path, sql_url: &str) -> Result<Vec<(String, u64)>> {
    let shown = definition.display().to_string();
    let text =
        std::fs::read_to_string(definition).with_context(|| format!("cannot read {shown}"))?;
    let dataset = Dataset::from_toml(&shown, &text)?;
    if dataset.totals.is_empty() {
        bail!("{shown} defines no totals, so there is nothing to rebuild");
    }
    let options = StoreOptions {
        connections: 1,
        timeout: TIMEOUT,
        ..StoreOptions::default()
    };
    let store = connect_sql(sql_url, options, None).await?;
    Ok(store.rebuild_totals(&dataset).await?)
}

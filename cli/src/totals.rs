//! Making tables of totals anew.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use landfall_domain::Dataset;
use landfall_stores::{StoreOptions, connect_sql};

/// The longest that a rebuild may take: a GROUP BY over a table of any size.
const LONGEST: Duration = Duration::from_hours(6);

/// Makes the totals of the dataset of this definition anew; gives the groups of each table.
pub fn rebuild(definition: &Path, sql_url: &str) -> Result<Vec<(String, u64)>> {
    let shown = definition.display().to_string();
    let text =
        std::fs::read_to_string(definition).with_context(|| format!("cannot read {shown}"))?;
    let dataset = Dataset::from_toml(&shown, &text)?;
    if dataset.totals.is_empty() {
        bail!("{shown} defines no totals");
    }
    let options = StoreOptions {
        connections: 1,
        timeout: LONGEST,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(async {
            let store = connect_sql(sql_url, options).await?;
            Ok(store.rebuild_totals(&dataset).await?)
        })
}

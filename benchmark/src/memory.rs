//! Makes the host provide memory before a load is timed.
//!
//! The host of a virtual machine may allocate memory page by page on first use, and reclaim memory that has been free
//! for seconds. Such a page fault takes many times as long as another one, and larger loads cause more of them, so that
//! time would seem to grow faster than rows.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

/// Fills all free memory with the page cache. The memory is then allocated, stays so, and is available to any program.
/// Has no effect where the amount of free memory is unknown.
pub(crate) fn fill_page_cache(directory: &Path) -> Result<()> {
    let path = directory.join("memory");
    let context = || format!("cannot fill the cache with {}", path.display());
    // Sparse, so it needs no disk space. New each time, because pages that are read twice would be evicted later.
    File::create(&path)
        .and_then(|file| file.set_len(bytes("MemAvailable")))
        .with_context(context)?;
    let mut file = File::open(&path).with_context(context)?;
    io::copy(&mut file, &mut io::sink()).with_context(context)?;
    Ok(())
}

/// Returns an entry of `/proc/meminfo` in bytes; 0 on systems without this file.
pub(crate) fn bytes(entry: &str) -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = meminfo.lines().find_map(|line| {
        let value = line.strip_prefix(entry)?.strip_prefix(':')?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kibibytes.map_or(0, |kibibytes| kibibytes << 10)
}

//! Memory that is there before a load is timed.
//!
//! A virtual machine's host may give it memory page by page, when it is first touched, and take back what has been free
//! for seconds. Such a touch can take many times as long as another one, and a load meets the more of them the larger
//! it is, whoever's: it would look as if time grew faster than rows.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

/// Has the system's cache of files hold all memory that is free: it is touched then, stays so, and goes to whoever asks
/// for it. Of no effect where the system doesn't tell how much that is.
pub(crate) fn touch(directory: &Path) -> Result<()> {
    let path = directory.join("memory");
    let cannot = || format!("cannot fill the cache with {}", path.display());
    // Takes no room on the disk. Made anew each time: pages that are read again would be given up later than others.
    File::create(&path)
        .and_then(|file| file.set_len(bytes("MemAvailable")))
        .with_context(cannot)?;
    let mut file = File::open(&path).with_context(cannot)?;
    io::copy(&mut file, &mut io::sink()).with_context(cannot)?;
    Ok(())
}

/// Bytes that an entry of `/proc/meminfo` tells; 0 where the system has no such file.
pub(crate) fn bytes(entry: &str) -> u64 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = told.lines().find_map(|line| {
        let value = line.strip_prefix(entry)?.strip_prefix(':')?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kibibytes.map_or(0, |kibibytes| kibibytes << 10)
}

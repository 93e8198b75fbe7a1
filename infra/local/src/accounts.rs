//! The user that a database server runs as. Database servers refuse to run as root.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rand::distr::{Alphanumeric, SampleString};

/// The user of a server: the caller, or another one if the caller is root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account(Option<(u32, u32)>);

impl Account {
    /// Returns the caller; for root, the user `preferred`, else `nobody`.
    pub(crate) fn for_server(preferred: &str) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        ids(&passwd, preferred)
            .or_else(|| ids(&passwd, "nobody"))
            .map(|ids| Self(Some(ids)))
            .with_context(|| {
                format!(
                    "the server refuses to run as root, and there is no user {preferred} or nobody"
                )
            })
    }

    /// Makes `command` run as this user.
    pub(crate) fn run_as(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }

    /// Creates a directory of this user, in place of an incomplete one.
    pub(crate) fn new_directory(self, path: &Path) -> Result<()> {
        if path.exists() {
            fs::remove_dir_all(path).with_context(|| {
                format!("cannot remove the incomplete directory {}", path.display())
            })?;
        }
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        self.make_owner(path)
    }

    /// Makes this user the owner of a file or directory.
    pub(crate) fn make_owner(self, path: &Path) -> Result<()> {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group))
                .with_context(|| format!("cannot change the owner of {}", path.display()))?;
        }
        Ok(())
    }
}

fn ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let user = fields.nth(1)?.parse().ok()?;
        Some((user, fields.next()?.parse().ok()?))
    })
}

/// Writes a file that only its owner can read.
pub(crate) fn write_secret(path: &Path, secret: &str) -> Result<()> {
    File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Returns a random password that needs no escaping in a URL.
pub(crate) fn password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 24)
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn an_account_is_found_by_its_full_name() {
        let passwd = "postgresx:x:1:2::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(ids(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids(passwd, "nobody"), None);
    }
}

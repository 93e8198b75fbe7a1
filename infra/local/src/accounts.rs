//! Database servers refuse to run as root; then they run as an account of the system's.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rand::Rng;
use rand::distr::Alphanumeric;

/// Who a server runs as: the caller, or (for root) somebody else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account(Option<(u32, u32)>);

impl Account {
    /// The caller; for root the account `preferred`, else `nobody`.
    pub(crate) fn for_server(preferred: &str) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        ids(&passwd, preferred)
            .or_else(|| ids(&passwd, "nobody"))
            .map(|ids| Self(Some(ids)))
            .with_context(|| {
                format!("root cannot run it, and there is no user {preferred} or nobody")
            })
    }

    /// Lets `command` run as this account.
    pub(crate) fn run(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }

    /// Gives it the file or directory.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group))
                .with_context(|| format!("cannot give {} away", path.display()))?;
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

/// Writes a password, for nobody else to read.
pub(crate) fn write_secret(path: &Path, secret: &str) -> Result<()> {
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(secret.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A password that fits into a URL as it is.
pub(crate) fn password() -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(24)
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn finds_an_account_by_its_whole_name() {
        let passwd = "postgresx:x:1:2::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(ids(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids(passwd, "nobody"), None);
    }
}

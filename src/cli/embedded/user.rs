//! Under which user PostgreSQL runs: it refuses root.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;
use tokio::process::Command;

/// A user other than this process's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunAs {
    uid: u32,
    gid: u32,
}

impl RunAs {
    /// `None` where this process is not root and PostgreSQL runs as the same user. Where it is root: the owner of what
    /// exists already, else `postgres`, else `nobody`.
    pub(super) fn choose(directory: &Path) -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        if let Ok(metadata) = fs::metadata(directory)
            && metadata.uid() != 0
        {
            return Ok(Some(Self { uid: metadata.uid(), gid: metadata.gid() }));
        }
        let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        match find(&users, "postgres").or_else(|| find(&users, "nobody")) {
            Some(user) => Ok(Some(user)),
            None => bail!("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody"),
        }
    }

    /// Makes `directory` this user's. A link is not followed: this user may have put it there.
    pub(super) fn own(self, directory: &Path) -> Result<()> {
        lchown(directory, Some(self.uid), Some(self.gid))
            .with_context(|| format!("giving {} away", directory.display()))
    }

    /// Errors: the first folder on the way to `directory` that this user cannot enter.
    pub(super) fn check_way_to(self, directory: &Path) -> Result<()> {
        for folder in directory.ancestors().skip(1) {
            let metadata = fs::metadata(folder).with_context(|| format!("looking at {}", folder.display()))?;
            let bit = match (metadata.uid() == self.uid, metadata.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if metadata.mode() & bit == 0 {
                bail!(
                    "{} cannot be entered by the unprivileged user (uid {}) under which the private PostgreSQL runs. Use \
                     another --data-dir (for root the default is /var/lib/secateur), or open that folder: chmod o+x {}",
                    folder.display(),
                    self.uid,
                    folder.display()
                );
            }
        }
        Ok(())
    }

    /// Lets `command` run as this user, with no group of root's.
    pub(super) fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

fn find(users: &str, name: &str) -> Option<RunAs> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(RunAs { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:\npostgres:x:102:105:PostgreSQL:/var/lib/postgresql:\n";
        assert_eq!(find(users, "postgres"), Some(RunAs { uid: 102, gid: 105 }));
        assert_eq!(find(users, "nobody"), None);
    }

    #[test]
    fn a_folder_that_cannot_be_entered_is_named() {
        let root = tempfile::tempdir().unwrap();
        let closed = root.path().join("closed");
        let inside = closed.join("inside");
        fs::create_dir_all(&inside).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stranger = RunAs { uid: 4_000_000, gid: 4_000_000 };
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        stranger.check_way_to(&inside).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let error = stranger.check_way_to(&inside).unwrap_err().to_string();
        assert!(error.starts_with(&closed.display().to_string()) && error.contains("chmod o+x"), "{error}");
    }
}

//! Finds PostgreSQL's server programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// Oldest version that the migrations run on.
const OLDEST: u32 = 15;

/// Folders in which distributions put the programs; `*` stands for the version.
const USUAL: [&str; 4] =
    ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/usr/lib64/postgresql-*/bin"];

/// A folder with `initdb` and `postgres` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// The first of `PG_BIN`, the search path, `pg_config` and the usual folders (newest first) that holds a version
    /// that will do: `wanted`, where a cluster exists, else any from [`OLDEST`] on.
    pub(super) fn find(pg_bin: Option<&Path>, search_path: Option<&OsStr>, wanted: Option<u32>) -> Result<Self> {
        let suits = |found: &Self| wanted.map_or(found.major >= OLDEST, |wanted| found.major == wanted);
        if let Some(folder) = pg_bin {
            return match Self::in_folder(folder) {
                Some(found) if suits(&found) => Ok(found),
                Some(found) => bail!(
                    "PG_BIN holds PostgreSQL {}, but {}",
                    found.major,
                    wanted.map_or(format!("{OLDEST} is the oldest that will do"), |wanted| format!(
                        "the cluster was made by PostgreSQL {wanted}"
                    ))
                ),
                None => bail!("PG_BIN is {}, where there is no initdb and postgres that run", folder.display()),
            };
        }
        let on_path = search_path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
        let configured = Command::new("pg_config").arg("--bindir").output().ok();
        let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let mut usual: Vec<Self> =
            USUAL.iter().flat_map(|pattern| expand(pattern)).filter_map(|f| Self::in_folder(&f)).collect();
        usual.sort_by_key(|found| std::cmp::Reverse(found.major));
        let named = on_path.into_iter().chain(configured).filter_map(|folder| Self::in_folder(&folder));
        let mut unsuited = Vec::new();
        for found in named.chain(usual) {
            if suits(&found) {
                return Ok(found);
            }
            unsuited.push(found);
        }
        match wanted {
            Some(wanted) => bail!(
                "the database in the data directory was made by PostgreSQL {wanted}, whose server programs are not \
                 installed{}. Install them with: {} (or name their folder in PG_BIN)",
                listed(&unsuited),
                install_command(Some(wanted))
            ),
            None => bail!(
                "PostgreSQL's server programs of version {OLDEST} or newer are not installed{}. Install them with: {} \
                 (or name their folder in PG_BIN, or use a server of your own with --database-url)",
                listed(&unsuited),
                install_command(None)
            ),
        }
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder: folder.to_path_buf(), major })
    }
}

/// What is installed instead, to be read within the sentence; nothing where nothing is.
fn listed(unsuited: &[Binaries]) -> String {
    let mut found: Vec<String> =
        unsuited.iter().map(|found| format!("version {} in {}", found.major, found.folder.display())).collect();
    found.dedup();
    if found.is_empty() { String::new() } else { format!("; found is {}", found.join(", ")) }
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → 15.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split(") ").nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

/// The command for the package manager of this machine.
fn install_command(major: Option<u32>) -> String {
    let version = major.map(|major| format!("-{major}")).unwrap_or_default();
    if Path::new("/usr/bin/dnf").exists() {
        return "sudo dnf install postgresql-server".into();
    }
    if Path::new("/sbin/apk").exists() {
        return format!("sudo apk add postgresql{}", version.trim_start_matches('-'));
    }
    format!("sudo apt-get install -y postgresql{version}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(root: &Path, major: u32) -> PathBuf {
        let folder = root.join(major.to_string());
        fs::create_dir(&folder).unwrap();
        for program in ["initdb", "postgres"] {
            fs::write(folder.join(program), format!("#!/bin/sh\necho 'postgres (PostgreSQL) {major}.3 (Somewhere)'\n"))
                .unwrap();
            fs::set_permissions(folder.join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    #[test]
    fn versions_of_release_and_beta_are_read() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta2"), Some(18));
        assert_eq!(parse_major("something else"), None);
    }

    #[test]
    fn a_cluster_gets_the_version_that_made_it() {
        let root = tempfile::tempdir().unwrap();
        let path = std::env::join_paths([fake(root.path(), 91), fake(root.path(), 90)]).unwrap();
        let found = |wanted| Binaries::find(None, Some(&path), wanted).unwrap().major;
        assert_eq!(found(None), 91);
        assert_eq!(found(Some(90)), 90);
        let error = Binaries::find(None, Some(&path), Some(89)).unwrap_err().to_string();
        assert!(error.contains("made by PostgreSQL 89") && error.contains("Install them with: "), "{error}");
        assert!(error.contains("found is version 91 in "), "{error}");
    }

    /// It was said that no PostgreSQL is installed.
    #[test]
    fn a_version_that_is_too_old_is_told_with_the_one_that_is_needed() {
        let root = tempfile::tempdir().unwrap();
        let old = fake(root.path(), 14);
        let listed = listed(&[Binaries { folder: old.clone(), major: 14 }]);
        assert_eq!(listed, format!("; found is version 14 in {}", old.display()));
        let error = Binaries::find(Some(&old), None, None).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 14") && error.contains("15 is the oldest"), "{error}");
    }

    #[test]
    fn a_named_folder_is_taken_or_refused_but_never_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let good = fake(root.path(), 90);
        assert_eq!(Binaries::find(Some(&good), None, None).unwrap().postgres(), good.join("postgres"));
        let error = Binaries::find(Some(root.path()), Some(good.as_os_str()), None).unwrap_err().to_string();
        assert!(error.starts_with("PG_BIN is "), "{error}");
    }
}

//! The folder of published models and data that some tests read, shared by the test programs that do. It is no part of the
//! repository: `SECATEUR_DATA` names it, or it lies at `../shared/data` beside the checkout.

use std::path::{Path, PathBuf};

/// The folder; `None`, said on the error stream, where it is absent, so that the test is skipped.
///
/// Where `SECATEUR_REQUIRE_DATA` is 1 an absent folder fails the test instead.
pub fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SECATEUR_DATA").map_or_else(beside, PathBuf::from);
    if folder.join("index.json").is_file() {
        return Some(folder);
    }
    let reason = format!("there is no folder of models and data at {} (set SECATEUR_DATA)", folder.display());
    let required = std::env::var_os("SECATEUR_REQUIRE_DATA").is_some_and(|value| value == "1");
    assert!(!required, "{reason}, and SECATEUR_REQUIRE_DATA is 1");
    eprintln!("skipped: {reason}");
    None
}

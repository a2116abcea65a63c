//! Where the ONNX Runtime library lies.

use std::path::{Path, PathBuf};

use super::EngineError;

/// Finds the library: `ORT_DYLIB_PATH`, beside the executable, in `../lib` of it, in `.secateur/lib` of the current
/// directory (which `make setup` fills). A variable that is set is taken at its word.
///
/// Errors: [`EngineError::Unavailable`] with every place that was looked at.
#[expect(clippy::disallowed_methods, reason = "the attempt process finds the library by this one variable")]
pub fn locate() -> Result<PathBuf, EngineError> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        return Err(unavailable(vec![format!("ORT_DYLIB_PATH is {}, where no file lies", path.display())]));
    }
    let mut folders = Vec::new();
    if let Ok(executable) = std::env::current_exe()
        && let Some(folder) = executable.parent()
    {
        folders.push(folder.to_path_buf());
        folders.push(folder.join("../lib"));
    }
    if let Ok(folder) = std::env::current_dir() {
        folders.push(folder.join(".secateur/lib"));
    }
    match folders.iter().find_map(|folder| library_in(folder)) {
        Some(path) => Ok(path),
        None => Err(unavailable(
            std::iter::once("ORT_DYLIB_PATH is not set".to_owned())
                .chain(folders.iter().map(|folder| format!("no {LIBRARY}* lies in {}", folder.display())))
                .collect(),
        )),
    }
}

#[cfg(target_os = "macos")]
const LIBRARY: &str = "libonnxruntime.";
#[cfg(not(target_os = "macos"))]
const LIBRARY: &str = "libonnxruntime.so";

/// The library in a folder; of several versions the last by name.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(LIBRARY)))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}

fn unavailable(tried: Vec<String>) -> EngineError {
    EngineError::Unavailable { tried }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_versions_in_a_folder_the_last_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libonnxruntime.so.1.31.0", "libonnxruntime.so.1.32.0", "libother.so"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        if cfg!(not(target_os = "macos")) {
            assert_eq!(library_in(folder.path()), Some(folder.path().join("libonnxruntime.so.1.32.0")));
        }
        assert_eq!(library_in(&folder.path().join("missing")), None);
    }
}

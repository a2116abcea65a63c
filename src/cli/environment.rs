//! What is read from the environment beside the options' own variables. Nothing outside the command line reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::attempt::launcher::ENVIRONMENT;
use crate::engine::{self, EngineError};

/// The environment of this process, as far as it is of interest.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) home: Option<OsString>,
    pub(super) data_home: Option<OsString>,
    /// Folder of PostgreSQL's server programs.
    pub(super) pg_bin: Option<PathBuf>,
    pub(super) search_path: Option<OsString>,
    /// What attempts inherit, and the library under the name by which they find it whatever their folder.
    pub(super) attempts: Vec<(OsString, OsString)>,
    /// The ONNX Runtime library.
    pub(super) onnx_runtime: Result<PathBuf, EngineError>,
}

const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(super) fn read() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let onnx_runtime = engine::locate().map(|path| path.canonicalize().unwrap_or(path));
        let inherited = ENVIRONMENT.iter().filter(|name| **name != LIBRARY_VARIABLE);
        let mut attempts: Vec<_> = inherited.filter_map(|name| Some((OsString::from(name), variable(name)?))).collect();
        if let Ok(path) = &onnx_runtime {
            attempts.push((LIBRARY_VARIABLE.into(), path.into()));
        }
        Self {
            home: variable("HOME"),
            data_home: variable("XDG_DATA_HOME"),
            pg_bin: variable("PG_BIN").map(PathBuf::from),
            search_path: variable("PATH"),
            attempts,
            onnx_runtime,
        }
    }
}

//! ONNX Runtime, loaded at run time.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ort::environment::Environment;
use ort::logging::{LogLevel, LoggerFunction};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session as OrtSession, SessionInputValue};
use prost::Message as _;

use super::{Engine, EngineError, Optimization, Session, SessionOptions, library, values};
use crate::onnx::model::Model;
use crate::onnx::storage::LARGEST_MESSAGE;
use crate::onnx::storage::archive::Apart;
use crate::onnx::tensor::Tensor;

/// Name in reports and errors.
pub(super) const NAME: &str = "onnxruntime";

/// The loaded ONNX Runtime library. There is one a process.
#[derive(Debug)]
pub struct OnnxRuntime {
    environment: Environment,
    version: Option<String>,
    path: PathBuf,
}

/// The library, loaded on first use.
///
/// Errors: [`EngineError::Unavailable`], the same on every call.
pub fn onnx_runtime() -> Result<&'static OnnxRuntime, EngineError> {
    static RUNTIME: OnceLock<Result<OnnxRuntime, EngineError>> = OnceLock::new();
    RUNTIME.get_or_init(|| OnnxRuntime::open(&library::locate()?)).as_ref().map_err(Clone::clone)
}

impl OnnxRuntime {
    fn open(path: &Path) -> Result<Self, EngineError> {
        let unusable = |message: &dyn std::fmt::Display| EngineError::Unavailable {
            tried: vec![format!("{} could not be loaded: {message}", path.display())],
        };
        let builder = ort::init_from(path).map_err(|error| unusable(&error))?;
        // Without a logger of its own the library writes to the standard streams, of which one belongs to the attempt's
        // messages.
        let environment = builder
            .with_name("secateur")
            .with_telemetry(false)
            .with_logger(logger())
            .build()
            .map_err(|error| unusable(&error))?;
        environment.set_log_level(log_level());
        let version = version_in(ort::info()).or_else(|| version_of_file(path));
        tracing::debug!(path = %path.display(), version, "Loaded ONNX Runtime");
        Ok(Self { environment, version, path: path.to_path_buf() })
    }

    /// The file the library was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn builder(&self, options: &SessionOptions) -> Result<SessionBuilder, ort::Error> {
        Ok(OrtSession::builder(&self.environment)?
            .with_intra_threads(options.threads.max(1))?
            .with_inter_threads(1)?
            .with_log_level(log_level())?
            .with_optimization_level(match options.optimization {
                Optimization::Disabled => GraphOptimizationLevel::Disable,
                Optimization::Basic => GraphOptimizationLevel::Level1,
                Optimization::All => GraphOptimizationLevel::All,
            })?
            // Protobuf only: the library would take bytes that look like its own flatbuffer format for that, and that
            // format's reader trusts what it reads.
            .with_config_entry("session.load_model_format", "ONNX")?
            // Idle threads that wait in a busy loop gain microseconds a run and slow down everything else on the machine,
            // a second session included.
            .with_intra_op_spinning(false)?
            .with_config_entry(
                "optimization.constant_folding_max_output_size_in_bytes",
                options.folded_constant_bytes.to_string(),
            )?)
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Session>, EngineError> {
        let mut builder = self.builder(options).map_err(|error| load_error(&error))?;
        let session = if model.proto.encoded_len() as u64 <= LARGEST_MESSAGE {
            builder.commit_from_memory(&model.to_bytes()).map_err(|error| load_error(&error))?
        } else {
            let files = Files::write(model)?;
            builder.commit_from_file(&files.model).map_err(|error| load_error(&error))?
        };
        let output_names = session.outputs().iter().map(|output| output.name().to_owned()).collect();
        Ok(Box::new(RuntimeSession { session, output_names }))
    }
}

/// A model that is too large for one message, as files that the library maps into memory; they are gone when this is
/// dropped, and stay with those who have mapped them.
struct Files {
    folder: PathBuf,
    model: PathBuf,
}

impl Files {
    /// Writes into the folder for temporary files: that of the attempt, in an attempt.
    fn write(model: &Model) -> Result<Self, EngineError> {
        let cannot = |error: std::io::Error| EngineError::Load {
            engine: NAME,
            message: format!("its files cannot be written: {error}"),
        };
        let folder = std::env::temp_dir().join(format!("model-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&folder).map_err(cannot)?;
        let mut files = Self { model: PathBuf::new(), folder };
        files.model = Apart::new(&model.proto).and_then(|apart| apart.write_files(&files.folder)).map_err(cannot)?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed now goes with the attempt's folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A model in ONNX Runtime.
struct RuntimeSession {
    session: OrtSession,
    output_names: Vec<String>,
}

impl Session for RuntimeSession {
    fn output_names(&self) -> &[String] {
        &self.output_names
    }

    fn run(&mut self, feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError> {
        let keep = self.session.inner();
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(feeds.len());
        for (name, tensor) in feeds {
            inputs.push((Cow::Borrowed(*name), values::lend(name, tensor)?));
        }
        let outputs = self.session.run(inputs).map_err(|error| {
            out_of_memory(error.message())
                .unwrap_or_else(|| EngineError::Run { engine: NAME, message: error.message().to_owned() })
        })?;
        outputs.into_iter().map(|(name, value)| values::take(name, value, &keep, feeds)).collect()
    }
}

fn load_error<R>(error: &ort::Error<R>) -> EngineError {
    let message = error.message().to_owned();
    match error.code() {
        _ if out_of_memory(&message).is_some() => EngineError::OutOfMemory { message },
        ort::ErrorCode::InvalidProtobuf | ort::ErrorCode::InvalidGraph | ort::ErrorCode::NoModel => {
            EngineError::Invalid { engine: NAME, message }
        }
        _ => EngineError::Load { engine: NAME, message },
    }
}

/// The library reports exhausted memory in several wordings and always as a general failure.
fn out_of_memory(message: &str) -> Option<EngineError> {
    const WORDINGS: [&str; 4] = ["bad_alloc", "bad allocation", "Failed to allocate memory", "Available memory of"];
    WORDINGS
        .iter()
        .any(|wording| message.contains(wording))
        .then(|| EngineError::OutOfMemory { message: message.to_owned() })
}

/// Log lines of the library become ours. What it calls an error also comes back as an error to whoever called, so that it
/// is no more than a warning here.
fn logger() -> LoggerFunction {
    Arc::new(|level, _category, _id, location, message| match level {
        LogLevel::Fatal | LogLevel::Error => tracing::warn!(target: "onnxruntime", location, "{message}"),
        LogLevel::Warning => tracing::debug!(target: "onnxruntime", location, "{message}"),
        LogLevel::Info | LogLevel::Verbose => tracing::trace!(target: "onnxruntime", location, "{message}"),
    })
}

/// Lines that nobody listens to are not even composed.
fn log_level() -> LogLevel {
    if tracing::enabled!(target: "onnxruntime", tracing::Level::TRACE) {
        LogLevel::Info
    } else if tracing::enabled!(target: "onnxruntime", tracing::Level::DEBUG) {
        LogLevel::Warning
    } else {
        LogLevel::Error
    }
}

/// The version in the library's description of its build, which names the release branch.
fn version_in(build: &str) -> Option<String> {
    let (_, rest) = build.split_once("git-branch=rel-")?;
    let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (!version.is_empty()).then_some(version)
}

/// The version in a file name such as `libonnxruntime.so.1.32.0`.
fn version_of_file(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let (_, version) = path.file_name()?.to_str()?.split_once(".so.")?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_build_or_the_file_name() {
        assert_eq!(version_in("ORT Build Info: git-branch=rel-1.32.0, git-commit-id=1"), Some("1.32.0".into()));
        assert_eq!(version_in("ORT Build Info: git-branch=main"), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libonnxruntime.so.1.31.2");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(version_of_file(&file), Some("1.31.2".into()));
    }

    #[test]
    fn exhausted_memory_is_told_from_other_failures() {
        assert!(out_of_memory("Non-zero status code returned. std::bad_alloc").is_some());
        assert!(out_of_memory("Failed to allocate memory for requested buffer of size 99").is_some());
        assert!(out_of_memory("Invalid rank for input: x").is_none());
    }
}

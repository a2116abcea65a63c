//! A model: read from a file without copying its weights, checked, written back without loss.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::check::Unsound;
use super::graph::Graph;
use super::prescan::{self, PrescanError};
use super::proto::{GraphProto, ModelProto};
use super::storage::LARGEST_MESSAGE;
use super::storage::archive::{self, Apart, ArchiveError};
use super::storage::external::{self, ExternalError, Files};
use super::storage::{sparse, write};
use crate::spec::attempt::ModelLimits;
use crate::spec::failure::{Failure, FailureCode};

/// A model whose file was sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The message, with every weight in its own dense tensor.
    pub proto: ModelProto,
    /// Names of initializers that are written in sparse form where that takes less room.
    pub sparse: BTreeSet<String>,
}

/// Why a file is not a model that can be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Prescan(#[from] PrescanError),
    #[error("the file is not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error(transparent)]
    External(#[from] ExternalError),
    #[error(transparent)]
    Unsound(#[from] Unsound),
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Archive(error) => error.into(),
            ModelError::Prescan(error) => error.into(),
            ModelError::External(error) => error.into(),
            ModelError::Unsound(error) => error.into(),
            ModelError::Io(_) => Self::new(FailureCode::Internal, error.to_string()),
            ModelError::Decode(_) => Self::new(FailureCode::InvalidModel, error.to_string()),
        }
    }
}

impl Model {
    /// A model made in memory.
    pub fn new(proto: ModelProto) -> Self {
        Self { proto, sparse: BTreeSet::new() }
    }

    /// Maps a file into memory, scans it against the limits, decodes and checks it. Weights stay in the file's memory.
    pub fn load(path: &Path, limits: &ModelLimits) -> Result<Self, ModelError> {
        Self::from_bytes(super::mapped::map(&File::open(path)?)?, limits)
    }

    /// The same for bytes in memory.
    pub fn from_bytes(bytes: Bytes, limits: &ModelLimits) -> Result<Self, ModelError> {
        Ok(Self::import(bytes, Files::new(), limits)?.0)
    }

    /// The same, with the files that lie beside it, and with a sentence for everything that was normalised: nodes are
    /// brought into topological order, external data and sparse tensors stand in their tensors.
    ///
    /// An archive brings its own files; there can be none beside it.
    pub fn import(bytes: Bytes, mut files: Files, limits: &ModelLimits) -> Result<(Self, Vec<String>), ModelError> {
        let mut message = bytes;
        if archive::is_archive(&message) {
            if let Some(name) = files.keys().next() {
                return Err(ExternalError::Unused { name: name.clone() }.into());
            }
            (message, files) = archive::open(&message)?;
        }
        prescan::scan(&message, limits)?;
        let mut proto = ModelProto::decode(message)?;
        let mut notes = super::order::sort_model(&mut proto).map_err(|cycle| Unsound::Cycle { nodes: cycle.nodes })?;
        if !files.is_empty() {
            let count = external::resolve(&mut proto, &files)?;
            notes.push(format!("{count} tensors lay in data files beside the model"));
        }
        super::check::check(&proto, limits.tensor_elements)?;
        let sparse = sparse::densify(&mut proto, limits.sparse_bytes)?;
        if !sparse.is_empty() {
            notes.push(format!("{} initializers are stored in sparse form", sparse.len()));
        }
        Ok((Self { proto, sparse }, notes))
    }

    /// The model as one message, every weight dense: what engines are given.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// How many bytes the file would have with every weight dense.
    pub fn dense_bytes(&self) -> u64 {
        let message = self.proto.encoded_len() as u64;
        if message <= LARGEST_MESSAGE {
            message
        } else {
            Apart::new(&self.proto).map_or(message, |a| a.archive_bytes())
        }
    }

    /// The message as it is kept: initializers that were marked, and are smaller so, in sparse form.
    pub fn stored(&self) -> Cow<'_, ModelProto> {
        sparse::sparsified(&self.proto, &self.sparse).map_or(Cow::Borrowed(&self.proto), Cow::Owned)
    }

    /// How many bytes the model's file has.
    pub fn size_bytes(&self) -> usize {
        let stored = self.stored();
        let message = stored.encoded_len();
        if fits(message) {
            return message;
        }
        // What cannot be taken apart cannot be written either, which is told there.
        Apart::new(&stored).map_or(message, |apart| usize::try_from(apart.archive_bytes()).unwrap_or(usize::MAX))
    }

    /// Writes the file's bytes, of which no copy is made in memory: one message, or an archive where that would be larger
    /// than its readers take.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let stored = self.stored();
        if fits(stored.encoded_len()) { write::write(&stored, out) } else { Apart::new(&stored)?.write_archive(out) }
    }

    /// Writes the file and makes sure that it is on the disk.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        self.write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// The main graph. A sound model has one; an empty one stands in for a model made by hand without.
    pub fn graph_proto(&self) -> &GraphProto {
        static EMPTY: std::sync::LazyLock<GraphProto> = std::sync::LazyLock::new(GraphProto::default);
        self.proto.graph.as_ref().unwrap_or(&EMPTY)
    }

    /// The main graph, to be changed.
    pub fn graph_proto_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.get_or_insert_default()
    }

    /// An index over the main graph.
    pub fn graph(&self) -> Graph<'_> {
        Graph::new(self.graph_proto())
    }

    /// The version of an operator set; the default domain is `""`. `None` where the model does not import it.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let plain = |name: &str| if name == "ai.onnx" { String::new() } else { name.to_owned() };
        self.proto
            .opset_import
            .iter()
            .find(|set| plain(set.domain()) == plain(domain))
            .map(super::proto::OperatorSetIdProto::version)
    }
}

fn fits(message_bytes: usize) -> bool {
    message_bytes as u64 <= LARGEST_MESSAGE
}

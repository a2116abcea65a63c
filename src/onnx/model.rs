//! A model: read from a file without copying its weights, checked, written back without loss.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::check::Unsound;
use super::graph::Graph;
use super::prescan::{self, PrescanError};
use super::proto::{GraphProto, ModelProto};
use crate::spec::attempt::ModelLimits;
use crate::spec::failure::{Failure, FailureCode};

/// A model whose file was sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub proto: ModelProto,
}

/// Why a file is not a model that can be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("the file cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Prescan(#[from] PrescanError),
    #[error("the file is not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error(transparent)]
    Unsound(#[from] Unsound),
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Prescan(error) => error.into(),
            ModelError::Unsound(error) => error.into(),
            ModelError::Io(_) => Self::new(FailureCode::Internal, error.to_string()),
            ModelError::Decode(_) => Self::new(FailureCode::InvalidModel, error.to_string()),
        }
    }
}

impl Model {
    /// Maps a file into memory, scans it against the limits, decodes and checks it. Weights stay in the file's memory.
    pub fn load(path: &Path, limits: &ModelLimits) -> Result<Self, ModelError> {
        Self::from_bytes(super::mapped::map(&File::open(path)?)?, limits)
    }

    /// The same for bytes in memory.
    pub fn from_bytes(bytes: Bytes, limits: &ModelLimits) -> Result<Self, ModelError> {
        Ok(Self::import(bytes, limits)?.0)
    }

    /// The same, with a sentence for everything that was normalised: nodes are brought into topological order.
    pub fn import(bytes: Bytes, limits: &ModelLimits) -> Result<(Self, Vec<String>), ModelError> {
        prescan::scan(&bytes, limits)?;
        let mut model = Self { proto: ModelProto::decode(bytes)? };
        let notes =
            super::order::sort_model(&mut model.proto).map_err(|cycle| Unsound::Cycle { nodes: cycle.nodes })?;
        super::check::check(&model.proto, limits.tensor_elements)?;
        Ok((model, notes))
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// How many bytes the file has.
    pub fn size_bytes(&self) -> usize {
        self.proto.encoded_len()
    }

    /// Writes the file and makes sure that it is on the disk.
    pub fn save(&self, path: &Path) -> Result<(), std::io::Error> {
        let mut file = File::create(path)?;
        file.write_all(&self.to_bytes())?;
        file.sync_all()
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

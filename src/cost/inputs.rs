//! Inputs to run models on where there is no dataset, drawn as the input's meaning demands: token ids lie within the vocabulary, masks are 0 or
//! 1, pixels are bytes, everything else is normal.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::ExampleShapes;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::Graph;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::shape::{Dim, Inferred, Symbol};
use crate::onnx::tensor::Tensor;

/// Named tensors to run a model on.
pub type Feeds = Vec<(String, Tensor)>;

/// Sizes tried for axes other than the batch that are open and have no example. Divisible by the strides of most
/// networks; small first, so that the certificate is cheap.
pub const OPEN_SIZES: [i64; 4] = [32, 64, 224, 16];

/// Elements of an input that are drawn at most: a graph may declare its inputs as large as it likes.
const MOST_ELEMENTS: usize = 1 << 28;

/// What is needed to draw inputs for a graph.
#[derive(Debug)]
pub struct Inputs<'g> {
    graph: &'g Graph<'g>,
    inferred: &'g Inferred,
    examples: &'g ExampleShapes,
    infos: Vec<&'g ValueInfoProto>,
}

impl<'g> Inputs<'g> {
    pub fn new(graph: &'g Graph<'g>, inferred: &'g Inferred, examples: &'g ExampleShapes) -> Self {
        Self { graph, inferred, examples, infos: graph.fed_inputs().collect() }
    }

    /// Whether the first axis of some input is open.
    pub fn batch_is_free(&self) -> bool {
        self.infos.iter().any(|info| self.batch_of(info).is_some())
    }

    fn batch_of(&self, info: &ValueInfoProto) -> Option<&'g Symbol> {
        self.inferred.dims(info.name())?.first()?.as_symbol()
    }

    /// The batch of the model as it is fixed, 1 where that is not plain.
    pub fn fixed_batch(&self) -> u64 {
        let dims = self.infos.first().and_then(|info| self.inferred.dims(info.name()));
        dims.and_then(|dims| dims.first()?.as_known()).and_then(|size| u64::try_from(size).ok()).unwrap_or(1)
    }

    /// Axes that are open, other than the batch, and have no example.
    pub fn open_axes(&self) -> Vec<&'g Symbol> {
        let batches: HashSet<&Symbol> = self.infos.iter().filter_map(|info| self.batch_of(info)).collect();
        let mut open = Vec::new();
        for info in self.infos.iter().filter(|info| !self.examples.contains_key(info.name())) {
            let dims = self.inferred.dims(info.name()).unwrap_or_default();
            open.extend(dims.iter().flat_map(Dim::symbols).filter(|symbol| !batches.contains(symbol)));
        }
        open
    }

    /// Tensors for every fed input. `open` is the size of open axes without an example.
    ///
    /// Errors: the input whose shape or type cannot be drawn.
    pub fn draw(&self, batch: u64, open: i64, seed: u64) -> Result<Feeds, String> {
        let mut sizes: BTreeMap<&Symbol, i64> = BTreeMap::new();
        for info in &self.infos {
            sizes.extend(self.batch_of(info).map(|symbol| (symbol, batch as i64)));
        }
        for info in &self.infos {
            let (Some(dims), Some(example)) = (self.inferred.dims(info.name()), self.examples.get(info.name())) else {
                continue;
            };
            for (dim, size) in dims.iter().zip(example) {
                if let Some(symbol) = dim.as_symbol() {
                    sizes.entry(symbol).or_insert(*size as i64);
                }
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.infos
            .iter()
            .map(|info| {
                let name = info.name();
                let dims =
                    self.inferred.dims(name).ok_or_else(|| format!("the rank of the input `{name}` is unknown"))?;
                let size = |dim: &Dim| dim.eval(&|symbol| Some(sizes.get(symbol).copied().unwrap_or(open)));
                let shape: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(size(dim)?).ok()).collect();
                let shape = shape.ok_or_else(|| format!("the shape of the input `{name}` is unknown"))?;
                let dtype =
                    self.inferred.dtype(name).ok_or_else(|| format!("the type of the input `{name}` is unknown"))?;
                let count = crate::onnx::tensor::element_count(&shape).filter(|count| *count <= MOST_ELEMENTS);
                if count.is_none() {
                    return Err(format!("the input `{name}` of shape {shape:?} is too large to be drawn"));
                }
                let tensor = self.tensor(name, dtype, &shape, &mut rng);
                Ok((
                    name.to_owned(),
                    tensor.ok_or_else(|| format!("inputs of type {dtype} like `{name}` cannot be drawn"))?,
                ))
            })
            .collect()
    }

    fn tensor(&self, name: &str, dtype: DataType, shape: &[usize], rng: &mut ChaCha8Rng) -> Option<Tensor> {
        let count = crate::onnx::tensor::element_count(shape)?;
        if dtype.is_float() {
            let values: Vec<f32> = (0..count).map(|_| normal(rng)).collect();
            return Tensor { dtype, shape: Vec::new(), data: Bytes::new() }.with_f32(shape, &values).ok();
        }
        let below = match dtype {
            DataType::Bool => 2,
            DataType::Uint8 if self.vocabulary(name).is_none() => 256,
            DataType::Int8 => 127,
            _ => self.vocabulary(name).unwrap_or(2),
        };
        let numbers = (0..count).map(|_| rng.random_range(0..below.max(1)));
        let data: Bytes = match dtype.bits() {
            8 if dtype != DataType::Float8E4M3Fn => numbers.map(|number| number as u8).collect(),
            16 => numbers.flat_map(|number| (number as u16).to_le_bytes()).collect(),
            32 => numbers.flat_map(|number| (number as u32).to_le_bytes()).collect(),
            64 => numbers.flat_map(|number| (number as u64).to_le_bytes()).collect(),
            _ => return None,
        };
        Tensor::from_bytes(dtype, shape, data).ok()
    }

    /// The smallest axis that the input selects from, directly or through operators that keep integers as they are.
    fn vocabulary(&self, name: &str) -> Option<i64> {
        let mut smallest = None;
        let mut pending = vec![name];
        let mut seen = HashSet::new();
        while let Some(value) = pending.pop().filter(|value| seen.len() < 64 || seen.contains(value)) {
            if !seen.insert(value) {
                continue;
            }
            for used in self.graph.uses(value) {
                let node = self.graph.node(used.node);
                if node.is("Gather") && used.slot == Some(1) {
                    let axis = node.int("axis").unwrap_or(0);
                    let dims = node.input_name(0).and_then(|data| self.inferred.dims(data)).unwrap_or_default();
                    let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
                    let size = usize::try_from(axis).ok().and_then(|axis| dims.get(axis)?.as_known());
                    smallest = match (smallest, size) {
                        (Some(a), Some(b)) => Some(std::cmp::min::<i64>(a, b)),
                        (a, b) => a.or(b),
                    };
                } else if matches!(
                    node.op_type(),
                    "Cast" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Flatten"
                ) {
                    pending.extend(node.output.iter().map(String::as_str));
                }
            }
        }
        smallest
    }
}

/// A standard normal number (Box and Muller).
pub fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

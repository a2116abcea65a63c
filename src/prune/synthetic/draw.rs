//! Inputs drawn element by element, each from the distribution that was stated for it.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::SyntheticError;
use crate::cost::ExampleShapes;
use crate::cost::inputs::normal;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::shape::{Dim, infer};
use crate::onnx::tensor::{Tensor, element_count};
use crate::spec::synthetic::{Distribution, Synthetic};

/// Elements over all samples that are drawn at most for an input.
const MOST_ELEMENTS: usize = 1 << 28;

/// An input and what it is drawn from.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub dtype: DataType,
    /// Sizes behind the batch axis.
    pub sample_shape: Vec<usize>,
    pub distribution: Distribution,
}

impl Input {
    /// The shape of so many samples.
    pub fn shape(&self, samples: usize) -> Vec<usize> {
        [&[samples], self.sample_shape.as_slice()].concat()
    }
}

/// The batch that the model insists on.
pub fn fixed_batch(model: &Model) -> Option<usize> {
    let (graph, inferred) = (model.graph(), infer(model));
    let first = |name: &str| inferred.dims(name)?.first()?.as_known();
    graph
        .fed_inputs()
        .find_map(|info| first(info.name()))
        .and_then(|size| usize::try_from(size).ok())
        .filter(|n| *n > 0)
}

/// The model's inputs with their distributions.
///
/// Errors: the input whose shape, type or range is not known, or whose distribution does not go with its type.
pub fn inputs(model: &Model, wishes: &Synthetic, examples: &ExampleShapes) -> Result<Vec<Input>, SyntheticError> {
    let (graph, inferred) = (model.graph(), infer(model));
    let names: Vec<&str> = graph.fed_inputs().map(ValueInfoProto::name).collect();
    if let Some(name) = wishes.inputs.keys().find(|name| !names.contains(&name.as_str())) {
        let inputs = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(SyntheticError::NoSuchInput { name: name.clone(), inputs });
    }
    // Axes of one name have one size, wherever it was said.
    let said = |wanted: &Dim| {
        let in_input = |(name, example): (&String, &Vec<u64>)| {
            let at = inferred.dims(name)?.iter().position(|dim| dim == wanted)?;
            example.get(at).copied().and_then(|size| usize::try_from(size).ok())
        };
        examples.iter().find_map(in_input)
    };
    names
        .into_iter()
        .map(|name| {
            let wrong = |reason: String| SyntheticError::Input { input: name.to_owned(), reason };
            let dtype = inferred.dtype(name).ok_or_else(|| wrong("has no element type".into()))?;
            let dims = inferred.dims(name).ok_or_else(|| wrong("has an unknown number of axes".into()))?;
            let (_, behind) = dims.split_first().ok_or_else(|| wrong("has no axis for the samples".into()))?;
            let size = |dim: &Dim| {
                let known = dim.as_known().and_then(|size| usize::try_from(size).ok());
                let open = || SyntheticError::OpenAxis { input: name.to_owned(), axis: dim.to_string() };
                known.or_else(|| said(dim)).ok_or_else(open)
            };
            let sample_shape = behind.iter().map(size).collect::<Result<_, _>>()?;
            let distribution = chosen(dtype, wishes.inputs.get(name)).map_err(wrong)?;
            Ok(Input { name: name.to_owned(), dtype, sample_shape, distribution })
        })
        .collect()
}

/// The distribution of an input of this type.
fn chosen(dtype: DataType, stated: Option<&Distribution>) -> Result<Distribution, String> {
    match stated {
        None if dtype.is_float() => Ok(Distribution::Normal { mean: 0.0, std: 1.0 }),
        None if dtype == DataType::Bool => Ok(Distribution::Integers { from: 0, below: 2 }),
        None => Err(format!(
            "takes {dtype}: say from which numbers it is drawn, as in {{\"integers\": {{\"below\": 1000}}}}"
        )),
        Some(Distribution::Integers { from, below }) => {
            let Some((least, most)) = range(dtype) else {
                return Err(format!("takes {dtype}, which cannot be drawn"));
            };
            if i128::from(*from) < least || i128::from(*below) - 1 > most {
                return Err(format!("takes {dtype}, which does not hold all integers from {from} to {}", below - 1));
            }
            Ok(Distribution::Integers { from: *from, below: *below })
        }
        Some(other) if dtype.is_float() => Ok(other.clone()),
        Some(other) => Err(format!("takes {dtype}, which is not drawn {other}: give `integers`")),
    }
}

/// The least and the largest integer that is drawn for a type.
fn range(dtype: DataType) -> Option<(i128, i128)> {
    let bits = dtype.bits();
    Some(match dtype {
        _ if dtype.is_float() => (-(1 << 24), 1 << 24),
        DataType::Bool => (0, 1),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        }
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => (0, (1 << bits) - 1),
        _ => return None,
    })
}

/// Samples of all inputs: floats, integers of 64 bits or booleans, from which a reader makes what the input takes.
pub fn draw(inputs: &[Input], samples: usize, seed: u64) -> Result<Vec<Tensor>, SyntheticError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    inputs
        .iter()
        .map(|input| {
            let shape = input.shape(samples);
            let count = element_count(&shape).filter(|count| *count <= MOST_ELEMENTS).ok_or_else(|| {
                let reason = format!("is too large to be drawn: {samples} samples of {:?}", input.sample_shape);
                SyntheticError::Input { input: input.name.clone(), reason }
            })?;
            let mut floats = |next: &mut dyn FnMut(&mut ChaCha8Rng) -> f64| {
                let values: Vec<f32> = (0..count).map(|_| next(&mut random) as f32).collect();
                Tensor::from_f32(&shape, &values)
            };
            Ok(match input.distribution {
                Distribution::Normal { mean, std } => floats(&mut |random| mean + std * f64::from(normal(random))),
                Distribution::Uniform { low, high } => {
                    floats(&mut |random| low + (high - low) * random.random::<f64>())
                }
                Distribution::Integers { from, below } => {
                    let mut number = || random.random_range(from..below);
                    if input.dtype == DataType::Bool {
                        let data: Vec<u8> = (0..count).map(|_| number() as u8).collect();
                        Tensor { dtype: DataType::Bool, shape, data: data.into() }
                    } else {
                        Tensor::from_i64(&shape, &(0..count).map(|_| number()).collect::<Vec<_>>())
                    }
                }
            })
        })
        .collect()
}

//! A dataset as the inputs of one model.

use super::DataError;
use super::augment::{Augmentation, Plane};
use super::convert::{Conversion, integers, tensor_of};
use super::dataset::{Array, Dataset};
use super::normalize::Normalize;
use super::npy::numpy_name;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::proto::{DimensionValue, TypeValue, ValueInfoProto};
use crate::onnx::tensor::Tensor;
use crate::spec::preprocess::Layout;

/// Samples as a model takes them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The model's inputs by name.
    pub inputs: Vec<(String, Tensor)>,
    /// The samples' classes; empty where the dataset has no labels.
    pub labels: Vec<i64>,
}

impl Batch {
    /// The inputs as an engine's session takes them.
    pub fn feeds(&self) -> Vec<(&str, &Tensor)> {
        self.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
    }
}

/// A dataset bound to a model's inputs. Reading takes no lock, so that several threads may.
#[derive(Debug)]
pub struct Reader<'d> {
    dataset: &'d Dataset,
    feeds: Vec<Feed<'d>>,
    fixed_batch: Option<usize>,
    layout: Layout,
}

/// One input and the array that serves it.
#[derive(Debug)]
struct Feed<'d> {
    input: String,
    dtype: DataType,
    array: &'d Array,
    conversion: Conversion,
}

impl<'d> Reader<'d> {
    /// Finds an array for each input of the model: the one of its name, or the only one for a model of one input.
    ///
    /// Errors: an input without an array, or one whose shape or type does not go with its array.
    pub fn new(dataset: &'d Dataset, model: &Model) -> Result<Self, DataError> {
        let graph = model.graph();
        let inputs: Vec<&ValueInfoProto> = graph.fed_inputs().collect();
        let mut fixed_batch = None;
        let mut feeds = Vec::with_capacity(inputs.len());
        for input in &inputs {
            let array = serving(dataset, input.name(), inputs.len())?;
            let (dtype, shape) = declared(input)?;
            if let Some(shape) = &shape {
                fits(input.name(), shape, array)?;
                fixed_batch = fixed_batch.or(shape[0]);
            }
            let normalize = dataset.preprocess().map(|p| Normalize::new(p, &array.sample_shape)).transpose()?;
            let conversion = Conversion::choose(array.dtype, dtype, normalize).ok_or_else(|| DataError::Mismatch {
                reason: format!(
                    "the array `{}` holds {}, but the model's input `{}` takes {dtype}",
                    array.name,
                    numpy_name(array.dtype),
                    input.name()
                ),
            })?;
            feeds.push(Feed { input: input.name().to_owned(), dtype, array, conversion });
        }
        let layout = dataset.preprocess().map_or(Layout::Nchw, |preprocess| preprocess.layout);
        Ok(Self { dataset, feeds, fixed_batch, layout })
    }

    /// The dataset that is read.
    pub fn dataset(&self) -> &'d Dataset {
        self.dataset
    }

    /// The batch size that the model insists on.
    pub fn fixed_batch(&self) -> Option<usize> {
        self.fixed_batch
    }

    /// The given samples, in their order.
    pub fn batch(&self, samples: &[usize]) -> Result<Batch, DataError> {
        self.read(samples, None)
    }

    /// Whether random changes reach any input. Images alone are changed: float inputs of three axes a sample.
    pub fn has_images(&self) -> bool {
        self.feeds.iter().any(|feed| feed.plane(self.layout).is_some())
    }

    /// The given samples with random changes, see [`Reader::has_images`].
    pub fn augmented(&self, samples: &[usize], augmentation: &Augmentation) -> Result<Batch, DataError> {
        self.read(samples, Some(augmentation).filter(|augmentation| !augmentation.is_none()))
    }

    fn read(&self, samples: &[usize], augmentation: Option<&Augmentation>) -> Result<Batch, DataError> {
        if let Some(index) = samples.iter().find(|index| **index >= self.dataset.len()) {
            return Err(DataError::NoSuchSample { index: *index, samples: self.dataset.len() });
        }
        let mut inputs = Vec::with_capacity(self.feeds.len());
        for feed in &self.feeds {
            let change = augmentation.zip(feed.plane(self.layout));
            inputs.push((feed.input.clone(), feed.read(samples, change)?));
        }
        let labels = self.dataset.labels().map_or_else(Vec::new, |all| samples.iter().map(|i| all[*i]).collect());
        Ok(Batch { inputs, labels })
    }
}

impl Feed<'_> {
    /// Where the axes of an image lie; `None` where this is none.
    fn plane(&self, layout: Layout) -> Option<Plane> {
        Plane::of(&self.array.sample_shape, layout).filter(|_| self.dtype.is_float())
    }

    fn read(&self, samples: &[usize], change: Option<(&Augmentation, Plane)>) -> Result<Tensor, DataError> {
        let shape: Vec<usize> = [&[samples.len()], self.array.sample_shape.as_slice()].concat();
        let elements = self.array.sample_shape.iter().product::<usize>();
        if !self.conversion.is_float() && change.is_none() {
            return self.copied(samples, shape);
        }
        let mut floats = vec![0.0; samples.len() * elements];
        let mut unchanged = vec![0.0; if change.is_some() { elements } else { 0 }];
        for (place, sample) in samples.iter().enumerate() {
            let out = &mut floats[place * elements..(place + 1) * elements];
            let stored = self.array.sample(*sample)?;
            match change {
                None => self.conversion.floats(self.array.dtype, &stored, out),
                Some((augmentation, plane)) => {
                    self.conversion.floats(self.array.dtype, &stored, &mut unchanged);
                    augmentation.apply(*sample, plane, &unchanged, out);
                }
            }
        }
        Ok(tensor_of(floats, shape, self.dtype))
    }

    fn copied(&self, samples: &[usize], shape: Vec<usize>) -> Result<Tensor, DataError> {
        let mut bytes = Vec::new();
        for sample in samples {
            let stored = self.array.sample(*sample)?;
            if bytes.is_empty() {
                bytes.reserve_exact(stored.len() * samples.len());
            }
            bytes.extend_from_slice(&stored);
        }
        let tensor = Tensor { dtype: self.array.dtype, shape, data: bytes.into() };
        match self.conversion {
            Conversion::Integers => integers(&tensor, self.dtype),
            _ => Ok(tensor),
        }
    }
}

fn serving<'d>(dataset: &'d Dataset, input: &str, inputs: usize) -> Result<&'d Array, DataError> {
    if let ([only], 1) = (dataset.arrays(), inputs) {
        return Ok(only);
    }
    dataset.arrays().iter().find(|array| array.name == input).ok_or_else(|| {
        let names: Vec<String> = dataset.arrays().iter().map(|array| format!("`{}`", array.name)).collect();
        let reason = format!(
            "no array is named after the model's input `{input}`; besides the labels the dataset holds {}",
            names.join(", ")
        );
        DataError::Mismatch { reason }
    })
}

/// Sizes of an input's axes; `None` where an axis is open.
type Sizes = Vec<Option<usize>>;

/// Element type and sizes of an input as the model declares them; no sizes where the rank is unknown.
fn declared(input: &ValueInfoProto) -> Result<(DataType, Option<Sizes>), DataError> {
    let kind = input.r#type.as_ref().and_then(|declared| declared.value.as_ref());
    let Some(TypeValue::Tensor(tensor)) = kind else {
        return Err(DataError::Mismatch { reason: format!("the model's input `{}` is no tensor", input.name()) });
    };
    let dtype = DataType::from_number(tensor.elem_type()).ok_or_else(|| DataError::Mismatch {
        reason: format!("the model's input `{}` declares no element type", input.name()),
    })?;
    let sizes = tensor.shape.as_ref().map(|shape| {
        let size = |value: &Option<DimensionValue>| match value {
            Some(DimensionValue::Value(size)) => usize::try_from(*size).ok().filter(|size| *size > 0),
            _ => None,
        };
        shape.dim.iter().map(|dimension| size(&dimension.value)).collect::<Vec<_>>()
    });
    Ok((dtype, sizes))
}

/// Holds a declared shape, batch axis first, against an array's samples.
fn fits(input: &str, shape: &[Option<usize>], array: &Array) -> Result<(), DataError> {
    let sample = &array.sample_shape;
    let agree = |(declared, found): (&Option<usize>, &usize)| declared.is_none_or(|size| size == *found);
    if shape.len() == sample.len() + 1 && shape[1..].iter().zip(sample).all(agree) {
        return Ok(());
    }
    let sizes: Vec<String> =
        shape.iter().map(|size| size.map_or_else(|| "?".to_owned(), |size| size.to_string())).collect();
    let reason = format!(
        "samples of the array `{}` have the shape {sample:?}, but the model's input `{input}` takes [{}], of which the \
         first axis is the batch",
        array.name,
        sizes.join(", ")
    );
    Err(DataError::Mismatch { reason })
}

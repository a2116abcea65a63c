//! tract, the second engine.
//!
//! It needs concrete shapes, so that it prepares the graph anew for each combination of input shapes; the last few are
//! kept. It panics on some graphs that it does not know: a panic counts as declining.

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use half::f16;
use prost::Message as _;
use tract_onnx::prelude::{
    Datum, DatumType, Framework as _, InferenceFact, InferenceModel, InferenceModelExt as _, IntoRunnable as _,
    IntoTValue as _, TVec, Tensor as TractTensor, TractResult, TypedRunnableModel,
};

use super::{Engine, EngineError, Session, SessionOptions};
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;
use crate::onnx::storage::LARGEST_MESSAGE;
use crate::onnx::tensor::Tensor;

/// Name in reports and errors.
const NAME: &str = "tract";
/// The release that `Cargo.lock` holds; tract does not tell it by itself.
const VERSION: &str = "0.23.9";
/// Combinations of input shapes for which a prepared graph is kept.
const KEPT_PLANS: usize = 4;
/// What ONNX Runtime's normalisations of a sum add to the variance where they do not say.
const EPSILON_OF_SKIP: f32 = 1e-12;

/// The tract library, which is part of this program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tract;

/// The second engine.
pub fn tract() -> Tract {
    Tract
}

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> Option<String> {
        Some(VERSION.to_owned())
    }

    /// Reads the graph. Whether tract can run it shows at the first run, which brings the shapes.
    fn load(&self, model: &Model, _: &SessionOptions) -> Result<Box<dyn Session>, EngineError> {
        if model.proto.encoded_len() as u64 > LARGEST_MESSAGE {
            let message = "it is given no models of more than 2 GiB, of which it would keep several copies".to_owned();
            return Err(EngineError::Load { engine: NAME, message });
        }
        let bytes = spelled_out(model).to_bytes();
        let graph = guarded(|| {
            // Declared shapes of inner values and outputs are claims of the exporter and often stale.
            tract_onnx::onnx()
                .with_ignore_output_shapes(true)
                .with_ignore_value_info(true)
                .model_for_read(&mut bytes.as_slice())
        })?;
        let input_names = guarded(|| {
            Ok(graph.input_outlets()?.iter().map(|outlet| graph.node(outlet.node).name.clone()).collect::<Vec<_>>())
        })?;
        let output_names = model.graph_proto().output.iter().map(|output| output.name().to_owned()).collect();
        Ok(Box::new(TractSession { graph, input_names, output_names, plans: Vec::new() }))
    }
}

/// The model with what tract takes otherwise than ONNX Runtime written out: the latter adds 1e-12 to the variance of a
/// normalised sum where the node does not say, tract 1e-5; and tract leaves the bias out where the mean is not subtracted.
fn spelled_out(model: &Model) -> Cow<'_, Model> {
    let is_told =
        |node: &NodeProto| matches!(node.op_type(), "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization");
    if !model.graph_proto().node.iter().any(is_told) {
        return Cow::Borrowed(model);
    }
    let mut model = model.clone();
    let graph = model.graph_proto_mut();
    for mut node in std::mem::take(&mut graph.node) {
        if is_told(&node) && node.float("epsilon").is_none() {
            node.set_attribute("epsilon", Attribute::Float(EPSILON_OF_SKIP));
        }
        if node.op_type() == "SkipSimplifiedLayerNormalization" && node.input_name(3).is_some() {
            let (input, bias) = (node.input[0].clone(), node.input.remove(3));
            let sum = format!("{input}_and_{bias}_of_{}", node.output[0]);
            node.input[0].clone_from(&sum);
            graph.node.push(NodeProto {
                op_type: Some("Add".to_owned()),
                name: Some(sum.clone()),
                input: vec![input, bias],
                output: vec![sum],
                ..NodeProto::default()
            });
        }
        graph.node.push(node);
    }
    Cow::Owned(model)
}

/// Element types and shapes of all inputs.
type Signature = Vec<(DataType, Vec<usize>)>;

struct TractSession {
    graph: InferenceModel,
    input_names: Vec<String>,
    output_names: Vec<String>,
    /// Most recently used last.
    plans: Vec<(Signature, Arc<TypedRunnableModel>)>,
}

impl Session for TractSession {
    fn output_names(&self) -> &[String] {
        &self.output_names
    }

    fn run(&mut self, feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError> {
        let inputs = self.in_order(feeds)?;
        let plan = self.plan(&inputs)?;
        let mut values: TVec<_> = TVec::new();
        for tensor in inputs {
            values.push(guarded(|| to_tract(tensor))?.into_tvalue());
        }
        let outputs = guarded(|| plan.run(values))?;
        outputs.iter().zip(&self.output_names).map(|(value, name)| from_tract(value, name)).collect()
    }
}

impl TractSession {
    fn in_order<'t>(&self, feeds: &[(&str, &'t Tensor)]) -> Result<Vec<&'t Tensor>, EngineError> {
        let wrong = |message| EngineError::Run { engine: NAME, message };
        if let Some((name, _)) = feeds.iter().find(|(name, _)| !self.input_names.iter().any(|input| input == name)) {
            return Err(wrong(format!("the graph has no input `{name}`")));
        }
        self.input_names
            .iter()
            .map(|input| {
                let feed = feeds.iter().find(|(name, _)| name == input);
                feed.map(|(_, tensor)| *tensor).ok_or_else(|| wrong(format!("input `{input}` is missing")))
            })
            .collect()
    }

    /// The graph prepared for these shapes.
    fn plan(&mut self, inputs: &[&Tensor]) -> Result<Arc<TypedRunnableModel>, EngineError> {
        let signature: Signature = inputs.iter().map(|tensor| (tensor.dtype, tensor.shape.clone())).collect();
        if let Some(found) = self.plans.iter().position(|(known, _)| *known == signature) {
            let hit = self.plans.remove(found);
            let plan = Arc::clone(&hit.1);
            self.plans.push(hit);
            return Ok(plan);
        }
        let mut facts = Vec::with_capacity(inputs.len());
        for (name, tensor) in self.input_names.iter().zip(inputs) {
            let kind = datum_type(tensor.dtype).ok_or_else(|| EngineError::InputType {
                engine: NAME,
                name: name.clone(),
                dtype: tensor.dtype,
            })?;
            facts.push(InferenceFact::dt_shape(kind, tensor.shape.as_slice()));
        }
        let graph = self.graph.clone();
        let plan = guarded(move || {
            let mut graph = graph;
            for (index, fact) in facts.into_iter().enumerate() {
                graph.set_input_fact(index, fact)?;
            }
            graph.into_optimized()?.into_runnable()
        })?;
        if self.plans.len() == KEPT_PLANS {
            self.plans.remove(0);
        }
        self.plans.push((signature, Arc::clone(&plan)));
        Ok(plan)
    }
}

/// Runs a piece of tract; its errors and panics become reasons.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, EngineError> {
    // What a panic leaves half done belongs to the closure and is dropped with it.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(EngineError::Declined { reason: format!("{error:#}") }),
        Err(panic) => Err(EngineError::Declined { reason: format!("it panicked: {}", message_of(panic.as_ref())) }),
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

fn to_tract(tensor: &Tensor) -> TractResult<TractTensor> {
    fn copy<T: Datum + bytemuck::AnyBitPattern + bytemuck::NoUninit>(tensor: &Tensor) -> TractResult<TractTensor> {
        if let Ok(elements) = bytemuck::try_cast_slice::<u8, T>(&tensor.data) {
            return TractTensor::from_shape(&tensor.shape, elements);
        }
        TractTensor::from_shape(&tensor.shape, &bytemuck::pod_collect_to_vec::<u8, T>(&tensor.data))
    }
    match tensor.dtype {
        DataType::Float => copy::<f32>(tensor),
        DataType::Double => copy::<f64>(tensor),
        DataType::Float16 => {
            let words = tensor.data.as_chunks::<2>().0;
            let elements: Vec<f16> = words.iter().map(|word| f16::from_le_bytes(*word)).collect();
            TractTensor::from_shape(&tensor.shape, &elements)
        }
        DataType::Int8 => copy::<i8>(tensor),
        DataType::Int16 => copy::<i16>(tensor),
        DataType::Int32 => copy::<i32>(tensor),
        DataType::Int64 => copy::<i64>(tensor),
        DataType::Uint8 => copy::<u8>(tensor),
        DataType::Uint16 => copy::<u16>(tensor),
        DataType::Uint32 => copy::<u32>(tensor),
        DataType::Uint64 => copy::<u64>(tensor),
        DataType::Bool => {
            let elements: Vec<bool> = tensor.data.iter().map(|byte| *byte != 0).collect();
            TractTensor::from_shape(&tensor.shape, &elements)
        }
        // The plan was made for this type, so that it is one of the table; the message would still be right.
        other => Err(std::io::Error::other(format!("tract has no type for {other}")).into()),
    }
}

fn from_tract(value: &TractTensor, name: &str) -> Result<Tensor, EngineError> {
    // Sizes are symbolic expressions inside tract; at the border they are integers.
    let value = guarded(|| match value.datum_type() {
        DatumType::TDim => value.cast_to::<i64>(),
        _ => Ok(std::borrow::Cow::Borrowed(value)),
    })?;
    let dtype = dtype_of(value.datum_type()).ok_or_else(|| EngineError::OutputType {
        name: name.to_owned(),
        kind: format!("a tensor of {:?}", value.datum_type()),
    })?;
    let data = guarded(|| Ok(Bytes::copy_from_slice(value.try_as_plain_ram()?.as_bytes())))?;
    Ok(Tensor { dtype, shape: value.shape().to_vec(), data })
}

/// The types that both sides have.
const TYPES: [(DataType, DatumType); 12] = [
    (DataType::Float, DatumType::F32),
    (DataType::Double, DatumType::F64),
    (DataType::Float16, DatumType::F16),
    (DataType::Int8, DatumType::I8),
    (DataType::Int16, DatumType::I16),
    (DataType::Int32, DatumType::I32),
    (DataType::Int64, DatumType::I64),
    (DataType::Uint8, DatumType::U8),
    (DataType::Uint16, DatumType::U16),
    (DataType::Uint32, DatumType::U32),
    (DataType::Uint64, DatumType::U64),
    (DataType::Bool, DatumType::Bool),
];

fn datum_type(dtype: DataType) -> Option<DatumType> {
    TYPES.iter().find(|row| row.0 == dtype).map(|row| row.1)
}

fn dtype_of(datum: DatumType) -> Option<DataType> {
    TYPES.iter().find(|row| row.1 == datum).map(|row| row.0)
}

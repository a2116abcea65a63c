//! A small graph, the point at which it is differentiated, and how closely the gradient must agree.

use std::collections::BTreeMap;

use bytes::Bytes;
use secateur::autodiff::backward::{Gradients, differentiate};
use secateur::autodiff::emit::Value;
use secateur::autodiff::forward::{Forward, Mode};
use secateur::engine::{Engine, Optimization, Session, SessionOptions, onnx_runtime};
use secateur::onnx::attribute::Attribute;
use secateur::onnx::builder::{GraphBuilder, Size};
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;

/// How a case is computed and compared.
#[derive(Clone, Copy, Debug)]
pub enum Precision {
    /// Double precision.
    Double,
    /// Single precision, the operator is linear in each input: any step is exact but for rounding.
    Linear,
    /// Single precision, the operator is piecewise linear: the step stays within a piece.
    Piecewise,
    /// Single precision, the operator is curved: rounding and curvature both cost digits.
    Curved,
    /// Single precision at a kink: the gradient must lie between the differences to the left and to the right.
    Kink,
}

impl Precision {
    pub fn dtype(self) -> DataType {
        if matches!(self, Self::Double) { DataType::Double } else { DataType::Float }
    }

    /// The step, and the largest difference allowed relative to the largest gradient (at least 1).
    fn step_and_tolerance(self) -> (f64, f64) {
        match self {
            Self::Double => (1e-5, 1e-7),
            Self::Linear => (0.5, 2e-5),
            Self::Piecewise => (1.0 / 64.0, 2e-4),
            Self::Curved => (1.0 / 64.0, 2e-3),
            Self::Kink => (1.0 / 64.0, 1e-3),
        }
    }
}

/// An input of a case.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    /// Whether its gradient is wanted.
    pub wanted: bool,
}

/// A graph to differentiate. Inputs are differentiated, all outputs get upstream gradients.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub precision: Precision,
    pub inputs: Vec<Input>,
    model: Model,
    mode: Mode,
}

impl Case {
    /// A case whose graph is made by `build` from the names of the inputs; it returns the names of the outputs.
    pub fn new(
        name: impl Into<String>,
        precision: Precision,
        inputs: &[(&str, &[usize], Vec<f64>)],
        build: impl Fn(&mut GraphBuilder, &[&str]) -> Vec<String>,
    ) -> Self {
        let mut builder = GraphBuilder::new("case");
        let dtype = precision.dtype();
        let mut names = Vec::new();
        for (name, shape, values) in inputs {
            assert_eq!(values.len(), shape.iter().product::<usize>());
            let sizes: Vec<Size> = shape.iter().map(|size| Size::Fixed(*size)).collect();
            names.push(builder.input(name, dtype, &sizes));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for output in build(&mut builder, &names) {
            builder.output(&output, dtype, &[]);
        }
        let inputs = inputs
            .iter()
            .map(|(name, shape, values)| Input {
                name: (*name).into(),
                shape: shape.to_vec(),
                values: values.clone(),
                wanted: true,
            })
            .collect();
        Self { name: name.into(), precision, inputs, model: builder.build(18), mode: Mode::Training }
    }

    /// One operator with one output on one input.
    pub fn unary(
        operator: &str,
        note: &str,
        precision: Precision,
        shape: &[usize],
        values: Vec<f64>,
        attributes: &[(&str, Attribute)],
    ) -> Self {
        Self::new(format!("{operator}: {note}"), precision, &[("x", shape, values)], |b, x| {
            vec![b.node(operator, &[x[0]], attributes)]
        })
    }

    /// The same graph as it infers.
    pub fn inferring(mut self) -> Self {
        self.mode = Mode::Inference;
        self
    }

    /// The same graph under another version of the operator set.
    pub fn at_opset(mut self, version: i64) -> Self {
        self.model.proto.opset_import[0].version = Some(version);
        self
    }

    /// The operators of the graph.
    pub fn operators(&self) -> Vec<String> {
        self.model.graph_proto().node.iter().map(|node| node.op_type().to_owned()).collect()
    }

    /// Compares every gradient element with its finite difference.
    pub fn check(&self) -> Result<(), String> {
        self.compare().map_err(|reason| format!("{}: {reason}", self.name))
    }

    /// The gradient of each input, all upstream gradients being 1.
    pub fn gradients_of_the_sum(&self) -> Vec<Vec<f64>> {
        let mut run = Run::new(self).unwrap();
        for upstream in &mut run.upstream {
            upstream.1.fill(1.0);
        }
        let at: Vec<Vec<f64>> = self.inputs.iter().map(|input| input.values.clone()).collect();
        run.evaluate(&at).unwrap().1
    }

    fn compare(&self) -> Result<(), String> {
        let mut run = Run::new(self)?;
        let at: Vec<Vec<f64>> = self.inputs.iter().map(|input| input.values.clone()).collect();
        let (_, gradients) = run.evaluate(&at)?;
        let (step, tolerance) = self.precision.step_and_tolerance();
        let scale = gradients.iter().flatten().fold(1.0_f64, |scale, g| scale.max(g.abs()));
        let mut gradients = gradients.into_iter();
        for (which, input) in self.inputs.iter().enumerate() {
            if !input.wanted {
                continue;
            }
            let gradient = gradients.next().ok_or("a gradient is missing")?;
            for (i, analytic) in gradient.iter().enumerate() {
                let mut moved = |by: f64| -> Result<f64, String> {
                    let mut at = at.clone();
                    at[which][i] += by;
                    Ok(run.evaluate(&at)?.0)
                };
                let (above, here, below) = (moved(step)?, moved(0.0)?, moved(-step)?);
                let agrees = if let Precision::Kink = self.precision {
                    let (left, right) = ((here - below) / step, (above - here) / step);
                    let slack = tolerance * scale;
                    (left.min(right) - slack..=left.max(right) + slack).contains(analytic)
                } else {
                    (analytic - (above - below) / (2.0 * step)).abs() <= tolerance * scale
                };
                if !agrees {
                    let numeric = (above - below) / (2.0 * step);
                    return Err(format!(
                        "d/d{}[{i}] is {analytic}, by differences {numeric} (scale {scale})",
                        input.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A case ready to run.
struct Run {
    session: Box<dyn Session>,
    dtype: DataType,
    /// The shape is `None` where the graph does without the input.
    inputs: Vec<(String, Option<Vec<usize>>)>,
    upstream: Vec<(Value, Vec<f64>)>,
}

impl Run {
    fn new(case: &Case) -> Result<Self, String> {
        let shapes: BTreeMap<String, Vec<i64>> = case
            .inputs
            .iter()
            .map(|input| (input.name.clone(), input.shape.iter().map(|s| *s as i64).collect()))
            .collect();
        let mut forward = Forward::new(&case.model, &shapes, case.mode);
        let outputs: Vec<String> = case.model.graph_proto().output.iter().map(|info| info.name().to_owned()).collect();
        let mut values = Vec::new();
        let mut upstream = Vec::new();
        for name in &outputs {
            let value = forward.value(name).cloned().ok_or(format!("the shape of `{name}` is unknown"))?;
            let gradient = Value { name: format!("upstream_{name}"), ..value.clone() };
            upstream.push((gradient, numbers(values.len() as u64 + 99, value.len())));
            values.push(value);
        }
        let seeds: Vec<(String, Value)> =
            values.iter().zip(&upstream).map(|(value, (gradient, _))| (value.name.clone(), gradient.clone())).collect();
        let wanted: Vec<String> =
            case.inputs.iter().filter(|input| input.wanted).map(|input| input.name.clone()).collect();
        let Gradients { mut of, frozen } = differentiate(&mut forward, &seeds, &wanted);
        if !frozen.is_empty() {
            return Err(format!("{frozen:?}"));
        }
        for name in &wanted {
            let gradient = of.remove(name).ok_or("a gradient is missing")?;
            // Two inputs may share a gradient, an output may be an input: each becomes a value of its own.
            values.push(forward.emit.unary("Identity", &gradient));
        }
        let further: Vec<Value> = upstream.iter().map(|(value, _)| value.clone()).collect();
        let model = forward.into_model(&values, &further);
        let fed: Vec<String> = model.graph_proto().input.iter().map(|info| info.name().to_owned()).collect();
        upstream.retain(|(value, _)| fed.contains(&value.name));
        let options = SessionOptions { optimization: Optimization::Disabled, ..SessionOptions::with_threads(1) };
        let session =
            onnx_runtime().and_then(|engine| engine.load(&model, &options)).map_err(|error| error.to_string())?;
        let feed = |input: &Input| fed.contains(&input.name).then(|| input.shape.clone());
        let inputs = case.inputs.iter().map(|input| (input.name.clone(), feed(input))).collect();
        Ok(Self { session, dtype: case.precision.dtype(), inputs, upstream })
    }

    /// Σ upstream · output, and the gradients.
    fn evaluate(&mut self, at: &[Vec<f64>]) -> Result<(f64, Vec<Vec<f64>>), String> {
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for ((name, shape), values) in self.inputs.iter().zip(at) {
            tensors.extend(shape.as_ref().map(|shape| (name.clone(), tensor(self.dtype, shape, values))));
        }
        for (value, values) in &self.upstream {
            tensors.push((value.name.clone(), tensor(self.dtype, &value.shape, values)));
        }
        let feeds: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let outputs = self.session.run(&feeds).map_err(|error| error.to_string())?;
        let (results, gradients) = outputs.split_at(self.upstream.len());
        let products = results.iter().zip(&self.upstream).map(|(result, (_, weights))| {
            doubles(result).iter().zip(weights).map(|(y, weight)| y * weight).sum::<f64>()
        });
        Ok((products.sum(), gradients.iter().map(doubles).collect()))
    }
}

/// A tensor of the values, rounded where the type is narrower.
pub fn tensor(dtype: DataType, shape: &[usize], values: &[f64]) -> Tensor {
    let data: Bytes = if dtype == DataType::Double {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    } else {
        values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect()
    };
    Tensor::from_bytes(dtype, shape, data).unwrap()
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    if tensor.dtype == DataType::Double {
        return tensor.data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    }
    tensor.to_f32().unwrap().iter().map(|v| f64::from(*v)).collect()
}

/// Numbers in ±1 on a grid of 1/64, in a scrambled order that depends on the seed.
pub fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % 128) as f64 / 64.0 - 1.0 + 1.0 / 128.0
        })
        .collect()
}

/// Distinct numbers around 0, none nearer than 3/64 to 0 or to each other, in a scrambled order.
pub fn apart(seed: u64, count: usize) -> Vec<f64> {
    let mut values: Vec<f64> = (0..count).map(|i| (i as f64 - (count / 2) as f64 + 0.5) * 6.0 / 64.0).collect();
    let keys = numbers(seed, count);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
    values = order.into_iter().map(|i| values[i]).collect();
    values
}

/// Numbers in 1/2..5/2.
pub fn positive(seed: u64, count: usize) -> Vec<f64> {
    numbers(seed, count).into_iter().map(|v| v + 1.5).collect()
}

pub fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// A constant list of integers.
pub fn list(builder: &mut GraphBuilder, values: &[i64]) -> String {
    builder.constant(&Tensor::from_i64(&[values.len()], values))
}

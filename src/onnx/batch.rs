//! Freeing a batch that was fixed at export.
//!
//! The first axis of the fed inputs becomes a symbol, and the symbol is followed through the graph: a value either does
//! not depend on the batch or has it as the slowest part of one axis. A Reshape to constants keeps it where the symbolic
//! sizes say that it is the batch, never because a number equals it. An operator that would mix samples, or that is not
//! known not to, is the reason of a refusal.

use std::collections::{HashMap, HashSet};

use super::attribute::Attribute;
use super::builder::Size;
use super::graph::{Graph, NodeIndex};
use super::model::Model;
use super::patch::{Applied, Change, PatchError, apply};
use super::proto::{NodeProto, ValueInfoProto};
use super::shape::fact::axis_of;
use super::shape::{Dim, Inferred, Symbol, infer};
use super::tensor::Tensor;

/// Why a batch cannot be freed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the inputs do not share a first axis that could be the batch: {reason}")]
    NoBatch { reason: String },
    #[error("`{node}` depends on the fixed batch: {reason}")]
    Depends { node: String, reason: String },
    #[error("the batch cannot be freed: {0}")]
    Patch(#[from] PatchError),
}

/// A model whose batch is free.
#[derive(Clone, Debug)]
pub struct Freed {
    pub model: Model,
    /// What was changed; empty where the batch was free before.
    pub notes: Vec<String>,
}

/// Reshapes rewritten in one model; each takes an inference.
const MAX_REWRITES: usize = 256;

/// Frees the batch; a model whose batch is free already is copied as it is.
pub fn free(model: &Model) -> Result<Freed, BatchError> {
    let graph = model.graph();
    let inputs: Vec<&ValueInfoProto> = graph.fed_inputs().collect();
    let inferred = infer(model);
    let Some((size, names)) = fixed(&inputs, &inferred)? else {
        return Ok(Freed { model: model.clone(), notes: Vec::new() });
    };
    let name = symbol_name(&inferred);
    let symbol = Dim::symbol(&name);
    let declare =
        |input: &String| Change::DeclareInput { name: input.clone(), axis: 0, size: Size::Named(name.clone()) };
    let mut changes: Vec<Change> = names.iter().map(declare).collect();
    let mut notes = vec![format!("the batch, fixed at {size} by the export, is free (axis 0 of {})", names.join(", "))];
    for _ in 0..MAX_REWRITES {
        let trial = trial(model, &changes);
        let opset = model.opset("").unwrap_or(1);
        let follow = Follow { graph: trial.graph(), inferred: infer(&trial), batch: &symbol, size, opset };
        match follow.walk()? {
            None => {
                let Applied { model, .. } = apply(model, &changes)?;
                return Ok(Freed { model, notes });
            }
            Some((found, note)) => {
                changes.extend(found);
                notes.push(note);
            }
        }
    }
    Err(BatchError::NoBatch { reason: format!("more than {MAX_REWRITES} Reshapes would have to be rewritten") })
}

/// The fixed size and the inputs that have it; `None` where the first axis is free.
fn fixed(inputs: &[&ValueInfoProto], inferred: &Inferred) -> Result<Option<(i64, Vec<String>)>, BatchError> {
    let mut found: Option<(i64, Vec<String>)> = None;
    for info in inputs {
        // An input of fewer axes is no stack of samples, such as a sampling rate.
        let Some([first, _, ..]) = inferred.dims(info.name()) else { continue };
        match (first.as_known(), &mut found) {
            (None, _) => return Ok(None),
            (Some(size), None) => found = Some((size, vec![info.name().to_owned()])),
            (Some(size), Some((shared, names))) if size == *shared => names.push(info.name().to_owned()),
            (Some(size), Some((shared, _))) => {
                return Err(BatchError::NoBatch { reason: format!("sizes {shared} and {size} differ") });
            }
        }
    }
    match found {
        Some(found) => Ok(Some(found)),
        None => Err(BatchError::NoBatch { reason: "no input has two axes or more".into() }),
    }
}

/// `batch`, or another name where an axis is called that.
fn symbol_name(inferred: &Inferred) -> String {
    let taken: HashSet<String> = inferred
        .values()
        .flat_map(|value| inferred.dims(value).unwrap_or_default())
        .flat_map(Dim::symbols)
        .map(Symbol::to_string)
        .collect();
    let mut name = "batch".to_owned();
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

/// The model with the changes made, unchecked: shapes may not fit before all of them are.
fn trial(model: &Model, changes: &[Change]) -> Model {
    let mut trial = model.clone();
    for change in changes {
        // Each change was made from this graph, so that it applies.
        let _ = super::patch::make(trial.graph_proto_mut(), change);
    }
    trial
}

/// A walk that follows the batch.
struct Follow<'g> {
    graph: Graph<'g>,
    inferred: Inferred,
    batch: &'g Dim,
    size: i64,
    opset: i64,
}

/// Operators whose inputs may be shapes, amounts or bounds.
const ASK_FOR_SHAPES: &[&str] =
    &["Reshape", "Expand", "ConstantOfShape", "Slice", "Pad", "Tile", "Resize", "Upsample", "Split"];

type Rewrite = (Vec<Change>, String);

impl<'g> Follow<'g> {
    /// Walks the nodes; gives the next rewrite that is needed, `None` where the batch reaches everything as it should.
    fn walk(&self) -> Result<Option<Rewrite>, BatchError> {
        let mut axes: HashMap<&'g str, usize> = HashMap::new();
        for (index, node) in self.graph.proto.node.iter().enumerate() {
            if self.is_shape(node) {
                continue;
            }
            let inputs: Vec<Option<usize>> =
                node.input.iter().map(|name| axes.get(name.as_str()).copied().or(self.fed(name))).collect();
            self.no_batch_as_data(node)?;
            if inputs.iter().all(Option::is_none) {
                continue;
            }
            if node.is("Reshape")
                && let Some(rewrite) = self.reshape(index, inputs.first().copied().flatten())?
            {
                return Ok(Some(rewrite));
            }
            let depends = |reason: String| BatchError::Depends { node: node.label(), reason };
            if let Some(unknown) = self.inferred.unknown().iter().find(|unknown| unknown.node == index) {
                return Err(depends(unknown.reason.clone()));
            }
            self.keeps_apart(node, &inputs).map_err(depends)?;
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                axes.insert(name, self.axis(name).map_err(depends)?);
            }
        }
        self.outputs(&axes).map(|()| None)
    }

    /// Each output must have the batch on its first axis, or not depend on it.
    fn outputs(&self, axes: &HashMap<&str, usize>) -> Result<(), BatchError> {
        for info in &self.graph.proto.output {
            if axes.get(info.name()).is_some_and(|axis| *axis != 0) {
                let reason = "the batch is not its first axis".into();
                return Err(BatchError::Depends { node: info.name().to_owned(), reason });
            }
        }
        Ok(())
    }

    fn fed(&self, name: &str) -> Option<usize> {
        let first = self.graph.is_input(name).then(|| self.inferred.dims(name)?.first()).flatten()?;
        (first == self.batch).then_some(0)
    }

    /// Whether the node only computes shapes, whose elements are known as expressions.
    fn is_shape(&self, node: &NodeProto) -> bool {
        node.is("Shape") || node.is("Size") || node.output.iter().all(|name| self.inferred.value(name).is_some())
    }

    /// The batch may be read as a number where shapes are asked for; as data, as in a mean taken by hand, it may not.
    fn no_batch_as_data(&self, node: &NodeProto) -> Result<(), BatchError> {
        if ASK_FOR_SHAPES.contains(&node.op_type()) {
            return Ok(());
        }
        let symbol = self.batch.as_symbol();
        let reads = |name: &&String| {
            let elements = self.inferred.value(name).map(|value| value.elements.as_slice()).unwrap_or_default();
            elements.iter().flat_map(Dim::symbols).any(|found| Some(found) == symbol)
        };
        match node.input.iter().find(reads) {
            Some(name) => Err(BatchError::Depends {
                node: node.label(),
                reason: format!("it computes with the batch as `{name}`"),
            }),
            None => Ok(()),
        }
    }

    /// The axis of which the batch is the slowest part.
    fn axis(&self, name: &str) -> Result<usize, String> {
        let dims = self.inferred.dims(name).ok_or("its shape is unknown")?;
        let symbol = self.batch.as_symbol();
        let depends = |dim: &Dim| dim.symbols().into_iter().any(|found| Some(found) == symbol);
        let mut axes = dims.iter().enumerate().filter(|(_, dim)| depends(dim));
        match (axes.next(), axes.next()) {
            (Some((axis, dim)), None) if dim.div_exact(self.batch).is_some() => Ok(axis),
            (Some((_, dim)), None) => Err(format!("its size {dim} is no multiple of the batch")),
            (Some(_), Some(_)) => Err("two axes of its result depend on the batch".into()),
            (None, _) => Err("its result no longer has the batch".into()),
        }
    }

    /// The elements before an axis, as one size.
    fn before(&self, name: &str, axis: usize) -> Option<Dim> {
        Some(Dim::product(self.inferred.dims(name)?.get(..axis)?))
    }

    /// The constant target of a Reshape with the batch in its place, where it is not there yet.
    fn reshape(&self, index: NodeIndex, axis: Option<usize>) -> Result<Option<Rewrite>, BatchError> {
        let node = self.graph.node(index);
        let depends = |reason: &str| BatchError::Depends { node: node.label(), reason: reason.to_owned() };
        let (Some(axis), Some(source), Some(output)) = (axis, node.input_name(0), node.output.first()) else {
            return Err(depends("its target depends on samples"));
        };
        let target = match node.ints("shape") {
            Some(shape) => shape.to_vec(),
            None => match node.input_name(1).and_then(|name| self.inferred.value(name)) {
                Some(value) => match value.known() {
                    Some(target) => target,
                    // Computed from shapes: the check of the result's axes says whether it fits.
                    None => return Ok(None),
                },
                None => return Err(depends("its target is unknown")),
            },
        };
        let dims = self.inferred.dims(source).ok_or_else(|| depends("the shape of its input is unknown"))?;
        let total = Dim::product(dims);
        let before = Dim::product(&dims[..axis]);
        let zero_keeps = node.int("allowzero").unwrap_or(0) == 0;
        let size = |i: usize| match target[i] {
            0 if zero_keeps => dims.get(i).cloned(),
            -1 => None,
            size => Some(Dim::known(size)),
        };
        // The first axis behind an equal number of elements is where the batch goes.
        for i in 0..target.len() {
            let Some(front) = (0..i).map(size).collect::<Option<Vec<_>>>() else { break };
            if Dim::product(&front) != before {
                continue;
            }
            let rest: Option<Vec<Dim>> = (i + 1..target.len()).map(size).collect();
            let wanted = match &rest {
                Some(rest) => total.div_exact(&before.mul(&Dim::product(rest))),
                // One size behind it is open: this one is the batch itself or nothing can be said.
                None => Some(dims[axis].clone()),
            };
            let Some(wanted) = wanted.filter(|wanted| wanted.div_exact(self.batch).is_some()) else { continue };
            if target[i] == -1 || size(i).as_ref() == Some(&wanted) {
                return Ok(None);
            }
            let at_export = wanted.eval(&|symbol| (Some(symbol) == self.batch.as_symbol()).then_some(self.size));
            if at_export != Some(target[i]) {
                continue;
            }
            let mut free = target.clone();
            free[i] = match rest {
                Some(_) => -1,
                None if zero_keeps && dims.get(i) == Some(&wanted) => 0,
                None => return Err(depends("two sizes of its target would be open")),
            };
            return Ok(Some((
                self.retarget(node, output, &free),
                format!("`{}` reshapes to {free:?}, not {target:?}", node.label()),
            )));
        }
        Err(depends("its target does not keep the samples apart"))
    }

    fn retarget(&self, node: &NodeProto, output: &str, target: &[i64]) -> Vec<Change> {
        if node.ints("shape").is_some() {
            let value = Attribute::Ints(target.to_vec());
            return vec![Change::SetAttribute { node: output.to_owned(), name: "shape".into(), value }];
        }
        let mut name = format!("{output}__target");
        while self.inferred.dims(&name).is_some() {
            name.push('_');
        }
        let tensor = Tensor::from_i64(&[target.len()], target);
        vec![
            Change::AddInitializer { name: name.clone(), tensor },
            Change::ReplaceInput { node: output.to_owned(), slot: 1, value: name },
        ]
    }

    /// Whether the operator treats each sample by itself, given the batch axis of each input.
    fn keeps_apart(&self, node: &NodeProto, inputs: &[Option<usize>]) -> Result<(), String> {
        let rank = |slot: usize| node.input_name(slot).and_then(|name| self.inferred.rank(name)).unwrap_or(0);
        let only_first = || inputs.iter().skip(1).all(Option::is_none);
        let first = inputs.first().copied().flatten();
        let not_along = |axes: &[i64]| match first {
            Some(batch) => axes.iter().try_for_each(|axis| match axis_of(*axis, rank(0)) {
                Ok(axis) if axis == batch => Err("it runs over the batch".to_owned()),
                Ok(_) => Ok(()),
                Err(reason) => Err(reason),
            }),
            None => Err("a parameter depends on the batch".into()),
        };
        if !node.operator_domain().is_empty() {
            return Err("what it does with the batch is not known".into());
        }
        match node.op_type() {
            "Conv"
            | "ConvTranspose"
            | "MaxPool"
            | "AveragePool"
            | "LpPool"
            | "GlobalAveragePool"
            | "GlobalMaxPool"
            | "GlobalLpPool"
            | "BatchNormalization"
            | "InstanceNormalization"
            | "GroupNormalization"
            | "LRN"
            | "Resize"
            | "Upsample"
            | "DepthToSpace"
            | "SpaceToDepth"
            | "ImageScaler"
            | "Crop"
            | "ConvInteger" => {
                let kept = first == Some(0) && only_first();
                if kept { Ok(()) } else { Err("the batch is not the first axis of its input".into()) }
            }
            "Gemm" => {
                let rows = first == Some(0) && node.int("transA").unwrap_or(0) == 0;
                if rows && only_first() { Ok(()) } else { Err("the batch is not the rows of its input".into()) }
            }
            "MatMul" => {
                let (left, right) = (inputs.first().copied().flatten(), inputs.get(1).copied().flatten());
                let contracted =
                    left.is_some_and(|axis| axis + 1 == rank(0)) || right.is_some_and(|axis| axis + 2 >= rank(1));
                if contracted { Err("it multiplies across the batch".into()) } else { self.aligned(node, inputs) }
            }
            "LSTM" | "GRU" | "RNN" => {
                let axis = if node.int("layout").unwrap_or(0) == 0 { 1 } else { 0 };
                let states = [5, 6].iter().all(|slot| node.input_name(*slot).is_none() || inputs[*slot] == Some(axis));
                if first != Some(axis) || !states {
                    Err("its batch or its initial state is fixed".into())
                } else {
                    Ok(())
                }
            }
            "Softmax" | "LogSoftmax" | "Hardmax" if self.opset < 13 => {
                let axis = axis_of(node.int("axis").unwrap_or(1), rank(0))?;
                if first.is_some_and(|batch| batch < axis) { Ok(()) } else { Err("it runs over the batch".into()) }
            }
            "Softmax" | "LogSoftmax" | "Hardmax" | "LpNormalization" | "TopK" => {
                not_along(&[node.int("axis").unwrap_or(-1)])
            }
            "ArgMax" | "ArgMin" | "Split" | "GatherElements" => not_along(&[node.int("axis").unwrap_or(0)]),
            "LayerNormalization" | "RMSNormalization" => {
                let axis = axis_of(node.int("axis").unwrap_or(-1), rank(0))?;
                let kept = first.is_some_and(|batch| batch < axis) && only_first();
                if kept { Ok(()) } else { Err("it normalises over the batch".into()) }
            }
            operator if operator.starts_with("Reduce") => {
                let axes = node.ints("axes").map(<[i64]>::to_vec).or_else(|| {
                    node.input_name(1)
                        .and_then(|name| self.inferred.value(name))
                        .and_then(super::shape::ShapeValue::known)
                });
                match axes {
                    Some(axes) if !axes.is_empty() => not_along(&axes),
                    _ => Err("it runs over all axes".into()),
                }
            }
            "Concat" => {
                let every = inputs.iter().all(|axis| axis.is_some() && *axis == first);
                if every {
                    not_along(&[node.int("axis").unwrap_or(1)])
                } else {
                    Err("not all parts have the batch".into())
                }
            }
            "Gather" if first.is_none() => Ok(()),
            "Gather" if only_first() => not_along(&[node.int("axis").unwrap_or(0)]),
            "Slice" => {
                let forwards = node.input_name(4).is_none_or(|name| {
                    let steps = self.inferred.value(name).and_then(super::shape::ShapeValue::known);
                    steps.is_some_and(|steps| steps.iter().all(|step| *step > 0))
                });
                if forwards && only_first() { Ok(()) } else { Err("it may reorder the batch".into()) }
            }
            "Pad" | "Tile" | "Transpose" | "Squeeze" | "Unsqueeze" | "QuantizeLinear" | "DequantizeLinear"
            | "Expand" => {
                if only_first() {
                    Ok(())
                } else {
                    Err("a parameter depends on the batch".into())
                }
            }
            "Reshape" | "Flatten" => {
                let output = node.output.first().ok_or("it has no output")?;
                let (input, batch) =
                    (node.input_name(0).ok_or("it has no input")?, first.ok_or("its target is sampled")?);
                let same = self.before(input, batch) == self.before(output, self.axis(output)?);
                if same { Ok(()) } else { Err("it does not keep the samples apart".into()) }
            }
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "PRelu" | "Max" | "Min" | "Sum" | "Mean" | "Where"
            | "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Xor" => {
                self.aligned(node, inputs)
            }
            "Relu" | "LeakyRelu" | "Elu" | "Selu" | "Celu" | "HardSigmoid" | "HardSwish" | "Sigmoid" | "Tanh"
            | "Softplus" | "Softsign" | "Gelu" | "Mish" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Abs" | "Neg"
            | "Floor" | "Ceil" | "Round" | "Erf" | "Sign" | "Not" | "Sin" | "Cos" | "Clip" | "Identity" | "Cast"
            | "Dropout" | "Affine" | "ThresholdedRelu" | "ScaledTanh" | "ParametricSoftplus" => Ok(()),
            _ => Err("what it does with the batch is not known".into()),
        }
    }

    /// Inputs that broadcast must have the batch at the same place counted from the back.
    fn aligned(&self, node: &NodeProto, inputs: &[Option<usize>]) -> Result<(), String> {
        let mut place = None;
        for (name, axis) in node.input.iter().zip(inputs) {
            let Some(axis) = axis else { continue };
            let rank = self.inferred.rank(name).ok_or("the rank of an input is unknown")?;
            let from_back = rank - axis;
            if *place.get_or_insert(from_back) != from_back {
                return Err("it sets the batch against another axis".into());
            }
        }
        Ok(())
    }
}

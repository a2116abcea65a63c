//! A walk that follows the batch from the inputs to the outputs and finds the first Reshape that loses it.

use std::collections::HashMap;

use super::super::attribute::Attribute;
use super::super::graph::{Graph, NodeIndex};
use super::super::patch::Change;
use super::super::proto::NodeProto;
use super::super::shape::{Dim, Inferred};
use super::super::tensor::Tensor;
use super::BatchError;

/// A walk that follows the batch.
pub struct Follow<'g> {
    pub graph: Graph<'g>,
    pub inferred: Inferred,
    /// The symbol of the batch.
    pub batch: &'g Dim,
    /// What it was fixed at.
    pub size: i64,
    pub opset: i64,
}

/// Operators whose inputs may be shapes, amounts or bounds.
const ASK_FOR_SHAPES: &[&str] =
    &["Reshape", "Expand", "ConstantOfShape", "Slice", "Pad", "Tile", "Resize", "Upsample", "Split"];

/// Changes, and the sentence that tells of them.
pub type Rewrite = (Vec<Change>, String);

impl<'g> Follow<'g> {
    /// Walks the nodes; gives the next rewrite that is needed, `None` where the batch reaches everything as it should.
    pub fn walk(&self) -> Result<Option<Rewrite>, BatchError> {
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
    pub fn axis(&self, name: &str) -> Result<usize, String> {
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
    pub fn before(&self, name: &str, axis: usize) -> Option<Dim> {
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
}

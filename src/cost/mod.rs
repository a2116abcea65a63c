//! What a model costs: multiply-accumulates, parameters, bytes; and where measured times are kept. Who measures are `prune`
//! and `evaluate`.

pub mod formula;
mod host;
pub mod inputs;
mod latency;
mod parameters;
mod size;
mod turns;

use std::collections::{BTreeMap, HashMap};

pub use formula::{Extent, Formula, formula};
pub use host::{Host, Quiet, processor};
pub use latency::LatencyTable;
pub use parameters::{Parameters, is_parameter, nonzero, parameter_count, parameters};
pub use size::size;
pub use turns::turns;

use crate::onnx::bodies::{self, Nesting, Quantity};
use crate::onnx::graph::NodeIndex;
use crate::onnx::model::Model;
use crate::onnx::shape::{Dim, Inferred, Symbol};

/// Sizes of the inputs by name, as a user gives them for axes that the model leaves open.
pub type ExampleShapes = BTreeMap<String, Vec<u64>>;

/// Numbers for the open axes of a model: 1 for the batch, the given example for the others.
#[derive(Clone, Debug, Default)]
pub struct OpenSizes {
    sizes: HashMap<Symbol, i64>,
}

impl OpenSizes {
    /// The batch is the first axis of an input where that is open. A batch that is fixed stays what it is.
    pub fn new(model: &Model, inferred: &Inferred, examples: &ExampleShapes) -> Self {
        let mut sizes = HashMap::new();
        for info in model.graph().fed_inputs() {
            let Some(dims) = inferred.dims(info.name()) else { continue };
            if let Some(batch) = dims.first().and_then(Dim::as_symbol) {
                sizes.insert(batch.clone(), 1);
            }
        }
        for info in model.graph().fed_inputs() {
            let (Some(dims), Some(example)) = (inferred.dims(info.name()), examples.get(info.name())) else { continue };
            for (dim, size) in dims.iter().zip(example) {
                if let Some(symbol) = dim.as_symbol() {
                    sizes.entry(symbol.clone()).or_insert(*size as i64);
                }
            }
        }
        Self { sizes }
    }

    /// The number that a size is.
    ///
    /// Errors: the open axis that needs an example.
    pub fn resolve(&self, dim: &Dim) -> Result<u64, String> {
        let size = dim.eval(&|symbol| self.sizes.get(symbol).copied());
        size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| {
            let open = dim.symbols().into_iter().find(|symbol| !self.sizes.contains_key(*symbol));
            match open {
                Some(symbol @ Symbol::Named(_)) => {
                    format!("the size of axis `{symbol}` is open: give `example_shapes`")
                }
                _ => format!("the size {dim} is known only when the model runs"),
            }
        })
    }
}

/// Multiply-accumulates for batch 1, the open axes other than the batch as in `examples`. Of the branches of an If the dearer
/// one counts, the body of a Loop or Scan as often as it runs.
///
/// Errors: why they cannot be counted, in a sentence.
pub fn macs(model: &Model, examples: &ExampleShapes) -> Result<u64, String> {
    let laid_out = bodies::lay_out(model);
    let model = laid_out.as_ref().map_or(model, |laid_out| &laid_out.model);
    let inferred = crate::onnx::shape::infer(model);
    let open = OpenSizes::new(model, &inferred, examples);
    let mut found = Vec::new();
    for index in 0..model.graph_proto().node.len() {
        if let Some(macs) = macs_of_node(model, &inferred, &open, index)? {
            found.push((index, Macs(Some(macs))));
        }
    }
    let graph = model.graph();
    let nesting = Nesting::new(graph.proto);
    let total = nesting.total(found.into_iter(), |value| turns(&graph, &inferred, &open, value))?;
    total.0.ok_or_else(|| "they are more than can be counted".into())
}

/// A number of multiply-accumulates; `None` is more than can be counted.
struct Macs(Option<u64>);

impl Default for Macs {
    fn default() -> Self {
        Self(Some(0))
    }
}

impl Quantity for Macs {
    fn add(&mut self, other: Self) {
        self.0 = self.0.zip(other.0).and_then(|(a, b)| a.checked_add(b));
    }

    fn times(self, turns: u64) -> Self {
        Self(self.0.and_then(|macs| macs.checked_mul(turns)))
    }

    fn larger(self, other: Self) -> Self {
        Self(self.0.zip(other.0).map(|(a, b)| a.max(b)))
    }

    fn is_nothing(&self) -> bool {
        self.0 == Some(0)
    }
}

/// Those of one node; `None` where it costs nothing.
///
/// Errors: why they cannot be counted, in a sentence.
pub fn macs_of_node(
    model: &Model,
    inferred: &Inferred,
    open: &OpenSizes,
    index: NodeIndex,
) -> Result<Option<u64>, String> {
    let node = &model.graph_proto().node[index];
    let domain = node.operator_domain();
    if model.proto.functions.iter().any(|function| function.name() == node.op_type() && function.domain() == domain) {
        return Err(format!("what the function behind {} costs is not counted", node.label()));
    }
    let Some(formula) = formula(node, &|name| inferred.rank(name))? else { return Ok(None) };
    let size = |extent: &Extent| {
        let (name, axis) = match *extent {
            Extent::Input { slot, axis } => (node.input_name(slot).unwrap_or_default(), axis),
            Extent::Output { slot, axis } => (node.output.get(slot).map_or("", String::as_str), axis),
        };
        let dim = inferred
            .dims(name)
            .and_then(|dims| dims.get(axis))
            .ok_or_else(|| format!("the shape of `{name}` is unknown"))?;
        open.resolve(dim)
    };
    let mut macs = 0_u64;
    for product in &formula.products {
        let product = product.iter().try_fold(1_u64, |product, extent| {
            product
                .checked_mul(size(extent)?)
                .ok_or_else(|| format!("the multiply-accumulates of {} overflow", node.label()))
        })?;
        macs = macs.saturating_add(product);
    }
    Ok(Some(macs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::attribute::Attribute;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;
    use crate::onnx::tensor::Tensor;

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::from_f32(shape, &vec![0.0; shape.iter().product()])
    }

    #[test]
    fn a_strided_grouped_convolution_and_a_dense_layer_cost_what_a_hand_counts() {
        let mut b = GraphBuilder::new("net");
        let x = b.input("x", DataType::Float, &["n".into(), 4.into(), 8.into(), 8.into()]);
        let w = b.constant(&zeros(&[6, 2, 3, 3]));
        let attributes = [
            ("group", Attribute::Int(2)),
            ("strides", Attribute::Ints(vec![2, 2])),
            ("pads", Attribute::Ints(vec![1; 4])),
        ];
        let y = b.node("Conv", &[&x, &w], &attributes);
        let y = b.node("Flatten", &[&y], &[]);
        let v = b.constant(&zeros(&[96, 10]));
        let y = b.node("MatMul", &[&y, &v], &[]);
        b.output(&y, DataType::Float, &["n".into(), 10.into()]);
        let model = b.build(17);
        // 6 channels of 4 x 4 pixels, each of 2 x 3 x 3 products; then 96 x 10.
        assert_eq!(macs(&model, &ExampleShapes::new()), Ok(6 * 16 * 18 + 960));
        assert_eq!(parameters(&model), Parameters { all: 6 * 18 + 960, nonzero: 0 });
    }

    #[test]
    fn an_open_axis_other_than_the_batch_needs_an_example() {
        let mut b = GraphBuilder::new("net");
        let x = b.input("x", DataType::Float, &["n".into(), "length".into(), 4.into()]);
        let w = b.constant(&zeros(&[4, 5]));
        let y = b.node("MatMul", &[&x, &w], &[]);
        b.output(&y, DataType::Float, &["n".into(), "length".into(), 5.into()]);
        let model = b.build(17);
        let error = macs(&model, &ExampleShapes::new()).unwrap_err();
        assert!(error.contains("`length`") && error.contains("example_shapes"), "{error}");
        assert_eq!(macs(&model, &BTreeMap::from([("x".to_owned(), vec![7, 10, 4])])), Ok(200));
    }
}

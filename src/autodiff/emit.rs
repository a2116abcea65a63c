//! Writing the nodes of a training graph: every emitted value carries its element type and static shape, so that rules
//! state mathematics and shapes are never guessed again.
//!
//! Knows operators and shapes, nothing of gradients. Panics where a rule breaks a shape contract: that is a defect of the
//! rule, which its finite-difference case shows.

use std::collections::{HashMap, HashSet};

use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::tensor::Tensor;

/// Slope of the `HardSigmoid` that serves as a step function: 0 for x ≤ 0, 1 for x ≥ 1e-30. It runs at the speed of a
/// plain pass, an order of magnitude faster than `Greater` and `Where`; only positive values below 1e-30 fall between.
const STEP_SLOPE: f32 = 1e30;

/// A value of the training graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub name: String,
    pub dtype: DataType,
    pub shape: Vec<usize>,
}

impl Value {
    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// The shape that two operands broadcast to, by the rules of ONNX. Sizes are taken to be compatible.
pub fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (1, other) => other,
            (size, _) => size,
        })
        .collect()
}

/// A graph under construction.
#[derive(Debug, Default)]
pub struct Emitter {
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<TensorProto>,
    taken: HashSet<String>,
    /// Constants that were asked for before, by type, shape and bytes.
    known: HashMap<(DataType, Vec<usize>, bytes::Bytes), String>,
    next: usize,
}

impl Emitter {
    /// An empty graph whose new names avoid the given ones.
    pub fn new(taken: HashSet<String>) -> Self {
        Self { taken, ..Self::default() }
    }

    /// A name that no value has.
    pub fn fresh(&mut self, stem: &str) -> String {
        loop {
            self.next += 1;
            let name = format!("{stem}__{}", self.next);
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    /// Adds a node with one output of the given type and shape.
    pub fn node(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
        dtype: DataType,
        shape: &[usize],
    ) -> Value {
        let output = Value { name: self.fresh(op_type), dtype, shape: shape.to_vec() };
        self.raw(op_type, inputs, attributes, std::slice::from_ref(&output));
        output
    }

    /// Adds a node with the given outputs.
    pub fn raw(&mut self, op_type: &str, inputs: &[&Value], attributes: &[(&str, Attribute)], outputs: &[Value]) {
        self.nodes.push(NodeProto {
            name: outputs.first().map(|output| output.name.clone()),
            op_type: Some(op_type.to_owned()),
            input: inputs.iter().map(|value| value.name.clone()).collect(),
            output: outputs.iter().map(|value| value.name.clone()).collect(),
            attribute: attributes.iter().map(|(name, value)| value.clone().into_proto(name)).collect(),
            ..NodeProto::default()
        });
    }

    /// A constant; equal constants are one.
    pub fn constant(&mut self, tensor: &Tensor) -> Value {
        let key = (tensor.dtype, tensor.shape.clone(), tensor.data.clone());
        let name = if let Some(name) = self.known.get(&key) {
            name.clone()
        } else {
            let name = self.fresh("constant");
            self.constants.push(tensor.to_proto(&name));
            self.known.insert(key, name.clone());
            name
        };
        Value { name, dtype: tensor.dtype, shape: tensor.shape.clone() }
    }

    /// Integers, as an axis list or a shape.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.constant(&Tensor::from_i64(&[values.len()], values))
    }

    /// Constant floats of the type of `like`.
    pub fn floats(&mut self, like: &Value, shape: &[usize], values: &[f64]) -> Value {
        let data: bytes::Bytes = if like.dtype == DataType::Double {
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect()
        };
        let dtype = if like.dtype == DataType::Double { DataType::Double } else { DataType::Float };
        let constant = self.constant(&Tensor { dtype, shape: shape.to_vec(), data });
        self.cast(&constant, like.dtype)
    }

    /// A scalar of the type of `like`.
    pub fn scalar(&mut self, like: &Value, value: f64) -> Value {
        self.floats(like, &[], &[value])
    }

    /// Element-wise operator with one input.
    pub fn unary(&mut self, op_type: &str, x: &Value) -> Value {
        self.node(op_type, &[x], &[], x.dtype, &x.shape)
    }

    /// Element-wise operator with two inputs that are broadcast.
    pub fn binary(&mut self, op_type: &str, a: &Value, b: &Value) -> Value {
        self.node(op_type, &[a, b], &[], a.dtype, &broadcast(&a.shape, &b.shape))
    }

    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Add", a, b)
    }

    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Sub", a, b)
    }

    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Mul", a, b)
    }

    pub fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Div", a, b)
    }

    /// `factor · x`.
    pub fn scale(&mut self, x: &Value, factor: f64) -> Value {
        let factor = self.scalar(x, factor);
        self.mul(x, &factor)
    }

    /// `term + x`.
    pub fn shift(&mut self, x: &Value, term: f64) -> Value {
        let term = self.scalar(x, term);
        self.add(x, &term)
    }

    /// 1 where x > 0, else 0.
    pub fn step(&mut self, x: &Value) -> Value {
        let attributes = [("alpha", Attribute::Float(STEP_SLOPE)), ("beta", Attribute::Float(0.0))];
        self.node("HardSigmoid", &[x], &attributes, x.dtype, &x.shape)
    }

    /// The same elements in another type.
    pub fn cast(&mut self, x: &Value, dtype: DataType) -> Value {
        if x.dtype == dtype {
            return x.clone();
        }
        self.node("Cast", &[x], &[("to", Attribute::Int(i64::from(dtype.number())))], dtype, &x.shape)
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Value {
        debug_assert_eq!(x.len(), shape.iter().product::<usize>(), "reshape {:?} to {shape:?}", x.shape);
        if x.shape == shape {
            return x.clone();
        }
        let target = self.integers(&shape.iter().map(|size| *size as i64).collect::<Vec<_>>());
        // Without `allowzero` a size of 0 would mean "as before".
        let attributes: &[_] = if shape.contains(&0) { &[("allowzero", Attribute::Int(1))] } else { &[] };
        self.node("Reshape", &[x, &target], attributes, x.dtype, shape)
    }

    /// Axis `i` of the result is axis `permutation[i]` of `x`.
    pub fn transpose(&mut self, x: &Value, permutation: &[usize]) -> Value {
        if permutation.iter().enumerate().all(|(i, axis)| i == *axis) {
            return x.clone();
        }
        let shape: Vec<usize> = permutation.iter().map(|axis| x.shape[*axis]).collect();
        let perm = Attribute::Ints(permutation.iter().map(|axis| *axis as i64).collect());
        self.node("Transpose", &[x], &[("perm", perm)], x.dtype, &shape)
    }

    /// A reduction over the given axes.
    pub fn reduce(&mut self, op_type: &str, x: &Value, axes: &[usize], keep: bool) -> Value {
        if axes.is_empty() {
            return x.clone();
        }
        let shape: Vec<usize> = (x.shape.iter().enumerate())
            .filter_map(|(axis, size)| if axes.contains(&axis) { keep.then_some(1) } else { Some(*size) })
            .collect();
        let axes = self.integers(&axes.iter().map(|axis| *axis as i64).collect::<Vec<_>>());
        self.node(op_type, &[x, &axes], &[("keepdims", Attribute::Int(i64::from(keep)))], x.dtype, &shape)
    }

    /// Sum over the given axes.
    pub fn sum(&mut self, x: &Value, axes: &[usize], keep: bool) -> Value {
        self.reduce("ReduceSum", x, axes, keep)
    }

    /// `x` repeated along its axes of size 1.
    pub fn expand(&mut self, x: &Value, shape: &[usize]) -> Value {
        if x.shape == shape {
            return x.clone();
        }
        let target = self.integers(&shape.iter().map(|size| *size as i64).collect::<Vec<_>>());
        self.node("Expand", &[x, &target], &[], x.dtype, shape)
    }

    /// A tensor filled with zeros, made when the graph runs.
    pub fn zeros(&mut self, dtype: DataType, shape: &[usize]) -> Value {
        let target = self.integers(&shape.iter().map(|size| *size as i64).collect::<Vec<_>>());
        let zero = Tensor { dtype, shape: vec![1], data: vec![0; dtype.bits() / 8].into() };
        let attributes = [("value", Attribute::Tensor(zero.to_proto("")))];
        self.node("ConstantOfShape", &[&target], &attributes, dtype, shape)
    }

    /// Matrix product over the last two axes, the axes before them broadcast. Both have two axes at least.
    pub fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        let (a_batch, a_matrix) = a.shape.split_at(a.rank() - 2);
        let (b_batch, b_matrix) = b.shape.split_at(b.rank() - 2);
        debug_assert_eq!(a_matrix[1], b_matrix[0], "matmul {:?} with {:?}", a.shape, b.shape);
        let mut shape = broadcast(a_batch, b_batch);
        shape.extend([a_matrix[0], b_matrix[1]]);
        self.node("MatMul", &[a, b], &[], a.dtype, &shape)
    }

    /// Zeros put before and after each axis; negative counts cut.
    pub fn pad(&mut self, x: &Value, before: &[i64], after: &[i64]) -> Value {
        if before.iter().chain(after).all(|count| *count == 0) {
            return x.clone();
        }
        let shape: Vec<usize> = x
            .shape
            .iter()
            .zip(before.iter().zip(after))
            .map(|(size, (b, a))| (*size as i64 + b + a) as usize)
            .collect();
        let pads = self.integers(&[before, after].concat());
        self.node("Pad", &[x, &pads], &[("mode", Attribute::String("constant".into()))], x.dtype, &shape)
    }

    /// Of each axis the elements `start, start + step, …`, `size` of them; steps are positive.
    pub fn slice(&mut self, x: &Value, starts: &[usize], sizes: &[usize], steps: &[usize]) -> Value {
        let axes: Vec<usize> = (0..x.rank())
            .filter(|axis| starts[*axis] != 0 || sizes[*axis] != x.shape[*axis] || steps[*axis] != 1)
            .collect();
        if axes.is_empty() {
            return x.clone();
        }
        let pick = |f: &dyn Fn(usize) -> usize| axes.iter().map(|axis| f(*axis) as i64).collect::<Vec<_>>();
        let start = self.integers(&pick(&|axis| starts[axis]));
        let end =
            self.integers(&pick(&|axis| starts[axis] + (sizes[axis].max(1) - 1) * steps[axis] + sizes[axis].min(1)));
        let axis_list = self.integers(&pick(&|axis| axis));
        let step = self.integers(&pick(&|axis| steps[axis]));
        self.node("Slice", &[x, &start, &end, &axis_list, &step], &[], x.dtype, sizes)
    }

    /// The elements `from..from + size` of one axis.
    pub fn narrow(&mut self, x: &Value, axis: usize, from: usize, size: usize) -> Value {
        let mut starts = vec![0; x.rank()];
        starts[axis] = from;
        let mut sizes = x.shape.clone();
        sizes[axis] = size;
        self.slice(x, &starts, &sizes, &vec![1; x.rank()])
    }

    /// Values joined along one axis.
    pub fn concat(&mut self, values: &[Value], axis: usize) -> Value {
        let [first, rest @ ..] = values else { unreachable!("a concatenation has a part") };
        if rest.is_empty() {
            return first.clone();
        }
        let mut shape = first.shape.clone();
        shape[axis] = values.iter().map(|value| value.shape[axis]).sum();
        let inputs: Vec<&Value> = values.iter().collect();
        self.node("Concat", &inputs, &[("axis", Attribute::Int(axis as i64))], first.dtype, &shape)
    }

    /// The given positions of one axis, in their order.
    pub fn gather(&mut self, x: &Value, axis: usize, positions: &[i64]) -> Value {
        let mut shape = x.shape.clone();
        shape[axis] = positions.len();
        let positions = self.integers(positions);
        self.node("Gather", &[x, &positions], &[("axis", Attribute::Int(axis as i64))], x.dtype, &shape)
    }
}

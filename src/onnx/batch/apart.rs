//! Which operators treat each sample by itself: one list. What is not in it is not known to.

use super::super::proto::NodeProto;
use super::super::shape::ShapeValue;
use super::super::shape::fact::axis_of;
use super::follow::Follow;

impl Follow<'_> {
    /// Whether the operator treats each sample by itself, given the batch axis of each input.
    pub fn keeps_apart(&self, node: &NodeProto, inputs: &[Option<usize>]) -> Result<(), String> {
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
                let axis = usize::from(node.int("layout").unwrap_or(0) == 0);
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
                    node.input_name(1).and_then(|name| self.inferred.value(name)).and_then(ShapeValue::known)
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
                    let steps = self.inferred.value(name).and_then(ShapeValue::known);
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

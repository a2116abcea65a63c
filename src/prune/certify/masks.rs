//! Masks as nodes of a graph: which indices of an axis stay, and what stands in place of the others.

use super::reference::Masks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::proto::NodeProto;
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::{Axis, Part};
use crate::prune::surgery::Tailor;

/// The operator set from which `Where` is there. Below it masks multiply.
const OPSET_OF_WHERE: i64 = 9;

/// The operator set from which `Expand` is there.
const OPSET_OF_EXPAND: i64 = 8;

/// What stands at removed indices.
pub(super) enum Fill {
    Number(DataType, f32),
    /// A scalar of the graph.
    Value(String),
}

/// Which indices of an axis stay.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// One for each index; where sizes are open, one for each combination of the factors whose sizes are known.
    pub flags: Vec<bool>,
    /// Where open sizes stand among the factors: how many flags each of their indices has behind it.
    open_before: Option<usize>,
}

impl Kept {
    /// Those of an axis; `None` where it is too long, or has open sizes in two places.
    pub fn of(tailor: &Tailor<'_>, axis: &Axis) -> Option<Self> {
        if let Some(flags) = tailor.kept_of(axis) {
            return Some(Self { flags, open_before: None });
        }
        let is_open = |part: &Part| matches!(part, Part::Fixed(size) if size.as_known().is_none());
        let first = axis.parts.iter().position(is_open)?;
        let last = axis.parts.iter().rposition(is_open)?;
        if !axis.parts[first..=last].iter().all(is_open) {
            return None;
        }
        let outer = tailor.kept_of(&Axis { parts: axis.parts[..first].to_vec() })?;
        let inner = tailor.kept_of(&Axis { parts: axis.parts[last + 1..].to_vec() })?;
        let flags = outer.iter().flat_map(|outer| inner.iter().map(move |inner| *outer && *inner)).collect();
        Some(Self { flags, open_before: Some(inner.len()) })
    }

    /// For each index of an axis of this size whether it stays.
    pub fn spread(&self, size: usize) -> Vec<bool> {
        let inner = self.open_before.unwrap_or(1).max(1);
        let open = size / self.flags.len().max(1);
        self.flags.chunks(inner).flat_map(|inner| std::iter::repeat_n(inner, open).flatten().copied()).collect()
    }

    /// How many indices stay; `None` where sizes are open.
    pub fn count(&self) -> Option<usize> {
        self.open_before.is_none().then(|| self.flags.iter().filter(|kept| **kept).count())
    }

    /// Length of the axis ÷ what of it stays.
    pub fn all_by_kept(&self) -> f64 {
        all_by_kept(&self.flags)
    }

    /// The same within a group of the axis, read off the first group that stays.
    pub fn all_by_kept_in_group(&self, groups: usize) -> f64 {
        let within = self.flags.len() / groups.max(1);
        self.flags.chunks(within.max(1)).find(|group| group.contains(&true)).map_or(1.0, all_by_kept)
    }
}

fn all_by_kept(flags: &[bool]) -> f64 {
    flags.len() as f64 / flags.iter().filter(|kept| **kept).count().max(1) as f64
}

impl Masks<'_> {
    /// A value with the indices that do not stay filled, axis by axis; `None` where its type cannot be filled so.
    pub(super) fn filled(
        &mut self,
        name: &str,
        stem: &str,
        kept: &[Option<Kept>],
        fill: &Fill,
        nodes: &mut Vec<NodeProto>,
    ) -> Option<String> {
        let mut current = name.to_owned();
        for (axis, kept_here) in kept.iter().enumerate().filter_map(|(axis, of)| Some((axis, of.as_ref()?))) {
            let masked = format!("{stem}_masked_{axis}");
            let mut along = |masks: &mut Self, what: &str, flags: &Tensor| {
                masks.along(&format!("{masked}_{what}"), flags, kept_here, &current, (axis, kept.len()), nodes)
            };
            if self.opset >= OPSET_OF_WHERE {
                let data = kept_here.flags.iter().map(|kept| u8::from(*kept)).collect();
                let flags = Tensor { dtype: DataType::Bool, shape: vec![kept_here.flags.len()], data };
                let mask = along(self, "kept", &flags)?;
                let fill = match fill {
                    Fill::Number(dtype, fill) => {
                        self.constant(&format!("{masked}_fill"), &floats(*dtype, &[], &[*fill])?)
                    }
                    Fill::Value(name) => name.clone(),
                };
                nodes.push(plain("Where", &[&mask, &current, &fill], &masked));
            } else {
                let Fill::Number(dtype, fill) = *fill else { return None };
                let flags = &kept_here.flags;
                let factors: Vec<f32> = flags.iter().map(|kept| f32::from(u8::from(*kept))).collect();
                let fills: Vec<f32> = flags.iter().map(|kept| if *kept { 0.0 } else { fill }).collect();
                let factors = along(self, "kept", &floats(dtype, &[flags.len()], &factors)?)?;
                let fills = along(self, "fill", &floats(dtype, &[flags.len()], &fills)?)?;
                nodes.push(plain("Mul", &[&current, &factors], &format!("{masked}_zeroed")));
                nodes.push(plain("Add", &[&format!("{masked}_zeroed"), &fills], &masked));
            }
            current = masked;
        }
        Some(current)
    }

    /// One number for each flag, in a shape that broadcasts along an axis of a value of a rank; where the axis has open
    /// sizes, each is repeated as often as the value has indices of them.
    fn along(
        &mut self,
        name: &str,
        flags: &Tensor,
        kept: &Kept,
        value: &str,
        (axis, rank): (usize, usize),
        nodes: &mut Vec<NodeProto>,
    ) -> Option<String> {
        let whole = kept.flags.len();
        let mut shape = vec![1; rank];
        let Some(inner) = kept.open_before else {
            shape[axis] = whole;
            return Some(self.constant(name, &Tensor { shape, ..flags.clone() }));
        };
        if self.opset < OPSET_OF_EXPAND {
            return None;
        }
        let part = |what: &str| format!("{name}_{what}");
        let outer = whole / inner;
        let flags = self.constant(&part("flags"), &Tensor { shape: vec![outer, 1, inner], ..flags.clone() });
        let numbers = |masks: &mut Self, what: &str, numbers: &[i64]| {
            masks.constant(&part(what), &Tensor::from_i64(&[numbers.len()], numbers))
        };
        let (axis_number, known) = (numbers(self, "axis", &[axis as i64]), numbers(self, "known", &[whole as i64]));
        let (outer, inner) = (numbers(self, "outer", &[outer as i64]), numbers(self, "inner", &[inner as i64]));
        nodes.push(plain("Shape", &[value], &part("shape")));
        nodes.push(plain("Gather", &[&part("shape"), &axis_number], &part("length")));
        nodes.push(plain("Div", &[&part("length"), &known], &part("open")));
        let mut sizes = plain("Concat", &[&outer, &part("open"), &inner], &part("sizes"));
        sizes.set_attribute("axis", Attribute::Int(0));
        nodes.push(sizes);
        nodes.push(plain("Expand", &[&flags, &part("sizes")], &part("each")));
        let mut target = vec![1; rank];
        target[axis] = -1;
        let target = numbers(self, "target", &target);
        nodes.push(plain("Reshape", &[&part("each"), &target], name));
        Some(name.to_owned())
    }

    pub(super) fn constant(&mut self, name: &str, tensor: &Tensor) -> String {
        self.added.initializer.push(tensor.to_proto(name));
        if self.listed {
            let shape: Vec<_> = tensor.shape.iter().map(|size| (*size).into()).collect();
            self.added.input.push(crate::onnx::builder::value_info(name, tensor.dtype, &shape));
        }
        name.to_owned()
    }
}

/// Numbers in a floating type; `None` for other types, whose values are never masked.
pub(super) fn floats(dtype: DataType, shape: &[usize], values: &[f32]) -> Option<Tensor> {
    Tensor { dtype, shape: Vec::new(), data: bytes::Bytes::new() }.with_f32(shape, values).ok()
}

pub(super) fn plain(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("{op_type}_{output}")),
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

//! Normalisations of the masked original, written out: mean and variance over the indices that stay.
//!
//! `mean = Σ kept x ÷ count of kept`, where a mean over all with zeros at the removed ones is corrected by all ÷ kept; the
//! same for squares of the distances from it. Half precision is computed in single.

use super::masks::{Fill, Kept, floats, plain};
use super::reference::Masks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::NodeIndex;
use crate::onnx::proto::NodeProto;
use crate::onnx::tensor::Tensor;

/// The operator set from which reductions take their axes as an input.
const OPSET_OF_AXES_INPUT: i64 = 18;

const NOTHING: Fill = Fill::Number(DataType::Float, 0.0);

/// What a normalisation does, in common terms.
struct Normalisation {
    /// Groups that the channels are divided into, each with statistics of its own; `None` where the axes are as they are.
    groups: Option<i64>,
    /// Axes that the statistics run over, after the division into groups.
    over: std::ops::Range<usize>,
    /// Whether the mean is subtracted.
    centred: bool,
    epsilon: f32,
    /// Inputs that are added to the first before, and the output that gives the sum.
    addends: &'static [usize],
    /// Inputs that the result is multiplied by and added to.
    affine: [Option<usize>; 2],
}

/// What ONNX Runtime's normalisations of a sum add to the variance where they do not say; others add 1e-5.
const EPSILON_OF_SKIP: f32 = 1e-12;

fn described(node: &NodeProto, rank: usize) -> Option<Normalisation> {
    let last = rank.checked_sub(1)?;
    let axis = node.int("axis").unwrap_or(-1).rem_euclid(rank as i64) as usize;
    let plain = Normalisation {
        groups: None,
        over: axis..rank,
        centred: true,
        epsilon: node.float("epsilon").unwrap_or(1e-5),
        addends: &[],
        affine: [Some(1), Some(2)],
    };
    let epsilon = node.float("epsilon").unwrap_or(EPSILON_OF_SKIP);
    let fused = Normalisation { over: last..rank, epsilon, affine: [Some(2), Some(3)], ..plain };
    Some(match (node.operator_domain(), node.op_type()) {
        ("", "LayerNormalization") => plain,
        ("", "RMSNormalization" | "SimplifiedLayerNormalization") => Normalisation { centred: false, ..plain },
        ("", "InstanceNormalization") => Normalisation { over: 2..rank, ..plain },
        ("", "GroupNormalization") => Normalisation { groups: Some(node.int("num_groups")?), over: 2..3, ..plain },
        ("com.microsoft", "SkipLayerNormalization") => Normalisation { addends: &[1, 4], ..fused },
        ("com.microsoft", "SkipSimplifiedLayerNormalization") => {
            Normalisation { addends: &[1, 3], affine: [Some(2), None], centred: false, ..fused }
        }
        _ => return None,
    })
}

impl Masks<'_> {
    /// Writes out a normalisation whose input loses indices that its statistics run over; `None` leaves the node as it is.
    pub(super) fn normalise(&mut self, index: NodeIndex, node: &NodeProto, nodes: &mut Vec<NodeProto>) -> Option<()> {
        let rank = self.tailor.input_layout(index, 0)?.len();
        let what = described(node, rank)?;
        let kept = self.kept(index, 0)?;
        let touched = match what.groups {
            Some(_) => kept[1..].iter().any(Option::is_some),
            None => kept[what.over.clone()].iter().any(Option::is_some),
        };
        if !touched {
            return None;
        }
        let (input, output) = (node.input_name(0)?, node.output.first()?);
        let dtype = self.inferred.dtype(input)?;
        let stem = format!("{output}_written_out");
        let mut writer = Writer { stem: &stem, count: 0, nodes };
        let mut input = input.to_owned();
        for addend in what.addends.iter().filter_map(|slot| node.input_name(*slot)) {
            input = writer.op("Add", &[&input, addend]);
        }
        if let Some(sum) = node.output.get(3).filter(|name| !name.is_empty() && !what.addends.is_empty()) {
            writer.nodes.push(plain("Identity", &[&input], sum));
        }
        // Statistics of 16-bit numbers are taken in 32 bits.
        let x = if dtype == DataType::Float { input } else { writer.cast(&input, DataType::Float) };
        let masked = self.filled(&x, &format!("{stem}_x"), &kept, &NOTHING, writer.nodes)?;
        let axes: Vec<i64> = what.over.clone().map(|axis| axis as i64).collect();
        // Within a group the same number of positions stays in each, so that one correction serves all.
        let all_by_kept: f64 = match what.groups {
            None => kept[what.over.clone()].iter().flatten().map(Kept::all_by_kept).product(),
            Some(groups) => {
                let places: f64 = kept[2..].iter().flatten().map(Kept::all_by_kept).product();
                places * kept[1].as_ref().map_or(1.0, |kept| kept.all_by_kept_in_group(groups as usize))
            }
        };
        let count = if what.groups.is_none() { self.count(index, what.over.clone()) } else { None };
        let factor = count.map_or(all_by_kept, |count| 1.0 / count as f64);
        let factor = self.constant(&format!("{stem}_factor"), &floats(DataType::Float, &[], &[factor as f32])?);
        let mean = |masks: &mut Self, writer: &mut Writer<'_>, of: &str| {
            let mut node = plain("ReduceMean", &[of], &writer.fresh());
            if masks.opset < OPSET_OF_AXES_INPUT {
                node.set_attribute("axes", Attribute::Ints(axes.clone()));
            }
            if count.is_some() {
                masks.make_sum(&mut node);
            }
            if masks.opset >= OPSET_OF_AXES_INPUT {
                let name = format!("{}_axes", node.output[0]);
                node.input.push(masks.constant(&name, &Tensor::from_i64(&[axes.len()], &axes)));
            }
            let of_all = writer.push(node);
            writer.op("Mul", &[&of_all, &factor])
        };
        let grouped = match what.groups {
            None => masked.clone(),
            Some(groups) => {
                let shape = self.constant(&format!("{stem}_groups"), &Tensor::from_i64(&[3], &[0, groups, -1]));
                writer.op("Reshape", &[&masked, &shape])
            }
        };
        let mut distance = grouped.clone();
        if what.centred {
            let mean = mean(self, &mut writer, &grouped);
            distance = writer.op("Sub", &[&grouped, &mean]);
        }
        // What is removed is no distance away from the mean.
        let back = |writer: &mut Writer<'_>, value: &str| {
            if what.groups.is_none() {
                return value.to_owned();
            }
            let shape = writer.op("Shape", &[&masked]);
            writer.op("Reshape", &[value, &shape])
        };
        let flat = back(&mut writer, &distance);
        let flat = self.filled(&flat, &format!("{stem}_distance"), &kept, &NOTHING, writer.nodes)?;
        let square = writer.op("Mul", &[&flat, &flat]);
        let square = match what.groups {
            None => square,
            Some(groups) => {
                let shape = self.constant(&format!("{stem}_groups_again"), &Tensor::from_i64(&[3], &[0, groups, -1]));
                writer.op("Reshape", &[&square, &shape])
            }
        };
        let variance = mean(self, &mut writer, &square);
        let epsilon = self.constant(&format!("{stem}_epsilon"), &floats(DataType::Float, &[], &[what.epsilon])?);
        let variance = writer.op("Add", &[&variance, &epsilon]);
        let deviation = writer.op("Sqrt", &[&variance]);
        let normal = writer.op("Div", &[&distance, &deviation]);
        let normal = self.affine_of_groups(node, &normal, what.groups, &mut writer);
        let normal = back(&mut writer, &normal);
        let mut y = if dtype == DataType::Float { normal } else { writer.cast(&normal, dtype) };
        if !self.scales_groups(node) {
            for (slot, op_type) in what.affine.into_iter().zip(["Mul", "Add"]) {
                if let Some(slot) = slot
                    && let Some(parameter) = node.input_name(slot)
                {
                    let parameter = self.spread(node, slot, rank, &mut writer).unwrap_or_else(|| parameter.to_owned());
                    y = writer.op(op_type, &[&y, &parameter]);
                }
            }
        }
        writer.nodes.push(plain("Identity", &[&y], output));
        Some(())
    }

    /// Whether scale and bias hold one number a group.
    fn scales_groups(&self, node: &NodeProto) -> bool {
        node.op_type() == "GroupNormalization" && self.opset < 21
    }

    fn affine_of_groups(
        &mut self,
        node: &NodeProto,
        normal: &str,
        groups: Option<i64>,
        writer: &mut Writer<'_>,
    ) -> String {
        if groups.is_none() || !self.scales_groups(node) {
            return normal.to_owned();
        }
        let shape = self.constant(&format!("{}_one_a_group", writer.stem), &Tensor::from_i64(&[3], &[1, -1, 1]));
        let mut y = normal.to_owned();
        for (slot, op_type) in [(1, "Mul"), (2, "Add")] {
            if let Some(parameter) = node.input_name(slot) {
                let parameter = writer.op("Reshape", &[parameter, &shape]);
                let parameter = writer.cast(&parameter, DataType::Float);
                y = writer.op(op_type, &[&y, &parameter]);
            }
        }
        y
    }

    /// A parameter with one number a channel, in the shape in which it broadcasts; `None` for others.
    fn spread(&mut self, node: &NodeProto, slot: usize, rank: usize, writer: &mut Writer<'_>) -> Option<String> {
        if !matches!(node.op_type(), "InstanceNormalization" | "GroupNormalization") {
            return None;
        }
        let mut shape = vec![1; rank];
        shape[1] = -1;
        let shape = self.constant(&format!("{}_shape_{slot}", writer.stem), &Tensor::from_i64(&[rank], &shape));
        Some(writer.op("Reshape", &[node.input_name(slot)?, &shape]))
    }
}

/// Adds nodes with names of their own.
struct Writer<'w> {
    stem: &'w str,
    count: usize,
    nodes: &'w mut Vec<NodeProto>,
}

impl Writer<'_> {
    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("{}_{}", self.stem, self.count)
    }

    fn push(&mut self, node: NodeProto) -> String {
        let output = node.output[0].clone();
        self.nodes.push(node);
        output
    }

    fn op(&mut self, op_type: &str, inputs: &[&str]) -> String {
        let output = self.fresh();
        self.push(plain(op_type, inputs, &output))
    }

    fn cast(&mut self, input: &str, to: DataType) -> String {
        let mut node = plain("Cast", &[input], &self.fresh());
        node.set_attribute("to", Attribute::Int(i64::from(to.number())));
        self.push(node)
    }
}

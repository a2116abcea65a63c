//! The weights index by index: which are zero, how large they are, which are the same.

use std::collections::HashMap;

use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::{Coupling, LeafId, Part};
use crate::prune::importance::{is_contracted, is_produced};

/// What an axis of a constant is to the channels on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The weights that make a channel.
    Makes,
    /// The weights that read a channel.
    Reads,
    /// Something else that belongs to a channel: a bias, a scale, a weight of an operator that is neither.
    Goes,
}

/// A constant's slices along one factor of one of its axes.
#[derive(Clone, Debug)]
pub struct Slices {
    pub node: NodeIndex,
    pub slot: usize,
    pub leaf: LeafId,
    pub role: Role,
    /// Whether it is multiplied and summed over: only such weights tell how much a channel matters.
    pub contracted: bool,
    /// By index: whether every element is zero.
    pub zero: Vec<bool>,
    /// By index: the sum of the squares.
    pub squares: Vec<f64>,
    /// Elements at each index.
    pub each: u64,
    /// By index: equal for equal elements in equal order.
    pub prints: Vec<u64>,
}

/// The slices of every floating-point constant along each of its factors that is asked for, in the order of its uses;
/// and the constants that hold values that are not finite.
///
/// Cost: one pass over each weight for each of its axes.
pub fn slices(graph: &Graph<'_>, coupling: &Coupling, wanted: &[bool]) -> (Vec<Slices>, Vec<String>) {
    let (mut found, mut not_finite) = (Vec::new(), Vec::new());
    let mut cache: HashMap<&str, Option<Tensor>> = HashMap::new();
    for tensor in &coupling.tensors {
        let (Some((node, slot)), Some(axes)) = (tensor.constant_use, &tensor.axes) else { continue };
        let shape: Vec<(usize, usize, Option<LeafId>)> = axes
            .iter()
            .enumerate()
            .flat_map(|(axis, layout)| layout.parts.iter().map(move |part| (axis, part)))
            .map(|(axis, part)| match part {
                Part::Leaf(leaf) => (axis, coupling.leaves[*leaf as usize].size, Some(*leaf)),
                Part::Fixed(size) => {
                    (axis, size.as_known().and_then(|size| usize::try_from(size).ok()).unwrap_or(1), None)
                }
            })
            .collect();
        if !shape.iter().any(|(_, _, leaf)| leaf.is_some_and(|leaf| wanted[leaf as usize])) {
            continue;
        }
        let read = || graph.constant(&tensor.name)?.ok().filter(|tensor| tensor.dtype.is_float());
        let Some(read) = cache.entry(&tensor.name).or_insert_with(read) else { continue };
        let Ok(values) = read.to_f32() else { continue };
        if values.iter().any(|value| !value.is_finite()) && !not_finite.contains(&tensor.name) {
            not_finite.push(tensor.name.clone());
        }
        for (at, (axis, size, leaf)) in shape.iter().enumerate() {
            let Some(leaf) = leaf.filter(|leaf| wanted[*leaf as usize]) else { continue };
            let inner: usize = shape[at + 1..].iter().map(|(_, size, _)| size).product();
            let mut slices = Slices {
                node,
                slot,
                leaf,
                role: role(graph, node, slot, *axis, axes.len()),
                contracted: is_contracted(graph, node, slot),
                zero: vec![true; *size],
                squares: vec![0.0; *size],
                each: (values.len() / size.max(&1)) as u64,
                prints: vec![0; *size],
            };
            for outer in values.chunks_exact((inner * size).max(1)) {
                for (index, run) in outer.chunks_exact(inner.max(1)).enumerate() {
                    slices.add(index, run);
                }
            }
            found.push(slices);
        }
    }
    scale_to_zero(graph, &mut found);
    (found, not_finite)
}

/// What a layer makes is zero where the BatchNormalization that alone reads it scales it by zero.
fn scale_to_zero(graph: &Graph<'_>, slices: &mut [Slices]) {
    let mut scaled: HashMap<(NodeIndex, LeafId), Vec<bool>> = HashMap::new();
    for scale in slices.iter().filter(|slices| slices.slot == 1 && graph.node(slices.node).is("BatchNormalization")) {
        let maker = graph.node(scale.node).input_name(0).and_then(|value| {
            let alone = graph.uses(value).len() == 1 && !graph.is_output(value);
            graph.producer(value).filter(|_| alone)
        });
        if let Some((maker, _)) = maker {
            scaled.insert((maker, scale.leaf), scale.zero.clone());
        }
    }
    for made in slices.iter_mut().filter(|slices| slices.role == Role::Makes) {
        if let Some(zero) = scaled.get(&(made.node, made.leaf)) {
            made.zero.iter_mut().zip(zero).for_each(|(made, scaled)| *made |= *scaled);
        }
    }
}

impl Slices {
    fn add(&mut self, index: usize, run: &[f32]) {
        // Odd, with its bits spread evenly (2⁶⁴ ÷ golden ratio); any such number does.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let (mut squares, mut print, mut zero) = (0.0, self.prints[index], true);
        for value in run {
            squares += f64::from(*value) * f64::from(*value);
            zero &= *value == 0.0;
            // Both zeros are the same number.
            let bits = if *value == 0.0 { 0 } else { u64::from(value.to_bits()) };
            print = (print.rotate_left(23) ^ bits).wrapping_mul(SPREAD);
        }
        self.squares[index] += squares;
        self.prints[index] = print;
        self.zero[index] &= zero;
    }
}

/// What the elements of a constant at this input are to the channels on one of its axes.
fn role(graph: &Graph<'_>, node: NodeIndex, slot: usize, axis: usize, rank: usize) -> Role {
    if is_contracted(graph, node, slot) {
        return if is_produced(graph, node, slot, axis, rank) { Role::Makes } else { Role::Reads };
    }
    if graph.node(node).is("Gather") && slot == 0 { Role::Makes } else { Role::Goes }
}

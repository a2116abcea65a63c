//! How much each unit matters. A criterion gives every index of every weight a magnitude; the magnitudes of a unit's
//! members are reduced onto it and normalised within its group, so that groups can be compared.
//!
//! One criterion a file, one list. Scores are ≥ 0, higher stays. NaN is an error, never a score.

mod l1;
mod l2;
mod random;

pub use random::draw;

use crate::onnx::graph::Graph;
use crate::onnx::tensor::{Tensor, TensorError};
use crate::spec::prune::Criterion;

use super::coupling::{Coupling, LeafId, Part};

/// Why units cannot be scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportanceError {
    #[error("the weight `{tensor}` cannot be read: {source}")]
    Weight { tensor: String, source: TensorError },
    #[error("the weight `{tensor}` holds a value that is not a number")]
    NotANumber { tensor: String },
}

/// How a criterion sees weights: magnitudes are added over the weights of a unit and finished once.
///
/// Weights come in runs, so that a criterion is asked once for many of them and its loops are compiled for it.
pub trait Magnitude: Sync {
    /// What one weight adds. Must be ≥ 0, or NaN for NaN.
    fn of(&self, weight: f32) -> f64;

    /// The score of a sum over `count` weights.
    fn finish(&self, sum: f64, count: u64) -> f64;

    /// The sum over a run of weights that belong to one index. Lanes keep the additions from waiting for each other; their
    /// number is fixed, so that the result is the same everywhere.
    fn of_run(&self, run: &[f32]) -> f64 {
        const LANES: usize = 8;
        let (chunks, rest) = run.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for chunk in chunks {
            for (lane, weight) in lanes.iter_mut().zip(chunk) {
                *lane += self.of(*weight);
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|weight| self.of(*weight)).sum::<f64>()
    }

    /// Adds a row in which every weight belongs to an index of its own.
    fn add_row(&self, row: &[f32], sums: &mut [f64]) {
        for (sum, weight) in sums.iter_mut().zip(row) {
            *sum += self.of(*weight);
        }
    }
}

/// What a criterion scores by.
pub enum Scorer {
    Magnitude(&'static dyn Magnitude),
    /// One draw a unit, from a seed.
    Draw(fn(seed: u64, units: usize) -> Vec<f64>),
}

/// The scorer of each criterion.
pub fn scorer(criterion: Criterion) -> Scorer {
    match criterion {
        Criterion::L1 => Scorer::Magnitude(&l1::L1),
        Criterion::L2 => Scorer::Magnitude(&l2::L2),
        Criterion::Random => Scorer::Draw(random::draw),
    }
}

/// The score of every unit, divided by its group's mean.
///
/// Members are the weights of contractions (convolutions and matrix products); a unit without one is scored by all its
/// constants. Errors: a weight that cannot be read or is not a number.
/// Cost: one pass over each weight for each of its axes that can be cut.
pub fn scores(
    graph: &Graph<'_>,
    coupling: &Coupling,
    criterion: Criterion,
    seed: u64,
) -> Result<Vec<f64>, ImportanceError> {
    let mut scores = match scorer(criterion) {
        Scorer::Draw(draw) => draw(seed, coupling.units.len()),
        Scorer::Magnitude(magnitude) => by_magnitude(graph, coupling, magnitude)?,
    };
    for group in &coupling.groups {
        let scores = &mut scores[group.units.clone()];
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        if mean > 0.0 {
            for score in scores {
                *score /= mean;
            }
        }
    }
    Ok(scores)
}

/// Sum and number of weights at each index.
#[derive(Clone, Debug)]
struct Totals {
    sums: Vec<f64>,
    counts: Vec<u64>,
}

fn by_magnitude(
    graph: &Graph<'_>,
    coupling: &Coupling,
    magnitude: &dyn Magnitude,
) -> Result<Vec<f64>, ImportanceError> {
    let indices = coupling.unit_of.len();
    let empty = || Totals { sums: vec![0.0; indices], counts: vec![0; indices] };
    let (mut contracted, mut others) = (empty(), empty());
    let mut cuttable = vec![false; coupling.leaves.len()];
    for leaf in coupling.groups.iter().flat_map(|group| &group.leaves) {
        cuttable[*leaf as usize] = true;
    }
    let mut seen = std::collections::HashSet::new();
    for tensor in &coupling.tensors {
        let (Some((node, slot)), Some(axes)) = (tensor.constant_use, &tensor.axes) else { continue };
        let into = if is_contracted(graph, node, slot) { &mut contracted } else { &mut others };
        let shape: Vec<(usize, Option<LeafId>)> = axes
            .iter()
            .flat_map(|axis| &axis.parts)
            .map(|part| match part {
                Part::Leaf(leaf) => (coupling.leaves[*leaf as usize].size, Some(*leaf)),
                Part::Fixed(_) => (1, None),
            })
            .collect();
        if !shape.iter().any(|(_, leaf)| leaf.is_some_and(|leaf| cuttable[leaf as usize])) {
            continue;
        }
        // Two uses of one constant that are cut alike count once.
        let key = (tensor.name.as_str(), shape.iter().map(|(_, leaf)| *leaf).collect::<Vec<_>>());
        if !seen.insert(key) {
            continue;
        }
        add(graph, coupling, &tensor.name, &shape, &cuttable, magnitude, into)?;
    }
    let score = |unit: &super::coupling::Unit| {
        let total = |totals: &Totals| {
            unit.indices.iter().fold((0.0, 0), |(sum, count), (leaf, offset)| {
                let at = coupling.leaves[*leaf as usize].first + *offset as usize;
                (sum + totals.sums[at], count + totals.counts[at])
            })
        };
        let (sum, count) = match total(&contracted) {
            (_, 0) => total(&others),
            found => found,
        };
        magnitude.finish(sum, count.max(1))
    };
    Ok(coupling.units.iter().map(score).collect())
}

/// Whether a constant at this input is multiplied and summed over.
pub fn is_contracted(graph: &Graph<'_>, node: usize, slot: usize) -> bool {
    let node = graph.node(node);
    match node.op_type() {
        _ if !node.operator_domain().is_empty() => false,
        "Conv" | "ConvTranspose" | "Gemm" => slot == 1,
        "Einsum" | "MatMul" => true,
        "GRU" | "LSTM" | "RNN" => matches!(slot, 1 | 2),
        _ => false,
    }
}

/// Adds the magnitudes of one constant onto the indices of each of its factors that can be cut.
fn add(
    graph: &Graph<'_>,
    coupling: &Coupling,
    name: &str,
    shape: &[(usize, Option<LeafId>)],
    cuttable: &[bool],
    magnitude: &dyn Magnitude,
    totals: &mut Totals,
) -> Result<(), ImportanceError> {
    let unreadable = |source| ImportanceError::Weight { tensor: name.to_owned(), source };
    let Some(tensor) = graph.constant(name) else { return Ok(()) };
    let tensor: Tensor = tensor.map_err(unreadable)?;
    if !tensor.dtype.is_float() {
        return Ok(());
    }
    let values = tensor.to_f32().map_err(unreadable)?;
    for (at, (size, leaf)) in shape.iter().enumerate() {
        let Some(leaf) = leaf.filter(|leaf| cuttable[*leaf as usize]) else { continue };
        let inner: usize = shape[at + 1..].iter().map(|(size, _)| size).product();
        let first = coupling.leaves[leaf as usize].first;
        let sums = &mut totals.sums[first..first + size];
        for outer in values.chunks_exact(inner * size) {
            if inner == 1 {
                magnitude.add_row(outer, sums);
                continue;
            }
            for (sum, run) in sums.iter_mut().zip(outer.chunks_exact(inner)) {
                *sum += magnitude.of_run(run);
            }
        }
        if sums.iter().any(|sum| sum.is_nan()) {
            return Err(ImportanceError::NotANumber { tensor: name.to_owned() });
        }
        let each = (values.len() / size) as u64;
        totals.counts[first..first + size].iter_mut().for_each(|count| *count += each);
    }
    Ok(())
}

//! From the magnitudes of weights to scores of units: a sum for each index of each factor, and their reduction.

use super::weights::{Slices, Weight};
use super::{ImportanceError, Magnitude};
use crate::onnx::graph::Graph;
use crate::prune::coupling::{Coupling, LeafId, Unit};
use crate::spec::prune::Reduction;

/// The magnitudes of one factor of one weight.
#[derive(Clone, Debug)]
struct Tally {
    /// By index.
    sums: Vec<f64>,
    /// Weights at one index.
    each: u64,
    produced: bool,
}

/// The magnitudes of some weights, by leaf.
#[derive(Clone, Debug)]
pub struct Tallies {
    of_leaf: Vec<Vec<Tally>>,
}

impl Tallies {
    pub fn new(coupling: &Coupling) -> Self {
        Self { of_leaf: vec![Vec::new(); coupling.leaves.len()] }
    }

    /// Adds the magnitudes of one weight, for each of its factors that can be cut.
    ///
    /// Errors: one is not a number. Cost: one pass over the values a factor.
    pub fn add(
        &mut self,
        weight: &Weight<'_>,
        values: &[f32],
        magnitude: &dyn Magnitude,
    ) -> Result<(), ImportanceError> {
        for slices in weight.slices() {
            let sums = sums(values, &slices, magnitude);
            if sums.iter().any(|sum| sum.is_nan()) {
                return Err(ImportanceError::NotANumber { tensor: weight.name.to_owned() });
            }
            self.put(slices.leaf, sums, (values.len() / slices.size) as u64, slices.produced);
        }
        Ok(())
    }

    /// Adds sums by index of a leaf, each of so many magnitudes.
    pub fn put(&mut self, leaf: LeafId, sums: Vec<f64>, each: u64, produced: bool) {
        self.of_leaf[leaf as usize].push(Tally { sums, each, produced });
    }

    /// The score of a unit; `None` where none of the weights has a part of it.
    pub fn score(&self, unit: &Unit, reduction: Reduction, magnitude: &dyn Magnitude) -> Option<f64> {
        let parts: Vec<(f64, u64, bool)> = unit
            .indices
            .chunk_by(|a, b| a.0 == b.0)
            .flat_map(|run| {
                self.of_leaf[run[0].0 as usize].iter().map(move |tally| {
                    let sum = run.iter().map(|(_, offset)| tally.sums[*offset as usize]).sum::<f64>();
                    (sum, tally.each * run.len() as u64, tally.produced)
                })
            })
            .collect();
        reduce(&parts, reduction, &|sum, count| magnitude.finish(sum, count))
    }
}

/// The magnitudes at each index of a factor, added up.
pub fn sums(values: &[f32], slices: &Slices, magnitude: &dyn Magnitude) -> Vec<f64> {
    let Slices { size, inner, .. } = *slices;
    let mut sums = vec![0.0; size];
    for outer in values.chunks_exact((inner * size).max(1)) {
        if inner == 1 {
            magnitude.add_row(outer, &mut sums);
            continue;
        }
        for (sum, run) in sums.iter_mut().zip(outer.chunks_exact(inner)) {
            *sum += magnitude.of_run(run);
        }
    }
    sums
}

/// One score of the sums, counts and roles of several layers.
fn reduce(parts: &[(f64, u64, bool)], reduction: Reduction, finish: &dyn Fn(f64, u64) -> f64) -> Option<f64> {
    let pooled = |parts: &mut dyn Iterator<Item = &(f64, u64, bool)>| {
        let (sum, count) = parts.fold((0.0, 0), |(sum, count), part| (sum + part.0, count + part.1));
        (count > 0).then(|| finish(sum, count))
    };
    let each = || parts.iter().filter(|part| part.1 > 0).map(|part| finish(part.0, part.1));
    let all = pooled(&mut parts.iter())?;
    Some(match reduction {
        Reduction::Pooled => all,
        Reduction::Sum => each().sum(),
        Reduction::Mean => each().sum::<f64>() / each().count() as f64,
        Reduction::Max => each().fold(f64::NEG_INFINITY, f64::max),
        Reduction::Producer => pooled(&mut parts.iter().filter(|part| part.2)).unwrap_or(all),
    })
}

/// The units' scores by magnitude: of the contracted weights, or of all their constants where they have none.
///
/// Errors: a weight that cannot be read or is not a number.
pub fn by_magnitude(
    graph: &Graph<'_>,
    coupling: &Coupling,
    magnitude: &dyn Magnitude,
    reduction: Reduction,
) -> Result<Vec<f64>, ImportanceError> {
    let (mut contracted, mut others) = (Tallies::new(coupling), Tallies::new(coupling));
    for weight in Weight::all(graph, coupling) {
        let into = if weight.contracted { &mut contracted } else { &mut others };
        weight.read(graph, |values| into.add(&weight, values, magnitude))?;
    }
    let score = |unit: &Unit| {
        let found = contracted.score(unit, reduction, magnitude);
        found.or_else(|| others.score(unit, reduction, magnitude)).unwrap_or_else(|| magnitude.finish(0.0, 1))
    };
    let mut scores: Vec<f64> = coupling.units.iter().map(score).collect();
    for group in &coupling.groups {
        magnitude.compare(&mut scores[group.units.clone()]);
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_reduced_as_a_hand_reduces_them() {
        // A writer of 2 weights that sum to 6 and a reader of 4 weights that sum to 4; the score is the mean weight.
        let parts = [(6.0, 2, true), (4.0, 4, false)];
        let of = |reduction| reduce(&parts, reduction, &|sum, count| sum / count as f64);
        assert_eq!(of(Reduction::Pooled), Some(10.0 / 6.0));
        assert_eq!(of(Reduction::Sum), Some(4.0));
        assert_eq!(of(Reduction::Mean), Some(2.0));
        assert_eq!(of(Reduction::Max), Some(3.0));
        assert_eq!(of(Reduction::Producer), Some(3.0));
        let readers = reduce(&parts[1..], Reduction::Producer, &|sum, count| sum / count as f64);
        assert_eq!((readers, reduce(&[], Reduction::Sum, &|sum, _| sum)), (Some(1.0), None));
    }
}

//! Distance to the geometric median of a group.

use super::ImportanceError;
use super::weights::{Slices, Weight};
use crate::onnx::graph::Graph;
use crate::prune::coupling::{Coupling, Group};
use crate::spec::prune::Reduction;

/// `1 ÷ n · Σ ‖row − other‖ ÷ √width` over the other units of the group, where a unit's row holds the weights it owns.
///
/// Units: of the weights; ≥ 0, higher = keep: what is near the geometric median of all units is what the others can stand
/// in for, however large it is. Comparable across groups only after normalisation.
/// Errors: a weight that cannot be read or is not a number.
/// Cost: quadratic in the units of a group, times the weights of a unit.
/// Source: He et al., "Filter Pruning via Geometric Median", CVPR 2019, equation 7. Differs: all coupled weights and not the
/// filters alone (`producer` is their choice), and means in the place of sums.
pub fn scores(graph: &Graph<'_>, coupling: &Coupling, reduction: Reduction) -> Result<Vec<f64>, ImportanceError> {
    let weights = Weight::all(graph, coupling);
    let mut scores = vec![0.0; coupling.units.len()];
    for group in &coupling.groups {
        let (mut contracted, mut others) = (Vec::new(), Vec::new());
        for weight in &weights {
            let slices: Vec<Slices> = weight.slices().filter(|slices| group.leaves.contains(&slices.leaf)).collect();
            if slices.is_empty() {
                continue;
            }
            let into = if weight.contracted { &mut contracted } else { &mut others };
            weight.read(graph, |values| {
                if values.iter().any(|value| value.is_nan()) {
                    return Err(ImportanceError::NotANumber { tensor: weight.name.to_owned() });
                }
                into.extend(slices.iter().map(|slices| Rows::new(coupling, group, slices, values)));
                Ok(())
            })?;
        }
        let layers = if contracted.is_empty() { others } else { contracted };
        for (score, at) in distances(&layers, group.units.len(), reduction).into_iter().zip(group.units.clone()) {
            scores[at] = score;
        }
    }
    Ok(scores)
}

/// What one factor of one weight holds of each unit of a group.
struct Rows {
    /// One row a unit, one after another.
    values: Vec<f32>,
    width: usize,
    produced: bool,
}

impl Rows {
    /// Units that have fewer indices here than others are filled up with zeros.
    fn new(coupling: &Coupling, group: &Group, slices: &Slices, values: &[f32]) -> Self {
        let Slices { leaf, produced, size, inner } = *slices;
        let each = values.len() / size.max(1);
        let offsets = |unit: usize| {
            let indices = coupling.units[unit].indices.iter();
            indices.filter(move |(other, _)| *other == leaf).map(|(_, offset)| *offset as usize)
        };
        let width = each * group.units.clone().map(|unit| offsets(unit).count()).max().unwrap_or(0);
        let mut rows = vec![0.0; width * group.units.len()];
        for (row, unit) in rows.chunks_exact_mut(width.max(1)).zip(group.units.clone()) {
            let pieces = offsets(unit).flat_map(|offset| {
                values.chunks_exact(inner * size).map(move |outer| &outer[offset * inner..(offset + 1) * inner])
            });
            row.chunks_exact_mut(inner).zip(pieces).for_each(|(place, piece)| place.copy_from_slice(piece));
        }
        Self { values: rows, width, produced }
    }

    fn squared_distance(&self, a: usize, b: usize) -> f64 {
        let row = |at: usize| &self.values[at * self.width..(at + 1) * self.width];
        // Short runs in single precision, which vectorises, and their sums in double.
        row(a).chunks(256).zip(row(b).chunks(256)).map(|(a, b)| f64::from(squared(a, b))).sum()
    }
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += (a - b) * (a - b);
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
}

/// The mean distance of each of so many units to the others.
fn distances(layers: &[Rows], units: usize, reduction: Reduction) -> Vec<f64> {
    let producers: Vec<&Rows> = layers.iter().filter(|rows| rows.produced).collect();
    let counted: Vec<&Rows> = match reduction {
        Reduction::Producer if !producers.is_empty() => producers,
        _ => layers.iter().collect(),
    };
    // Layers that make one figure together.
    let parts: Vec<Vec<&Rows>> = match reduction {
        Reduction::Pooled | Reduction::Producer => vec![counted],
        Reduction::Sum | Reduction::Mean | Reduction::Max => counted.into_iter().map(|rows| vec![rows]).collect(),
    };
    let of_part: Vec<Vec<f64>> = parts.iter().map(|part| mean_distances(part, units)).collect();
    let reduced = |unit: usize| {
        let each = of_part.iter().map(|part| part[unit]);
        match reduction {
            Reduction::Max => each.fold(0.0, f64::max),
            Reduction::Mean => each.sum::<f64>() / of_part.len().max(1) as f64,
            Reduction::Pooled | Reduction::Sum | Reduction::Producer => each.sum(),
        }
    };
    (0..units).map(reduced).collect()
}

fn mean_distances(part: &[&Rows], units: usize) -> Vec<f64> {
    let width: usize = part.iter().map(|rows| rows.width).sum();
    let mut sums = vec![0.0; units];
    for a in 0..units {
        for b in a + 1..units {
            let squared: f64 = part.iter().map(|rows| rows.squared_distance(a, b)).sum();
            sums[a] += squared.sqrt();
            sums[b] += squared.sqrt();
        }
    }
    let divisor = units.max(1) as f64 * (width.max(1) as f64).sqrt();
    sums.iter().map(|sum| sum / divisor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[f32], width: usize, produced: bool) -> Rows {
        Rows { values: values.to_vec(), width, produced }
    }

    #[test]
    fn the_middle_of_three_points_on_a_line_is_nearest_to_the_others() {
        // (0, 0), (3, 4), (9, 12): distances 5, 15 and 10.
        let layers = [rows(&[0.0, 0.0, 3.0, 4.0, 9.0, 12.0], 2, true)];
        let expected = [20.0, 15.0, 25.0].map(|sum: f64| sum / 3.0 / 2.0_f64.sqrt());
        for reduction in Reduction::ALL {
            for (found, expected) in distances(&layers, 3, reduction).into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{reduction:?}: {found} and not {expected}");
            }
        }
    }

    #[test]
    fn layers_are_one_vector_pooled_and_vectors_of_their_own_otherwise() {
        let layers = [rows(&[0.0, 3.0], 1, true), rows(&[0.0, 4.0], 1, false)];
        let of = |reduction| distances(&layers, 2, reduction)[0];
        assert!((of(Reduction::Pooled) - 5.0 / 2.0 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(of(Reduction::Producer), 1.5);
        assert_eq!(of(Reduction::Sum), 3.5);
        assert_eq!(of(Reduction::Mean), 1.75);
        assert_eq!(of(Reduction::Max), 2.0);
    }
}

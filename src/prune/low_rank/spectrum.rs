//! Orthonormal directions of a matrix's rows and the energy along each: its left singular vectors and squared singular
//! values, from the eigenvectors of its Gram matrix. Knows nothing of layers.

use faer::{Mat, Side};

use crate::spec::prune::Target;

/// Columns that are multiplied at once, so that the copy in double precision stays small.
const COLUMNS: usize = 4096;

/// Directions, the strongest first.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// One orthonormal column a direction, `[rows, rows]`.
    pub basis: Mat<f64>,
    /// Squared singular values, descending, ≥ 0.
    pub energies: Vec<f64>,
}

/// The spectrum of a row-major matrix; `None` where the decomposition does not converge.
///
/// Squares of numbers in 32 bits lose nothing that matters in 64. Cost: rows² · columns + 10 · rows³.
pub fn spectrum(matrix: &[f32], rows: usize) -> Option<Spectrum> {
    let columns = matrix.len() / rows.max(1);
    let mut gram = Mat::<f64>::zeros(rows, rows);
    for first in (0..columns).step_by(COLUMNS) {
        let part = Mat::from_fn(rows, COLUMNS.min(columns - first), |row, column| {
            f64::from(matrix[row * columns + first + column])
        });
        gram += &part * part.transpose();
    }
    let eigen = gram.self_adjoint_eigen(Side::Lower).ok()?;
    let values = eigen.S().column_vector();
    let vectors = eigen.U();
    // Eigenvalues come in ascending order.
    let basis = Mat::from_fn(rows, rows, |row, column| vectors[(row, rows - 1 - column)]);
    let energies = (0..rows).map(|at| values[rows - 1 - at].max(0.0)).collect();
    Some(Spectrum { basis, energies })
}

/// How many directions are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    /// At least this share of the energy.
    Energy(f64),
    /// This share of the directions, rounded up.
    Share(f64),
}

impl Keep {
    /// What a target says directly, where it does.
    pub fn of(target: Target) -> Option<Self> {
        match target {
            Target::Energy(energy) => Some(Self::Energy(energy)),
            Target::RankRatio(share) => Some(Self::Share(share)),
            _ => None,
        }
    }

    /// The number of directions, at least one.
    pub fn rank(self, energies: &[f64]) -> usize {
        match self {
            Self::Energy(share) => {
                let wanted = share * energies.iter().sum::<f64>();
                let mut kept = 0.0;
                let short = energies.iter().take_while(|energy| {
                    kept += **energy;
                    kept < wanted
                });
                (short.count() + 1).min(energies.len())
            }
            Self::Share(share) => ((share * energies.len() as f64 - 1e-9).ceil() as usize).clamp(1, energies.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_matrix_has_its_squares_as_energies() {
        let spectrum = spectrum(&[2.0, 0.0, 0.0, 0.0, -3.0, 0.0], 2).unwrap();
        assert!((spectrum.energies[0] - 9.0).abs() < 1e-12 && (spectrum.energies[1] - 4.0).abs() < 1e-12);
        assert!((spectrum.basis[(1, 0)].abs() - 1.0).abs() < 1e-12 && spectrum.basis[(0, 0)].abs() < 1e-12);
    }

    #[test]
    fn the_rank_is_the_least_that_keeps_the_share() {
        let energies = [6.0, 3.0, 1.0, 0.0];
        let ranks = [0.0, 0.6, 0.61, 0.9, 0.95, 1.0].map(|share| Keep::Energy(share).rank(&energies));
        assert_eq!(ranks, [1, 1, 2, 2, 3, 3]);
        assert_eq!([0.0, 0.25, 0.3, 1.0].map(|share| Keep::Share(share).rank(&energies)), [1, 1, 2, 4]);
        assert_eq!(Keep::Energy(0.9).rank(&[0.0, 0.0]), 1);
    }
}

//! Sums of products of rows: the normal equations of linear maps, added up batch by batch, and their damped solution.
//!
//! Kept in 64 bits: the Gram matrix of activations has a condition number at which 32 bits would leave nothing of the small
//! directions. Knows nothing of layers. One thread works at a time, so that results do not depend on how many there are.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::Llt;
use faer::{Accum, Mat, MatRef, Par, Side};

/// `AᵀA` of rows `A`, of which the lower half is kept.
#[derive(Clone, Debug)]
pub struct Gram {
    lower: Mat<f64>,
    rows: usize,
}

/// That equations cannot be solved: what was added is not finite, or nothing but zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its activations are not finite or depend on each other")]
pub struct Singular;

impl Gram {
    /// Of rows of so many numbers; none added yet.
    pub fn new(size: usize) -> Self {
        Self { lower: Mat::zeros(size, size), rows: 0 }
    }

    /// Adds rows, row-major. A last row that is not whole is left out.
    ///
    /// Cost: half of rows · size² multiplications.
    pub fn add(&mut self, rows: &[f64]) {
        let rows = matrix(rows, self.size());
        self.rows += rows.nrows();
        triangular::matmul(
            &mut self.lower,
            BlockStructure::TriangularLower,
            Accum::Add,
            rows.transpose(),
            BlockStructure::Rectangular,
            rows,
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
    }

    /// How many numbers a row has.
    pub fn size(&self) -> usize {
        self.lower.nrows()
    }

    /// How many rows were added.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The sum of the products of two numbers of each row.
    pub fn at(&self, one: usize, other: usize) -> f64 {
        self.lower[(one.max(other), one.min(other))]
    }

    /// What a share of the mean of the diagonal is, in which damping is counted.
    ///
    /// Errors: there is nothing that it could be a share of.
    pub fn damping(&self, share: f64) -> Result<f64, Singular> {
        let trace: f64 = (0..self.size()).map(|at| self.at(at, at)).sum();
        let added = share * trace / self.size().max(1) as f64;
        if added.is_finite() && added > 0.0 { Ok(added) } else { Err(Singular) }
    }

    /// The matrix of some of the numbers with `damping` added to its diagonal, as `L·Lᵀ`.
    pub fn factor(&self, of: &[usize], damping: f64) -> Result<Llt<f64>, Singular> {
        let damped = |row: usize, column: usize| {
            let product = self.at(of[row], of[column]);
            if row == column { product + damping } else { product }
        };
        cholesky(Mat::from_fn(of.len(), of.len(), damped).as_ref())
    }

    /// The whole matrix, times another.
    pub fn times(&self, other: MatRef<'_, f64>) -> Mat<f64> {
        let mut product = Mat::zeros(self.size(), other.ncols());
        let halves = [
            (self.lower.as_ref(), BlockStructure::TriangularLower),
            (self.lower.transpose(), BlockStructure::StrictTriangularUpper),
        ];
        for (half, structure) in halves {
            let rectangular = BlockStructure::Rectangular;
            triangular::matmul(
                &mut product,
                rectangular,
                Accum::Add,
                half,
                structure,
                other,
                rectangular,
                1.0,
                Par::Seq,
            );
        }
        product
    }
}

/// A symmetric matrix, of which the lower half is read, as `L·Lᵀ`.
///
/// Errors: it is not positive definite. Cost: a third of the cube of its size in multiplications.
pub fn cholesky(matrix: MatRef<'_, f64>) -> Result<Llt<f64>, Singular> {
    let factor = Llt::new(matrix, Side::Lower).map_err(|_| Singular)?;
    let is_sound = (0..matrix.nrows()).all(|at| factor.L()[(at, at)].is_finite());
    if is_sound { Ok(factor) } else { Err(Singular) }
}

/// Row-major numbers as rows of this width. A last row that is not whole is left out.
pub fn matrix(numbers: &[f64], width: usize) -> MatRef<'_, f64> {
    let rows = numbers.len() / width.max(1);
    MatRef::from_row_major_slice(&numbers[..rows * width], rows, width)
}

#[cfg(test)]
mod tests {
    use faer::prelude::Solve as _;

    use super::*;

    #[test]
    fn sums_are_those_of_all_rows_and_their_equations_are_solved() {
        for size in [1, 5, 48, 137] {
            let number = |at: usize| ((at * 31 + at / size * 17) % 23) as f64 / 23.0 - 0.4;
            let rows: Vec<f64> = (0..size * (size + 3)).map(number).collect();
            let (first, second) = rows.split_at(size * 2);
            let mut gram = Gram::new(size);
            gram.add(first);
            gram.add(second);
            let all = matrix(&rows, size);
            let expected = all.transpose() * all;
            assert_eq!(gram.rows(), size + 3);
            assert!((0..size).all(|i| (0..size).all(|j| (gram.at(i, j) - expected[(i, j)]).abs() < 1e-9)));
            let sides = Mat::from_fn(size, 2, |i, j| (i as f64 * 0.3 + j as f64).sin());
            let product = gram.times(sides.as_ref()) + faer::Scale(0.5) * &sides;
            let everything: Vec<usize> = (0..size).collect();
            let apart = gram.factor(&everything, 0.5).unwrap().solve(&product) - &sides;
            assert!(apart.norm_max() < 1e-8, "{size}: {}", apart.norm_max());
        }
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        assert_eq!(cholesky(faer::mat![[1.0, 2.0], [2.0, 1.0]].as_ref()).unwrap_err(), Singular);
        assert_eq!(cholesky(faer::mat![[f64::NAN]].as_ref()).unwrap_err(), Singular);
        assert_eq!(Gram::new(3).damping(0.1).unwrap_err(), Singular);
    }
}

//! Symmetric positive definite equations in 64 bits, solved by blocks, so that nearly all of the work is done by matrix
//! products.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut2, s};

/// Width of a block. Within a block numbers are worked one by one; wider blocks do more of that, narrower ones call for
/// products that are too thin to be fast.
const BLOCK: usize = 48;

/// The lower triangle `L` of a matrix `L·Lᵀ`. What lies above the diagonal means nothing.
#[derive(Debug)]
pub struct Cholesky(Array2<f64>);

impl Cholesky {
    /// Factors a matrix of which only the lower half is read; `None` where it is not positive definite.
    ///
    /// Cost: a third of the cube of its size in multiplications.
    pub fn new(mut matrix: Array2<f64>) -> Option<Self> {
        let size = matrix.nrows();
        for from in (0..size).step_by(BLOCK) {
            let to = (from + BLOCK).min(size);
            factor(matrix.slice_mut(s![from..to, from..to]))?;
            if to == size {
                break;
            }
            let (above, mut below) = matrix.view_mut().split_at(ndarray::Axis(0), to);
            let diagonal = above.slice(s![from..to, from..to]);
            for mut row in below.slice_mut(s![.., from..to]).rows_mut() {
                for column in 0..to - from {
                    let known: f64 = (0..column).map(|at| row[at] * diagonal[(column, at)]).sum();
                    row[column] = (row[column] - known) / diagonal[(column, column)];
                }
            }
            let panel = below.slice(s![.., from..to]).to_owned();
            for start in (to..size).step_by(BLOCK) {
                let end = (start + BLOCK).min(size);
                let (rows, columns) = (panel.slice(s![start - to.., ..]), panel.slice(s![start - to..end - to, ..]));
                let mut rest = below.slice_mut(s![start - to.., start..end]);
                general_mat_mul(-1.0, &rows, &columns.t(), 1.0, &mut rest);
            }
        }
        Some(Self(matrix))
    }

    /// Solves for each column of the right-hand sides, in place.
    pub fn solve(&self, sides: &mut Array2<f64>) {
        let size = self.0.nrows();
        let blocks: Vec<(usize, usize)> =
            (0..size).step_by(BLOCK).map(|from| (from, (from + BLOCK).min(size))).collect();
        for (from, to) in &blocks {
            let (known, mut here) = sides.view_mut().split_at(ndarray::Axis(0), *from);
            let mut here = here.slice_mut(s![..to - from, ..]);
            general_mat_mul(-1.0, &self.0.slice(s![*from..*to, ..*from]), &known, 1.0, &mut here);
            for row in 0..to - from {
                for at in 0..row {
                    let factor = self.0[(from + row, from + at)];
                    let (done, mut open) = here.view_mut().split_at(ndarray::Axis(0), row);
                    open.row_mut(0).scaled_add(-factor, &done.row(at));
                }
                here.row_mut(row).mapv_inplace(|value| value / self.0[(from + row, from + row)]);
            }
        }
        for (from, to) in blocks.iter().rev() {
            let (mut here, known) = sides.view_mut().split_at(ndarray::Axis(0), *to);
            let mut here = here.slice_mut(s![*from.., ..]);
            general_mat_mul(-1.0, &self.0.slice(s![*to.., *from..*to]).t(), &known, 1.0, &mut here);
            for row in (0..to - from).rev() {
                for at in row + 1..to - from {
                    let factor = self.0[(from + at, from + row)];
                    let (mut open, done) = here.view_mut().split_at(ndarray::Axis(0), row + 1);
                    open.row_mut(row).scaled_add(-factor, &done.row(at - row - 1));
                }
                here.row_mut(row).mapv_inplace(|value| value / self.0[(from + row, from + row)]);
            }
        }
    }
}

/// A block on the diagonal, number by number.
fn factor(mut block: ArrayViewMut2<'_, f64>) -> Option<()> {
    for row in 0..block.nrows() {
        for column in 0..=row {
            let known: f64 = (0..column).map(|at| block[(row, at)] * block[(column, at)]).sum();
            let left = block[(row, column)] - known;
            if row > column {
                block[(row, column)] = left / block[(column, column)];
            } else if left > 0.0 && left.is_finite() {
                block[(row, row)] = left.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_of_any_size_are_solved() {
        for size in [1, 5, BLOCK, BLOCK + 1, 3 * BLOCK - 7] {
            let root = Array2::from_shape_fn((size, size + 3), |(i, j)| ((i * 31 + j * 17) % 23) as f64 / 23.0 - 0.4);
            let matrix = root.dot(&root.t()) + Array2::<f64>::eye(size) * 0.5;
            let expected = Array2::from_shape_fn((size, 2), |(i, j)| (i as f64 * 0.3 + j as f64).sin());
            let mut sides = matrix.dot(&expected);
            Cholesky::new(matrix).unwrap().solve(&mut sides);
            let apart = (&sides - &expected).iter().fold(0.0, |most: f64, by| most.max(by.abs()));
            assert!(apart < 1e-8, "{size}: {apart}");
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        assert!(Cholesky::new(ndarray::arr2(&[[1.0, 2.0], [2.0, 1.0]])).is_none());
        assert!(Cholesky::new(ndarray::arr2(&[[f64::NAN]])).is_none());
    }
}

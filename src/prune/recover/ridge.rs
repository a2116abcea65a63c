//! Ridge regression by normal equations, added up row by row: which correction of a linear map brings its outputs nearest
//! to their targets, without going further from where it is than the rows ask for.
//!
//! Knows nothing of layers. Sums are kept in 64 bits: the Gram matrix of activations has a condition number at which 32
//! bits would leave nothing of the small directions.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

use super::cholesky::Cholesky;

/// Weights of staying where the map is, relative to the mean of the Gram matrix's diagonal, from the least: the one that
/// does best on rows that were set apart is taken. 1e-3 is right where there are many more rows than inputs; a
/// regression on hardly more rows than inputs needs more.
const DAMPING: [f64; 3] = [1e-3, 1e-2, 1e-1];

/// Multiplications that the separate solves of masked rows may take, of one map; ten seconds or so.
const MOST_MULTIPLICATIONS: f64 = 4e10;

/// The sums of `A` (inputs) and `R` (what the outputs lack) over rows.
#[derive(Debug)]
pub struct Ridge {
    inputs: usize,
    outputs: usize,
    /// `AᵀA`.
    gram: Array2<f64>,
    /// `AᵀR`.
    lack: Array2<f64>,
    /// Sum of the squares of `R`.
    squares: f64,
    rows: usize,
    /// Rows that were set apart, row-major.
    apart: Rows,
}

/// Rows of inputs and of what the outputs lack, row-major.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub inputs: Vec<f64>,
    pub lack: Vec<f64>,
}

/// A correction of a linear map.
#[derive(Clone, Debug)]
pub struct Correction {
    /// `[inputs, outputs]`.
    pub delta: Array2<f64>,
    /// Root of the mean square of what the outputs lack, before and after, on the rows that were set apart where there are
    /// any.
    pub before: f64,
    pub after: f64,
}

/// Why there is no correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RidgeError {
    #[error("no samples reached it")]
    NoRows,
    #[error("its activations are not finite or depend on each other")]
    Singular,
    #[error("solving for each output's own mask would take too long")]
    TooLong,
}

impl Ridge {
    /// Nothing added yet.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let (gram, lack) = (Array2::zeros((inputs, inputs)), Array2::zeros((inputs, outputs)));
        Self { inputs, outputs, gram, lack, squares: 0.0, rows: 0, apart: Rows::default() }
    }

    /// Adds rows to what is fitted.
    pub fn fit(&mut self, rows: &Rows) {
        let (Some(a), Some(r)) = (view(&rows.inputs, self.inputs), view(&rows.lack, self.outputs)) else { return };
        general_mat_mul(1.0, &a.t(), &a, 1.0, &mut self.gram);
        general_mat_mul(1.0, &a.t(), &r, 1.0, &mut self.lack);
        self.squares += rows.lack.iter().map(|lack| lack * lack).sum::<f64>();
        self.rows += a.nrows();
    }

    /// Sets rows apart for choosing the damping.
    pub fn set_apart(&mut self, rows: Rows) {
        self.apart.inputs.extend(rows.inputs);
        self.apart.lack.extend(rows.lack);
    }

    /// The correction, of the inputs that `may_change` of each output (`[outputs][inputs]`) where it is given.
    pub fn solve(&self, may_change: Option<&[Vec<bool>]>) -> Result<Correction, RidgeError> {
        if self.rows == 0 {
            return Err(RidgeError::NoRows);
        }
        let before = self.remaining(&Array2::zeros((self.inputs, self.outputs)));
        // Without rows apart there is nothing to choose by.
        let dampings = if self.apart.inputs.is_empty() { &DAMPING[..1] } else { &DAMPING[..] };
        let mut best: Option<Correction> = None;
        for damping in dampings {
            let delta = match may_change {
                None => self.whole(*damping)?,
                Some(masks) => self.masked(*damping, masks)?,
            };
            let after = self.remaining(&delta);
            if !after.is_finite() {
                return Err(RidgeError::Singular);
            }
            if best.as_ref().is_none_or(|best| after < best.after) {
                best = Some(Correction { delta, before, after });
            }
        }
        best.ok_or(RidgeError::NoRows)
    }

    fn whole(&self, damping: f64) -> Result<Array2<f64>, RidgeError> {
        let mut delta = self.lack.clone();
        self.factor(self.gram.clone(), damping)?.solve(&mut delta);
        Ok(delta)
    }

    /// Each output by itself: what is fixed is left out of its equations.
    fn masked(&self, damping: f64, masks: &[Vec<bool>]) -> Result<Array2<f64>, RidgeError> {
        let free = |mask: &Vec<bool>| (0..self.inputs).filter(|at| mask[*at]).collect::<Vec<_>>();
        let cost: f64 = masks.iter().map(|mask| (free(mask).len() as f64).powi(3) / 3.0).sum();
        if cost > MOST_MULTIPLICATIONS {
            return Err(RidgeError::TooLong);
        }
        let mut delta = Array2::zeros((self.inputs, self.outputs));
        for (output, mask) in masks.iter().enumerate() {
            let free = free(mask);
            if free.is_empty() {
                continue;
            }
            let gram = Array2::from_shape_fn((free.len(), free.len()), |(i, j)| self.gram[(free[i], free[j])]);
            let mut solved = Array2::from_shape_fn((free.len(), 1), |(i, _)| self.lack[(free[i], output)]);
            self.factor(gram, damping)?.solve(&mut solved);
            free.iter().enumerate().for_each(|(i, at)| delta[(*at, output)] = solved[(i, 0)]);
        }
        Ok(delta)
    }

    /// Cholesky of a damped Gram matrix. The damping is that of the whole matrix, so that masks do not change it.
    fn factor(&self, mut gram: Array2<f64>, damping: f64) -> Result<Cholesky, RidgeError> {
        let trace: f64 = (0..self.inputs).map(|i| self.gram[(i, i)]).sum();
        let added = damping * trace / self.inputs.max(1) as f64;
        if !added.is_finite() || added <= 0.0 {
            return Err(RidgeError::Singular);
        }
        (0..gram.nrows()).for_each(|i| gram[(i, i)] += added);
        Cholesky::new(gram).ok_or(RidgeError::Singular)
    }

    /// Root of the mean square of what is still lacking under a correction.
    fn remaining(&self, delta: &Array2<f64>) -> f64 {
        if self.apart.inputs.is_empty() {
            return self.remaining_of_fitted(delta);
        }
        let (a, r) = (view(&self.apart.inputs, self.inputs), view(&self.apart.lack, self.outputs));
        let (Some(a), Some(r)) = (a, r) else { return f64::NAN };
        let mut left = r.to_owned();
        general_mat_mul(-1.0, &a, delta, 1.0, &mut left);
        (left.iter().map(|lack| lack * lack).sum::<f64>() / left.len().max(1) as f64).sqrt()
    }

    /// The same of the rows that were fitted, from the sums alone: ‖R − AΔ‖² = ‖R‖² + tr Δᵀ(AᵀAΔ − 2AᵀR).
    fn remaining_of_fitted(&self, delta: &Array2<f64>) -> f64 {
        let product = self.gram.dot(delta);
        let terms =
            delta.iter().zip(&product).zip(&self.lack).map(|((delta, product), lack)| delta * (product - 2.0 * lack));
        let squares = self.squares + terms.sum::<f64>();
        // What is left of an exact fit is rounding, of either sign; NaN stays.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        (squares / (self.rows * self.outputs).max(1) as f64).sqrt()
    }
}

/// Row-major numbers as a matrix of this width; `None` where they do not fill it.
fn view(numbers: &[f64], width: usize) -> Option<ArrayView2<'_, f64>> {
    ArrayView2::from_shape((numbers.len() / width.max(1), width), numbers).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three inputs (the third always one) and an output that lacks `2·a − b + 0.5`.
    fn rows(count: usize, from: usize) -> Rows {
        let mut rows = Rows::default();
        for at in from..from + count {
            let (a, b) = ((at as f64 * 0.7).sin(), (at as f64 * 1.3).cos());
            rows.inputs.extend([a, b, 1.0]);
            rows.lack.push(2.0 * a - b + 0.5);
        }
        rows
    }

    #[test]
    fn what_is_lacking_is_found_but_for_the_damping() {
        let mut ridge = Ridge::new(3, 1);
        ridge.fit(&rows(100, 0));
        ridge.fit(&rows(100, 100));
        for apart in [None, Some(rows(40, 200))] {
            if let Some(rows) = apart {
                ridge.set_apart(rows);
            }
            let found = ridge.solve(None).unwrap();
            for (at, expected) in [2.0, -1.0, 0.5].into_iter().enumerate() {
                assert!((found.delta[(at, 0)] - expected).abs() < 5e-3, "{found:?}");
            }
            assert!(found.before > 1.0 && found.after < 5e-3, "{found:?}");
        }
    }

    #[test]
    fn inputs_behind_a_mask_stay_as_they_are() {
        let mut ridge = Ridge::new(3, 1);
        ridge.fit(&rows(200, 0));
        let found = ridge.solve(Some(&[vec![true, false, true]])).unwrap();
        assert_eq!(found.delta[(1, 0)], 0.0);
        assert!((found.delta[(0, 0)] - 2.0).abs() < 0.05 && found.after < found.before, "{found:?}");
    }

    #[test]
    fn equations_that_say_nothing_are_refused() {
        assert_eq!(Ridge::new(2, 1).solve(None).unwrap_err(), RidgeError::NoRows);
        let mut ridge = Ridge::new(2, 1);
        ridge.fit(&Rows { inputs: vec![f64::NAN, 1.0], lack: vec![1.0] });
        assert_eq!(ridge.solve(None).unwrap_err(), RidgeError::Singular);
        let mut ridge = Ridge::new(2, 1);
        ridge.fit(&Rows { inputs: vec![0.0, 0.0], lack: vec![1.0] });
        assert_eq!(ridge.solve(None).unwrap_err(), RidgeError::Singular);
    }
}

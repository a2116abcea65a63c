//! Ridge regression by normal equations, added up row by row: which correction of a linear map brings its outputs nearest
//! to their targets, without going further from where it is than the rows ask for.
//!
//! Knows nothing of layers.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::prelude::Solve as _;
use faer::{Accum, Mat, MatRef, Par};

use crate::prune::gram::{Gram, Singular, matrix};
use crate::prune::sweep::Sweep;

/// Weights of staying where the map is, relative to the mean of the Gram matrix's diagonal, from the least: the one that
/// does best on rows that were set apart is taken. 1e-3 is right where there are many more rows than inputs; a
/// regression on hardly more rows than inputs needs more.
const DAMPING: [f64; 3] = [1e-3, 1e-2, 1e-1];

/// Multiplications that the separate solves of masked rows may take, of one map; ten seconds or so. Beyond them a sweep
/// through all outputs at once has to do, which leaves a little more of the error.
const MOST_MULTIPLICATIONS: f64 = 4e10;

/// The sums of `A` (inputs) and `R` (what the outputs lack) over rows.
#[derive(Debug)]
pub struct Ridge {
    /// `AᵀA`.
    gram: Gram,
    /// `AᵀR`.
    lack: Mat<f64>,
    /// Sum of the squares of `R`.
    squares: f64,
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
    pub delta: Mat<f64>,
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
    #[error(transparent)]
    Singular(#[from] Singular),
}

impl Ridge {
    /// Nothing added yet.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let (gram, lack) = (Gram::new(inputs), Mat::zeros(inputs, outputs));
        Self { gram, lack, squares: 0.0, apart: Rows::default() }
    }

    /// Adds rows to what is fitted.
    pub fn fit(&mut self, rows: &Rows) {
        self.gram.add(&rows.inputs);
        let (a, r) = (matrix(&rows.inputs, self.inputs()), matrix(&rows.lack, self.lack.ncols()));
        matmul(&mut self.lack, Accum::Add, a.transpose(), r, 1.0, Par::Seq);
        self.squares += rows.lack.iter().map(|lack| lack * lack).sum::<f64>();
    }

    fn inputs(&self) -> usize {
        self.gram.size()
    }

    /// Sets rows apart for choosing the damping.
    pub fn set_apart(&mut self, rows: Rows) {
        self.apart.inputs.extend(rows.inputs);
        self.apart.lack.extend(rows.lack);
    }

    /// The correction, of the inputs that `may_change` of each output (`[outputs][inputs]`) where it is given.
    pub fn solve(&self, may_change: Option<&[Vec<bool>]>) -> Result<Correction, RidgeError> {
        if self.gram.rows() == 0 {
            return Err(RidgeError::NoRows);
        }
        let before = self.remaining(Mat::zeros(self.inputs(), self.lack.ncols()).as_ref());
        // Without rows apart there is nothing to choose by.
        let dampings = if self.apart.inputs.is_empty() { &DAMPING[..1] } else { &DAMPING[..] };
        let mut best: Option<Correction> = None;
        for damping in dampings {
            // That of the whole matrix, so that masks do not change it.
            let damping = self.gram.damping(*damping)?;
            let delta = match may_change {
                None => self.whole(damping)?,
                Some(masks) => self.masked(damping, masks)?,
            };
            let after = self.remaining(delta.as_ref());
            if !after.is_finite() {
                return Err(Singular.into());
            }
            if best.as_ref().is_none_or(|best| after < best.after) {
                best = Some(Correction { delta, before, after });
            }
        }
        best.ok_or(RidgeError::NoRows)
    }

    fn whole(&self, damping: f64) -> Result<Mat<f64>, RidgeError> {
        let all: Vec<usize> = (0..self.inputs()).collect();
        Ok(self.gram.factor(&all, damping)?.solve(&self.lack))
    }

    /// The correction within masks, exactly where that can be afforded.
    fn masked(&self, damping: f64, masks: &[Vec<bool>]) -> Result<Mat<f64>, RidgeError> {
        let free = |mask: &Vec<bool>| mask.iter().filter(|free| **free).count() as f64;
        let cost: f64 = masks.iter().map(|mask| free(mask).powi(3) / 3.0).sum();
        if cost > MOST_MULTIPLICATIONS { self.swept(damping, masks) } else { self.apiece(damping, masks) }
    }

    /// The correction of all inputs, from which what is fixed is cleared in one sweep.
    fn swept(&self, damping: f64, masks: &[Vec<bool>]) -> Result<Mat<f64>, RidgeError> {
        let mut delta = self.whole(damping)?;
        let fixed = |mask: &Vec<bool>, block: &Range<usize>| mask[block.clone()].iter().map(|free| !free).collect();
        Sweep::new(&self.gram, damping)?
            .clear(&mut delta, |block, _| masks.iter().map(|mask| fixed(mask, &block)).collect());
        Ok(delta)
    }

    /// Each output by itself: what is fixed is left out of its equations.
    fn apiece(&self, damping: f64, masks: &[Vec<bool>]) -> Result<Mat<f64>, RidgeError> {
        let free = |mask: &Vec<bool>| (0..self.inputs()).filter(|at| mask[*at]).collect::<Vec<_>>();
        let mut delta = Mat::zeros(self.inputs(), self.lack.ncols());
        for (output, mask) in masks.iter().enumerate() {
            let free = free(mask);
            if free.is_empty() {
                continue;
            }
            let lack = Mat::from_fn(free.len(), 1, |at, _| self.lack[(free[at], output)]);
            let solved = self.gram.factor(&free, damping)?.solve(&lack);
            free.iter().enumerate().for_each(|(i, at)| delta[(*at, output)] = solved[(i, 0)]);
        }
        Ok(delta)
    }

    /// Root of the mean square of what is still lacking under a correction.
    fn remaining(&self, delta: MatRef<'_, f64>) -> f64 {
        if self.apart.inputs.is_empty() {
            return self.remaining_of_fitted(delta);
        }
        let (a, r) = (matrix(&self.apart.inputs, self.inputs()), matrix(&self.apart.lack, self.lack.ncols()));
        let mut left = r.to_owned();
        matmul(&mut left, Accum::Add, a, delta, -1.0, Par::Seq);
        left.norm_l2() / (self.apart.lack.len().max(1) as f64).sqrt()
    }

    /// The same of the rows that were fitted, from the sums alone: ‖R − AΔ‖² = ‖R‖² + tr Δᵀ(AᵀAΔ − 2AᵀR).
    fn remaining_of_fitted(&self, delta: MatRef<'_, f64>) -> f64 {
        let product = self.gram.times(delta);
        let term =
            |at: usize, output: usize| delta[(at, output)] * (product[(at, output)] - 2.0 * self.lack[(at, output)]);
        let terms = (0..delta.ncols()).map(|output| (0..delta.nrows()).map(|at| term(at, output)).sum::<f64>());
        let squares = self.squares + terms.sum::<f64>();
        // What is left of an exact fit is rounding, of either sign; NaN stays.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        (squares / (self.gram.rows() * self.lack.ncols()).max(1) as f64).sqrt()
    }
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

    /// Rows of inputs that depend on each other, as those of neighbouring pixels do, and of outputs that lack a map of them.
    fn mixed(inputs: usize, outputs: usize, count: usize) -> Ridge {
        let number = |at: usize| ((at as f64 * 0.618_033_988_7).sin() * 43_758.545_3).fract();
        let mut rows = Rows::default();
        for row in 0..count {
            let x: Vec<f64> = (0..inputs).map(|at| number(row * inputs + at) + number(row * inputs + at / 4)).collect();
            for output in 0..outputs {
                let lack = x.iter().enumerate().map(|(at, x)| x * number(7 + output * inputs + at)).sum::<f64>();
                rows.lack.push(lack + 0.1 * number(row + output));
            }
            rows.inputs.extend(x);
        }
        let mut ridge = Ridge::new(inputs, outputs);
        ridge.fit(&rows);
        ridge
    }

    #[test]
    fn a_sweep_is_exact_where_what_is_fixed_comes_first() {
        let ridge = mixed(300, 3, 900);
        let masks: Vec<Vec<bool>> = [0, 140, 299].map(|from| (0..300).map(|at| at >= from).collect()).to_vec();
        let damping = ridge.gram.damping(1e-3).unwrap();
        let (swept, apiece) = (ridge.swept(damping, &masks).unwrap(), ridge.apiece(damping, &masks).unwrap());
        assert!((&swept - &apiece).norm_max() < 1e-7 * apiece.norm_max(), "{}", (&swept - &apiece).norm_max());
    }

    #[test]
    fn a_sweep_wins_most_of_what_the_best_within_any_masks_wins() {
        let ridge = mixed(160, 24, 1600);
        let mask = |output: usize| (0..160).map(|at| (at * 7 + output * 3) % 5 < 2).collect();
        let masks: Vec<Vec<bool>> = (0..24).map(mask).collect();
        let damping = ridge.gram.damping(1e-3).unwrap();
        let (swept, apiece) = (ridge.swept(damping, &masks).unwrap(), ridge.apiece(damping, &masks).unwrap());
        for (output, mask) in masks.iter().enumerate() {
            assert!((0..160).all(|at| mask[at] || swept[(at, output)] == 0.0));
        }
        let none = ridge.remaining(Mat::zeros(160, 24).as_ref());
        let (swept, apiece) = (ridge.remaining(swept.as_ref()), ridge.remaining(apiece.as_ref()));
        assert!(apiece <= swept && none - swept > 0.8 * (none - apiece), "{none}: {apiece} apiece, {swept} swept");
    }

    #[test]
    fn equations_that_say_nothing_are_refused() {
        assert_eq!(Ridge::new(2, 1).solve(None).unwrap_err(), RidgeError::NoRows);
        let mut ridge = Ridge::new(2, 1);
        ridge.fit(&Rows { inputs: vec![f64::NAN, 1.0], lack: vec![1.0] });
        assert_eq!(ridge.solve(None).unwrap_err(), RidgeError::Singular(Singular));
        let mut ridge = Ridge::new(2, 1);
        ridge.fit(&Rows { inputs: vec![0.0, 0.0], lack: vec![1.0] });
        assert_eq!(ridge.solve(None).unwrap_err(), RidgeError::Singular(Singular));
    }
}

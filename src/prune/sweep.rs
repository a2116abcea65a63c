//! Numbers of a linear map cleared one input after the other, each time with what that costs made up for by the inputs that
//! are still to come.
//!
//! The best numbers for a given set of zeros take an equation system for each output. One sweep through all outputs at
//! once, with the inverse of the inputs' Gram matrix, comes near to them at the cost of a single one.
//!
//! Source: Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", ICML 2023,
//! algorithm 1.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::DenseSolveCore as _;
use faer::{Accum, Mat, Par};

use super::gram::{Gram, Singular, cholesky};

/// Inputs that are worked one by one before what lies behind them is brought up to date with one product of matrices.
const BLOCK: usize = 128;

/// What there is to know of the inputs: `L` of `(AᵀA + damping)⁻¹ = L·Lᵀ`.
#[derive(Debug)]
pub struct Sweep(Mat<f64>);

impl Sweep {
    /// Prepares sweeps over maps of the inputs.
    ///
    /// Cost: about twice the cube of the inputs in multiplications.
    pub fn new(gram: &Gram, damping: f64) -> Result<Self, Singular> {
        let all: Vec<usize> = (0..gram.size()).collect();
        let inverse = gram.factor(&all, damping)?.inverse();
        Ok(Self(cholesky(inverse.as_ref())?.L().to_owned()))
    }

    /// Makes numbers of a map `[inputs, outputs]` zero. `goes` is asked before each block of inputs, with the map as it
    /// stands, and says for each output which of the block's inputs go.
    ///
    /// Cost: half of outputs · inputs² multiplications.
    pub fn clear(&self, map: &mut Mat<f64>, mut goes: impl FnMut(Range<usize>, &Mat<f64>) -> Vec<Vec<bool>>) {
        let (inputs, outputs) = (map.nrows(), map.ncols());
        for from in (0..inputs).step_by(BLOCK) {
            let to = (from + BLOCK).min(inputs);
            let gone = goes(from..to, map);
            let mut errors = Mat::<f64>::zeros(to - from, outputs);
            for (output, gone) in gone.iter().enumerate() {
                for at in from..to {
                    if !gone[at - from] {
                        continue;
                    }
                    let error = map[(at, output)] / self.0[(at, at)];
                    errors[(at - from, output)] = error;
                    map[(at, output)] = 0.0;
                    for behind in at + 1..to {
                        map[(behind, output)] -= error * self.0[(behind, at)];
                    }
                }
            }
            let behind = self.0.submatrix(to, from, inputs - to, to - from);
            let rest = map.submatrix_mut(to, 0, inputs - to, outputs);
            matmul(rest, Accum::Add, behind, errors.as_ref(), -1.0, Par::Seq);
        }
    }
}

//! Optimizers: how gradients change weights, on flat buffers.

use crate::spec::retrain::Optimizer;

/// Stochastic gradient descent with momentum, computed as PyTorch's `torch.optim.SGD` does without dampening:
/// `g ← ∇ + decay · w; v ← momentum · v + g; w ← w − rate · v` (with Nesterov: `w ← w − rate · (g + momentum · v)`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    pub momentum: f32,
    pub weight_decay: f32,
    pub nesterov: bool,
}

impl Sgd {
    /// The optimizer of a spec and its full learning rate.
    pub fn new(spec: &Optimizer) -> (Self, f64) {
        let Optimizer::Sgd { learning_rate, momentum, weight_decay, nesterov } = *spec;
        (Self { momentum: momentum as f32, weight_decay: weight_decay as f32, nesterov }, learning_rate)
    }

    /// One step of the weights of one tensor. Lengths are equal.
    pub fn step(&self, weights: &mut [f32], velocity: &mut [f32], gradient: &[f32], rate: f32, decays: bool) {
        let decay = if decays { self.weight_decay } else { 0.0 };
        for ((w, v), d) in weights.iter_mut().zip(velocity).zip(gradient) {
            let g = d + decay * *w;
            *v = self.momentum * *v + g;
            let direction = if self.nesterov { g + self.momentum * *v } else { *v };
            *w -= rate * direction;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps of `torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=…)` in PyTorch 2.15 from
    /// w = [1, −2] with the gradients [0.5, 0.25], [−1, 0.125], [0.25, 2].
    #[test]
    fn steps_are_those_of_pytorch() {
        for (nesterov, expected) in [(false, EXPECTED_PLAIN), (true, EXPECTED_NESTEROV)] {
            let sgd = Sgd { momentum: 0.9, weight_decay: 0.01, nesterov };
            let (mut w, mut v) = ([1.0, -2.0], [0.0; 2]);
            for gradient in [[0.5, 0.25], [-1.0, 0.125], [0.25, 2.0]] {
                sgd.step(&mut w, &mut v, &gradient, 0.1, true);
            }
            for (found, expected) in w.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "nesterov {nesterov}: {w:?}");
            }
        }
    }

    const EXPECTED_PLAIN: [f32; 2] = [1.023_984_8, -2.280_182_1];
    const EXPECTED_NESTEROV: [f32; 2] = [1.043_668_5, -2.483_477_4];

    #[test]
    fn vectors_do_not_decay() {
        let sgd = Sgd { momentum: 0.0, weight_decay: 0.5, nesterov: false };
        let (mut w, mut v) = ([1.0], [0.0]);
        sgd.step(&mut w, &mut v, &[0.0], 0.1, false);
        assert_eq!(w, [1.0]);
    }
}

//! Bias correction: the mean of each layer's outputs becomes the original's again.
//!
//! Source: Nagel et al., ICCV 2019 (section 4.2), there for quantization. Differs: means are taken over samples, layer by
//! layer on the network as already corrected, and behind the sum of a residual block.

use super::gap::Gap;
use super::layer::{Bias, Layer};
use super::{Recovery, Repaired, change, layer};
use crate::onnx::model::Model;
use crate::prune::error::PruneError;
use crate::spec::report::{Frozen, RepairedLayer};

/// Corrects every layer that has a bias, or can be given one.
pub(super) fn correct(recovery: &Recovery<'_>, model: &mut Model) -> Result<Repaired, PruneError> {
    let (layers, skipped) = layer::repairable(&model.graph(), recovery.inferred, recovery.plan);
    let (mut before, mut now) = (recovery.frontier(), recovery.frontier());
    let mut repaired = Repaired { skipped, ..Repaired::default() };
    for layer in layers {
        let skip = |reason: String| Frozen { what: layer.target.clone(), operator: Some(layer.label.clone()), reason };
        if layer.bias == Bias::None {
            repaired.skipped.push(skip("it has no bias, and cannot be given one without a new node".into()));
            continue;
        }
        before.advance(recovery.original, recovery.original_node(model, &layer))?;
        now.advance(model, layer.node)?;
        let mut means = Means::default();
        let originals = before.run(recovery.original, &[&layer.target])?;
        let mut gap = Ok(());
        for (expected, found) in originals.zip(now.run(model, &[&layer.target])?) {
            gap = Gap::new(&layer, &found?[0], &expected?[0]).map(|gap| means.add(&gap));
            if gap.is_err() {
                break;
            }
        }
        match gap {
            Ok(()) => {
                let added = means.lack();
                let weight = change::constant(model, &layer.weight)?;
                change::add_to_bias(model, &layer.bias, &layer.weight, &weight, &added)?;
                repaired.layers.push(means.report(&layer, &added));
            }
            Err(error) => repaired.skipped.push(skip(error.to_string())),
        }
    }
    Ok(repaired)
}

/// Sums over positions, for each channel.
#[derive(Debug, Default)]
struct Means {
    lack: Vec<f64>,
    squares: f64,
    expected: f64,
    positions: usize,
}

impl Means {
    fn add(&mut self, gap: &Gap) {
        self.lack.resize(gap.channels(), 0.0);
        for position in 0..gap.positions() {
            for channel in 0..gap.channels() {
                let (lack, expected) = gap.at(position, channel);
                self.lack[channel] += lack;
                self.squares += lack * lack;
                self.expected += expected * expected;
            }
        }
        self.positions += gap.positions();
    }

    /// The mean of what each channel lacks.
    fn lack(&self) -> Vec<f64> {
        self.lack.iter().map(|sum| sum / self.positions.max(1) as f64).collect()
    }

    fn report(&self, layer: &Layer, added: &[f64]) -> RepairedLayer {
        let relative = |squares: f64| (squares.max(0.0) / self.expected.max(f64::MIN_POSITIVE)).sqrt();
        let gained: f64 = added.iter().map(|mean| mean * mean * self.positions as f64).sum();
        RepairedLayer {
            layer: layer.label.clone(),
            error_before: relative(self.squares),
            error_after: relative(self.squares - gained),
        }
    }
}

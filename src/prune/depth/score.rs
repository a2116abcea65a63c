//! How much each block changes the stream that it adds to.

use crate::cost::inputs::Feeds;
use crate::data::Calibration;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;

use super::super::observe::{ObserveError, Probe};
use super::block::Block;

/// What blocks are scored on.
#[derive(Debug)]
pub enum Source<'a> {
    /// Samples of a dataset.
    Calibration(&'a Calibration<'a>),
    /// Inputs that were drawn for the certificate.
    Drawn(&'a [(u64, Feeds)]),
}

/// ‖sum − shortcut‖ ÷ ‖shortcut‖ of each block, over all inputs.
///
/// Units: a share; ≥ 0, higher = keep. Infinite where values are not finite, so that such a block goes last.
/// Errors: the model does not run on an input, or a sample cannot be read.
/// Source: the residual form of the block influence of Men et al., ShortGPT, 2024, with norms in place of angles.
pub fn scores(
    model: &Model,
    graph: &Graph<'_>,
    inferred: &Inferred,
    blocks: &[Block<'_>],
    source: &Source<'_>,
    threads: usize,
) -> Result<Vec<f64>, ObserveError> {
    let mut names: Vec<&str> = blocks.iter().flat_map(|block| [block.shortcut, block.sum]).collect();
    names.sort_unstable();
    names.dedup();
    let (inputs, names): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| graph.is_input(name));
    let mut sums = vec![(0.0, 0.0); blocks.len()];
    let mut probe = Probe::new(model, inferred, &[], &names, threads)?;
    let mut add = |feeds: &[(&str, &Tensor)]| -> Result<(), ObserveError> {
        let values = probe.run(feeds)?;
        let value = |name: &str| {
            let fed = || feeds.iter().find(|(fed, _)| *fed == name && inputs.contains(fed)).map(|(_, tensor)| *tensor);
            names.iter().position(|other| *other == name).and_then(|at| values.get(at)).or_else(fed)
        };
        for (block, (change, norm)) in blocks.iter().zip(&mut sums) {
            let (Some(Ok(sum)), Some(Ok(shortcut))) =
                (value(block.sum).map(Tensor::to_f32), value(block.shortcut).map(Tensor::to_f32))
            else {
                continue;
            };
            for (sum, shortcut) in sum.iter().zip(shortcut.iter()) {
                *change += (f64::from(*sum) - f64::from(*shortcut)).powi(2);
                *norm += f64::from(*shortcut).powi(2);
            }
        }
        Ok(())
    };
    match source {
        Source::Calibration(calibration) => {
            for batch in calibration.fitting().batches() {
                add(&batch?.feeds())?;
            }
        }
        Source::Drawn(draws) => {
            for (_, feeds) in *draws {
                add(&feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect::<Vec<_>>())?;
            }
        }
    }
    let ratio = |(change, norm): (f64, f64)| {
        let ratio = (change / norm).sqrt();
        if change == 0.0 {
            0.0
        } else if ratio.is_nan() {
            f64::INFINITY
        } else {
            ratio
        }
    };
    Ok(sums.into_iter().map(ratio).collect())
}

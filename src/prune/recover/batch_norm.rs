//! Mean and variance of every BatchNormalization, taken again on the cut network.

use super::layer::UNSEEN;
use super::{Recovery, Repaired, change};
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::proto::GraphProto;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::error::PruneError;
use crate::prune::surgery::SurgeryError;
use crate::spec::report::{Frozen, RepairedLayer};

/// A normalisation by constants.
struct Statistics {
    node: NodeIndex,
    label: String,
    input: String,
    mean: String,
    variance: String,
}

/// Takes the statistics of all normalisations again, in the order of the graph, each on what the ones before it give.
pub(super) fn estimate(recovery: &Recovery<'_>, model: &mut Model) -> Result<Repaired, PruneError> {
    let (found, mut skipped) = find(&model.graph(), recovery.inferred);
    if found.is_empty() && skipped.is_empty() {
        let reason = "it has no BatchNormalization: exports for inference fold it into the convolutions".to_owned();
        skipped.push(Frozen { what: "the model".into(), operator: None, reason });
    }
    let mut repaired = Repaired { skipped, ..Repaired::default() };
    let mut now = recovery.frontier();
    for statistics in found {
        now.advance(model, statistics.node)?;
        let mut moments = Moments::default();
        for values in now.run(model, &[&statistics.input])? {
            moments.add(&values?[0])?;
        }
        let (mean, variance) = moments.finish();
        let old = [&statistics.mean, &statistics.variance].map(|name| change::constant(model, name));
        let [old_mean, old_variance] = old;
        let (error_before, error_after) = (apart(&old_mean?, &mean, &old_variance?, &variance), 0.0);
        let set = |to: &[f64], values: &mut [f32]| values.iter_mut().zip(to).for_each(|(v, to)| *v = *to as f32);
        change::change(model, &statistics.mean, |values| set(&mean, values))?;
        change::change(model, &statistics.variance, |values| set(&variance, values))?;
        repaired.layers.push(RepairedLayer { layer: statistics.label, error_before, error_after });
    }
    Ok(repaired)
}

fn find(graph: &Graph<'_>, inferred: &Inferred) -> (Vec<Statistics>, Vec<Frozen>) {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for (index, node) in graph.proto.node.iter().enumerate().filter(|(_, node)| node.is("BatchNormalization")) {
        let own = |slot: usize| {
            let name = node.input_name(slot)?;
            (graph.constant(name)?.is_ok() && graph.uses(name).len() == 1).then(|| name.to_owned())
        };
        let refused = |reason: &str| Frozen {
            what: node.output.first().cloned().unwrap_or_default(),
            operator: Some(node.label()),
            reason: reason.to_owned(),
        };
        match (node.input_name(0), own(3), own(4)) {
            (Some(input), ..) if inferred.dtype(input).is_none() => skipped.push(refused(UNSEEN)),
            (Some(input), Some(mean), Some(variance)) => {
                found.push(Statistics { node: index, label: node.label(), input: input.to_owned(), mean, variance });
            }
            _ => skipped.push(refused("its statistics are computed, or several operators share them")),
        }
    }
    inside(graph.proto, &mut skipped);
    (found, skipped)
}

/// The normalisations in graphs inside of nodes, which are not observed.
fn inside(graph: &GraphProto, skipped: &mut Vec<Frozen>) {
    for owner in &graph.node {
        for body in owner.subgraphs() {
            for node in body.node.iter().filter(|node| node.is("BatchNormalization")) {
                skipped.push(Frozen {
                    what: node.output.first().cloned().unwrap_or_default(),
                    operator: Some(node.label()),
                    reason: format!("it is in a graph inside of {}", owner.label()),
                });
            }
            inside(body, skipped);
        }
    }
}

/// Root mean square of the distance of old means from the new ones, in standard deviations.
fn apart(old_mean: &Tensor, mean: &[f64], old_variance: &Tensor, variance: &[f64]) -> f64 {
    let (Ok(old_mean), Ok(old_variance)) = (old_mean.to_f32(), old_variance.to_f32()) else { return 0.0 };
    let distance = |channel: usize| {
        let deviation = (variance[channel] + f64::EPSILON).sqrt();
        let shift = (f64::from(old_mean[channel]) - mean[channel]) / deviation;
        let stretch = f64::from(old_variance[channel]).max(0.0).sqrt() / deviation - 1.0;
        shift * shift + stretch * stretch
    };
    let channels = mean.len().min(old_mean.len()).min(old_variance.len());
    ((0..channels).map(distance).sum::<f64>() / channels.max(1) as f64).sqrt()
}

/// Count, mean and sum of squared distances from it of each channel, joined batch by batch.
#[derive(Debug, Default)]
struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Source: Chan, Golub and LeVeque, 1979: two sets of samples joined without loss of digits.
    fn add(&mut self, values: &Tensor) -> Result<(), SurgeryError> {
        let elements = values
            .to_f32()
            .map_err(|source| SurgeryError::Tensor { tensor: "input of a BatchNormalization".into(), source })?;
        let channels = values.shape.get(1).copied().unwrap_or(1);
        let inner: usize = values.shape.iter().skip(2).product();
        let count = elements.len() as f64 / channels.max(1) as f64;
        if count == 0.0 {
            return Ok(());
        }
        self.mean.resize(channels, 0.0);
        self.squares.resize(channels, 0.0);
        for channel in 0..channels {
            let all = || elements.chunks_exact(inner).skip(channel).step_by(channels).flatten().map(|v| f64::from(*v));
            let mean = all().sum::<f64>() / count;
            let squares: f64 = all().map(|value| (value - mean).powi(2)).sum();
            let delta = mean - self.mean[channel];
            let total = self.count + count;
            self.mean[channel] += delta * count / total;
            self.squares[channel] += squares + delta * delta * self.count * count / total;
        }
        self.count += count;
        Ok(())
    }

    /// Means and variances.
    fn finish(self) -> (Vec<f64>, Vec<f64>) {
        let variance = self.squares.iter().map(|squares| squares / self.count.max(1.0)).collect();
        (self.mean, variance)
    }
}

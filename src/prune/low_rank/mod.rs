//! Layers replaced by products of smaller ones: matrices and 1 × 1 convolutions by two factors (truncated SVD), other
//! convolutions by a kernel between 1 × 1 convolutions (Tucker-2). The function changes, so that the result is verified and
//! its distance from the original measured.

mod layer;
mod replace;
mod spectrum;

use crate::cost;
use crate::onnx::model::Model;
use crate::spec::prune::Target;
use crate::spec::report::{Frozen, LayerReport, PruneReport};

use super::allocate::AllocateError;
use super::names::Excluded;
use super::{PruneError, Pruned, Run};
use layer::{Factors, Layer};
pub use replace::ReplaceError;
use replace::Replaced;
use spectrum::Keep;

/// Halvings of the energy in search of a target; one more moves it by less than the smallest step of a rank.
const HALVINGS: usize = 20;

impl Run<'_> {
    /// Factors the layers that become smaller, all at the same energy or share of their rank.
    ///
    /// Errors: no layer becomes smaller, or a target is missed with every layer at rank 1.
    pub(super) fn low_rank(&self) -> Result<Pruned, PruneError> {
        let exclude = Excluded::new(&self.spec.exclude, &self.spec.exclude_operators, self.graph)?;
        let (layers, mut frozen) = layer::layers(self.graph, &exclude)?;
        let keep = match Keep::of(self.spec.target) {
            Some(keep) => keep,
            None => self.searched(&layers, &frozen)?,
        };
        let chosen = smaller(&layers, keep);
        for (layer, factors) in larger(&layers, keep) {
            let reason = format!(
                "factors would take {} parameters in place of {}",
                layer.parameters_of(factors),
                layer.parameters()
            );
            let operator = Some(self.graph.node(layer.node).label());
            frozen.push(Frozen { what: layer.weight.to_owned(), operator, reason });
        }
        if chosen.is_empty() {
            let target = format!("{} {}", self.spec.target.name(), self.spec.target.share().unwrap_or_default());
            let (best, because) = ("no layer that becomes smaller".to_owned(), super::left_alone(&frozen));
            return Err(AllocateError::Unreachable { target, best, because }.into());
        }
        let Replaced { model, energies } = replace::replace(self.model, self.graph, &chosen)?;
        let (certificate, output_error) = self.proved(&model)?;
        let report = self.report(&model, certificate);
        let prunable: usize = layers.iter().map(Layer::parameters).sum();
        let (before, after) = (report.size_before.parameters, report.size_after.parameters);
        let told = chosen.iter().zip(&energies).map(|((layer, factors), kept)| self.told(layer, *factors, *kept));
        let report = PruneReport {
            criterion: "energy".into(),
            removed: before.saturating_sub(after) as f64 / prunable.max(1) as f64,
            layers: told.collect(),
            coverage_parameters: prunable as f64 / before.max(1) as f64,
            frozen,
            output_error,
            ..report
        };
        Ok(Pruned { model, plan: None, report, findings: Vec::new() })
    }

    /// The most energy with which a share of the parameters or multiply-accumulates is met.
    fn searched(&self, layers: &[Layer<'_>], frozen: &[Frozen]) -> Result<Keep, PruneError> {
        let whole_parameters = cost::parameter_count(self.model);
        let macs = |model: &Model| cost::macs(model, &self.spec.example_shapes).map_err(AllocateError::MacsUnknown);
        let kept = |energy: f64| -> Result<f64, PruneError> {
            let chosen = smaller(layers, Keep::Energy(energy));
            Ok(if let Target::MacsKept(_) = self.spec.target {
                let model = replace::replace(self.model, self.graph, &chosen)?.model;
                macs(&model)? as f64 / macs(self.model)?.max(1) as f64
            } else {
                let gone = chosen.iter().map(|(layer, factors)| layer.parameters() - layer.parameters_of(*factors));
                1.0 - gone.sum::<usize>() as f64 / whole_parameters.max(1) as f64
            })
        };
        let share = match self.spec.target {
            Target::ParamsKept(share) | Target::MacsKept(share) => share,
            other => return Err(AllocateError::Unsuitable { target: other.name() }.into()),
        };
        let least = kept(0.0)?;
        if least > share {
            let (target, best) = (format!("{} {share}", self.spec.target.name()), format!("{least:.4}"));
            return Err(AllocateError::Unreachable { target, best, because: super::left_alone(frozen) }.into());
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if kept(middle)? <= share {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(Keep::Energy(low))
    }

    fn told(&self, layer: &Layer<'_>, factors: Factors, energy_kept: f64) -> LayerReport {
        let (kind, ranks) = match factors {
            Factors::Matrix { rank } => ("svd", vec![rank]),
            Factors::Both { outputs, inputs } => ("tucker2", vec![inputs, outputs]),
            Factors::Outputs { rank } => ("tucker2_outputs", vec![rank]),
            Factors::Inputs { rank } => ("tucker2_inputs", vec![rank]),
        };
        LayerReport {
            name: layer.weight.to_owned(),
            operator: self.graph.node(layer.node).label(),
            kind: kind.into(),
            ranks: ranks.into_iter().map(|rank| rank as u64).collect(),
            outputs: layer.outputs as u64,
            inputs: layer.inputs as u64,
            energy_kept,
            parameters_before: layer.parameters() as u64,
            parameters_after: layer.parameters_of(factors) as u64,
        }
    }
}

fn all<'l, 'g>(layers: &'l [Layer<'g>], keep: Keep) -> impl Iterator<Item = (&'l Layer<'g>, Factors)> {
    layers.iter().map(move |layer| (layer, layer.factors(keep)))
}

/// Layers whose factors have fewer parameters.
fn smaller<'l, 'g>(layers: &'l [Layer<'g>], keep: Keep) -> Vec<(&'l Layer<'g>, Factors)> {
    all(layers, keep).filter(|(layer, factors)| layer.parameters_of(*factors) < layer.parameters()).collect()
}

/// Layers whose factors do not.
fn larger<'l, 'g>(layers: &'l [Layer<'g>], keep: Keep) -> Vec<(&'l Layer<'g>, Factors)> {
    all(layers, keep).filter(|(layer, factors)| layer.parameters_of(*factors) >= layer.parameters()).collect()
}

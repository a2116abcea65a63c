//! The scale of batch normalisations.

use super::l1::L1;
use super::tally::Tallies;
use super::weights::Weight;
use super::{ImportanceError, Scores};
use crate::onnx::graph::Graph;
use crate::prune::coupling::Coupling;
use crate::spec::prune::{Normalizer, Reduction};

/// `Σ |γ| ÷ n` over the scales of the `BatchNormalization`s that a unit goes through; `√(Σ w² ÷ n)` of its weights for the
/// groups with a unit that goes through none, which a note names. Normalised so that both can be compared.
///
/// Units: ≥ 0, higher = keep.
/// Errors: [`ImportanceError::NoScale`] where no unit goes through one, for then all is another criterion.
/// Source: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017. Differs: units of
/// residual streams go through several normalisations, all of which count.
pub fn scores(
    graph: &Graph<'_>,
    coupling: &Coupling,
    normalizer: Normalizer,
    reduction: Reduction,
) -> Result<Scores, ImportanceError> {
    let mut tallies = Tallies::new(coupling);
    for weight in Weight::all(graph, coupling) {
        if weight.slot == 1 && graph.node(weight.node).is("BatchNormalization") {
            weight.read(graph, |values| tallies.add(&weight, values, &L1))?;
        }
    }
    let found: Vec<Option<f64>> = coupling.units.iter().map(|unit| tallies.score(unit, reduction, &L1)).collect();
    if !coupling.units.is_empty() && found.iter().all(Option::is_none) {
        return Err(ImportanceError::NoScale);
    }
    let why = "they go through no BatchNormalization";
    super::with_norms(graph, coupling, found, why, normalizer, reduction)
}

//! The scale of batch normalisations.

use super::l1::L1;
use super::l2::L2;
use super::tally::{Tallies, by_magnitude};
use super::weights::Weight;
use super::{ImportanceError, Scores};
use crate::onnx::graph::Graph;
use crate::prune::coupling::Coupling;
use crate::spec::prune::{Normalizer, Reduction};

/// `Σ |γ| ÷ n` over the scales of the `BatchNormalization`s that a unit goes through; `√(Σ w² ÷ n)` of its weights for the
/// groups with a unit that goes through none, which a note names. Normalised so that both can be compared.
///
/// Units: ≥ 0, higher = keep.
/// Errors: [`ImportanceError::NoScale`] where no group goes through one, for then all is another criterion.
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
    let without: Vec<usize> = (0..coupling.groups.len())
        .filter(|group| found[coupling.groups[*group].units.clone()].iter().any(Option::is_none))
        .collect();
    if without.len() == coupling.groups.len() && !without.is_empty() {
        return Err(ImportanceError::NoScale);
    }
    let mut of_units: Vec<f64> = found.into_iter().map(Option::unwrap_or_default).collect();
    let mut notes = Vec::new();
    if !without.is_empty() {
        let by_weight = by_magnitude(graph, coupling, &L2, reduction)?;
        for group in &without {
            let units = coupling.groups[*group].units.clone();
            of_units[units.clone()].copy_from_slice(&by_weight[units]);
        }
        let names: Vec<String> = without.iter().map(|group| format!("`{}`", coupling.name_of(*group))).collect();
        notes.push(format!(
            "scored by the norm of their weights, for they go through no BatchNormalization: {}",
            names.join(", ")
        ));
        if normalizer == Normalizer::None {
            notes.push("scales and norms were compared as they are; a normalizer makes them comparable".into());
        }
    }
    Ok(Scores { of_units, notes })
}

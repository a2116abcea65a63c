//! How much each unit matters. A criterion gives every index of every weight a magnitude ([`tally`]), or looks at whole
//! groups; what it finds is reduced onto units and normalised within their group ([`normalize`]), so that groups can be
//! compared.
//!
//! One criterion a file, one list. Scores are ≥ 0 before normalisation, higher stays. NaN is an error, never a score.

mod activation_mean;
mod apoz;
mod bn_scale;
mod contraction;
mod dequantized;
mod fisher;
mod fpgm;
mod gradients;
mod l1;
mod l2;
mod lamp;
mod loss_change;
mod normalize;
mod obs;
mod observed;
mod random;
mod single;
mod tally;
mod taylor;
mod wanda;
mod weights;

pub use contraction::{Operand, is_contracted, is_produced, operand};
pub use observed::Evidence;
pub use single::Elements;

use crate::onnx::graph::Graph;
use crate::onnx::tensor::TensorError;
use crate::spec::prune::{Criterion, Normalizer, PruneSpec, Reduction};

use super::coupling::Coupling;
use super::observe::ObserveError;
use loss_change::LossChange;

/// Why units cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ImportanceError {
    #[error("the weight `{tensor}` cannot be read: {source}")]
    Weight { tensor: String, source: TensorError },
    #[error("the weight `{tensor}` holds a value that is not a number")]
    NotANumber { tensor: String },
    #[error(
        "`bn_scale` needs channels that go through a BatchNormalization, and here none does; exporters fold it into the \
         convolutions, whose weights `l2` scores"
    )]
    NoScale,
    #[error("`{criterion}` scores channels, not single weights")]
    ChannelsOnly { criterion: &'static str },
    #[error("`{criterion}` looks at what the model does on samples, and there is no dataset")]
    NoData { criterion: &'static str },
    #[error("`{criterion}` needs gradients, and there are none: {reason}")]
    NoGradient { criterion: &'static str, reason: String },
    #[error("the dataset has samples of class {label}, but the model tells {classes} classes apart")]
    Label { label: i64, classes: usize },
    #[error(transparent)]
    Observe(#[from] ObserveError),
}

/// How a criterion sees weights: magnitudes are added over the weights of a unit and finished once.
///
/// Weights come in runs, so that a criterion is asked once for many of them and its loops are compiled for it.
pub trait Magnitude: Sync {
    /// What one weight adds; NaN for NaN. Below 0 only where [`Self::finish`] makes a score ≥ 0 of the sum.
    fn of(&self, weight: f32) -> f64;

    /// The score of a sum over `count` weights.
    fn finish(&self, sum: f64, count: u64) -> f64;

    /// Makes the scores of a group relative to each other, where the criterion does.
    fn compare(&self, _scores: &mut [f64]) {}

    /// The sum over a run of weights that belong to one index. Lanes keep the additions from waiting for each other; their
    /// number is fixed, so that the result is the same everywhere.
    fn of_run(&self, run: &[f32]) -> f64 {
        const LANES: usize = 8;
        let (chunks, rest) = run.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for chunk in chunks {
            for (lane, weight) in lanes.iter_mut().zip(chunk) {
                *lane += self.of(*weight);
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|weight| self.of(*weight)).sum::<f64>()
    }

    /// Adds a row in which every weight belongs to an index of its own.
    fn add_row(&self, row: &[f32], sums: &mut [f64]) {
        for (sum, weight) in sums.iter_mut().zip(row) {
            *sum += self.of(*weight);
        }
    }
}

/// Scores of single weights by what samples do; `None` for constants of which nothing was seen.
type ObserveWeights = fn(&[Elements<'_>], &Evidence<'_>) -> Result<Vec<Option<Vec<f64>>>, ImportanceError>;

/// Scores by what samples do; `None` where a unit was not seen.
type Observe = fn(&Graph<'_>, &Coupling, &Evidence<'_>, Reduction) -> Result<Vec<Option<f64>>, ImportanceError>;

/// What a criterion scores by.
enum Scorer {
    Magnitude(&'static dyn Magnitude),
    /// All weights of a group at once.
    Groups(fn(&Graph<'_>, &Coupling, Reduction) -> Result<Vec<f64>, ImportanceError>),
    /// Other constants than weights, with something to tell.
    Constants(fn(&Graph<'_>, &Coupling, Normalizer, Reduction) -> Result<Scores, ImportanceError>),
    /// What units do on samples, and single weights where it tells them apart.
    Observed(Observe, Option<ObserveWeights>),
    /// What a loss on samples changes by.
    Differentiated(LossChange),
    /// What the layers that read units lose without them, on samples.
    Losses(fn(&Graph<'_>, &Coupling, &Evidence<'_>) -> Result<Scores, ImportanceError>),
    /// One draw a unit, from a seed.
    Draw(fn(seed: u64, units: usize) -> Vec<f64>),
}

/// The scorer of each criterion.
fn scorer(criterion: Criterion) -> Scorer {
    match criterion {
        Criterion::L1 => Scorer::Magnitude(&l1::L1),
        Criterion::L2 => Scorer::Magnitude(&l2::L2),
        Criterion::Lamp => Scorer::Magnitude(&lamp::Lamp),
        Criterion::Fpgm => Scorer::Groups(fpgm::scores),
        Criterion::BnScale => Scorer::Constants(bn_scale::scores),
        Criterion::ActivationMean => Scorer::Observed(activation_mean::scores, None),
        Criterion::Apoz => Scorer::Observed(apoz::scores, None),
        Criterion::Wanda => Scorer::Observed(wanda::scores, Some(wanda::of_weights)),
        Criterion::Taylor => Scorer::Differentiated(taylor::TAYLOR),
        Criterion::Fisher => Scorer::Differentiated(fisher::FISHER),
        Criterion::Obs => Scorer::Losses(obs::scores),
        Criterion::Random => Scorer::Draw(random::draw),
    }
}

/// How much each unit matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// By unit, higher stays; comparable across groups.
    pub of_units: Vec<f64>,
    /// What was done otherwise than asked for, each a sentence.
    pub notes: Vec<String>,
    /// Whether they are what is lost with each unit, so that they add up and are worth what a unit costs.
    pub are_losses: bool,
}

/// How units are scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    pub criterion: Criterion,
    pub normalizer: Normalizer,
    pub reduction: Reduction,
    pub seed: u64,
}

impl Scoring {
    /// As a spec asks for.
    pub fn of(spec: &PruneSpec) -> Self {
        Self { criterion: spec.criterion, normalizer: spec.normalizer, reduction: spec.reduction, seed: spec.seed }
    }

    /// The score of every unit.
    ///
    /// Members are the weights of contractions (convolutions and matrix products); a unit without one is scored by all its
    /// constants. Errors: a weight that cannot be read or is not a number; nothing that the criterion looks at.
    /// Cost: one pass over each weight for each of its axes that can be cut, for criteria of single weights.
    pub fn scores(
        &self,
        graph: &Graph<'_>,
        coupling: &Coupling,
        evidence: Option<&Evidence<'_>>,
    ) -> Result<Scores, ImportanceError> {
        let plain = |of_units| Scores { of_units, ..Scores::default() };
        let needed = || evidence.ok_or(ImportanceError::NoData { criterion: self.criterion.as_str() });
        let mut scores = match scorer(self.criterion) {
            Scorer::Draw(draw) => plain(draw(self.seed, coupling.units.len())),
            Scorer::Magnitude(magnitude) => plain(tally::by_magnitude(graph, coupling, magnitude, self.reduction)?),
            Scorer::Groups(scores) => plain(scores(graph, coupling, self.reduction)?),
            Scorer::Observed(scores, _) => {
                let evidence = needed()?;
                let found = scores(graph, coupling, evidence, self.reduction)?;
                let why = "no layer that can be observed takes them as they are";
                let mut scores = with_norms(graph, coupling, found, why, self.normalizer, self.reduction)?;
                scores.notes.splice(..0, observed::hidden(observed::unobserved(graph, coupling, evidence)));
                scores
            }
            Scorer::Differentiated(change) => {
                let (found, notes) = change.of_units(graph, coupling, needed()?, self.reduction, self.seed)?;
                let why = "no gradient reaches the weights of a channel";
                let mut scores = with_norms(graph, coupling, found, why, self.normalizer, self.reduction)?;
                scores.notes.splice(..0, notes);
                scores
            }
            Scorer::Constants(scores) => scores(graph, coupling, self.normalizer, self.reduction)?,
            Scorer::Losses(scores) => scores(graph, coupling, needed()?)?,
        };
        for group in &coupling.groups {
            normalize::normalize(&mut scores.of_units[group.units.clone()], self.normalizer);
        }
        scores.are_losses &= self.normalizer == Normalizer::None;
        Ok(scores)
    }
}

/// Scores with those of the norm of the weights for groups with a unit that has none, which a note names.
fn with_norms(
    graph: &Graph<'_>,
    coupling: &Coupling,
    found: Vec<Option<f64>>,
    why: &str,
    normalizer: Normalizer,
    reduction: Reduction,
) -> Result<Scores, ImportanceError> {
    let without: Vec<usize> = (0..coupling.groups.len())
        .filter(|group| found[coupling.groups[*group].units.clone()].iter().any(Option::is_none))
        .collect();
    let mut scores =
        Scores { of_units: found.into_iter().map(Option::unwrap_or_default).collect(), ..Scores::default() };
    if without.is_empty() {
        return Ok(scores);
    }
    let by_weight = tally::by_magnitude(graph, coupling, &l2::L2, reduction)?;
    // Where nothing makes groups comparable, norms are brought to the mean of the other scores.
    let factor = if normalizer == Normalizer::None {
        let norms: Vec<f64> = without
            .iter()
            .flat_map(|group| coupling.groups[*group].units.clone())
            .map(|unit| by_weight[unit])
            .collect();
        let others = (0..coupling.groups.len()).filter(|group| !without.contains(group));
        let others: Vec<f64> =
            others.flat_map(|group| coupling.groups[group].units.clone()).map(|unit| scores.of_units[unit]).collect();
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        let factor = mean(&others) / mean(&norms);
        if factor.is_finite() && factor > 0.0 { factor } else { 1.0 }
    } else {
        1.0
    };
    for group in &without {
        for unit in coupling.groups[*group].units.clone() {
            scores.of_units[unit] = factor * by_weight[unit];
        }
    }
    let names: Vec<String> = without.iter().map(|group| format!("`{}`", coupling.name_of(*group))).collect();
    scores.notes.push(format!("scored by the norm of their weights, for {why}: {}", names.join(", ")));
    if factor != 1.0 {
        scores.notes.push("these norms were brought to the mean of the other scores".into());
    }
    Ok(scores)
}

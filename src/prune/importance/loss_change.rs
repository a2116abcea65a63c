//! What a loss changes by when weights go, from its gradients on samples: `Σ g · w` over what goes, squared, and the mean
//! of that over all gradients. Squared before the mean, for gradients of a trained model point all ways and cancel out.

use std::borrow::Cow;
use std::collections::HashSet;

use super::gradients::{Over, gradients};
use super::observed::Evidence;
use super::single::Elements;
use super::tally::Tallies;
use super::weights::Weight;
use super::{ImportanceError, Magnitude};
use crate::autodiff::parameters::parameters;
use crate::onnx::graph::Graph;
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::Coupling;
use crate::spec::prune::Reduction;

/// The score of each element of each constant; `None` of those without a gradient.
type OfWeights = Vec<Option<Vec<f64>>>;

/// A criterion by the change of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossChange {
    pub criterion: &'static str,
    pub over: Over,
}

/// Products of weights and gradients: their sum is squared, however many they are.
#[derive(Clone, Copy, Debug)]
struct Change;

impl Magnitude for Change {
    fn of(&self, product: f32) -> f64 {
        f64::from(product)
    }

    fn finish(&self, sum: f64, _count: u64) -> f64 {
        sum * sum
    }
}

impl LossChange {
    /// The units' scores, and notes; `None` for units that no gradient reaches. As with magnitudes, the weights of
    /// contractions count, and all constants of a unit where it has none.
    ///
    /// Errors: nothing has a gradient, the model does not run, or a weight or gradient is not a number.
    /// Cost: a pass over the weights for each gradient, beside the gradients themselves.
    pub fn of_units(
        self,
        graph: &Graph<'_>,
        coupling: &Coupling,
        evidence: &Evidence<'_>,
        reduction: Reduction,
        seed: u64,
    ) -> Result<(Vec<Option<f64>>, Vec<String>), ImportanceError> {
        let weights = Weight::all(graph, coupling);
        let mut values: Vec<Cow<'_, [f32]>> = Vec::with_capacity(weights.len());
        for weight in &weights {
            let read = weight.read(graph, |values| Ok(values.to_vec()))?;
            values.push(read.unwrap_or_default().into());
        }
        // Running statistics and the like are cut along, but no loss is differentiated by them.
        let learned: HashSet<String> = parameters(graph).into_iter().map(|parameter| parameter.name).collect();
        let is_weight = |weight: &&Weight<'_>| weight.contracted || learned.contains(weight.name);
        let mut names: Vec<&str> = weights.iter().filter(is_weight).map(|weight| weight.name).collect();
        names.sort_unstable();
        names.dedup();
        let mut total = vec![(0.0, 0_u64); coupling.units.len()];
        let notes = gradients(self, evidence, &names, seed, |found, gradients| {
            let (mut contracted, mut others) = (Tallies::new(coupling), Tallies::new(coupling));
            for (weight, values) in weights.iter().zip(&values) {
                let Some(at) = found.iter().position(|name| name == weight.name) else { continue };
                let into = if weight.contracted { &mut contracted } else { &mut others };
                into.add(weight, &products(weight.name, values, &gradients[at])?, &Change)?;
            }
            for (unit, (sum, count)) in coupling.units.iter().zip(&mut total) {
                let score = contracted.score(unit, reduction, &Change);
                if let Some(score) = score.or_else(|| others.score(unit, reduction, &Change)) {
                    (*sum, *count) = (*sum + score, *count + 1);
                }
            }
            Ok(())
        })?;
        let mean = |(sum, count): (f64, u64)| (count > 0).then(|| sum / count as f64);
        Ok((total.into_iter().map(mean).collect(), notes))
    }

    /// The scores of single weights, and notes; `None` for constants that no gradient reaches.
    ///
    /// Errors: as [`Self::of_units`].
    pub fn of_weights(
        self,
        constants: &[Elements<'_>],
        evidence: &Evidence<'_>,
        seed: u64,
    ) -> Result<(OfWeights, Vec<String>), ImportanceError> {
        let names: Vec<&str> = constants.iter().map(|constant| constant.name).collect();
        let mut total: Vec<Option<Vec<f64>>> = vec![None; constants.len()];
        let mut count = 0_u64;
        let notes = gradients(self, evidence, &names, seed, |found, gradients| {
            for (constant, total) in constants.iter().zip(&mut total) {
                let Some(at) = found.iter().position(|name| name == constant.name) else { continue };
                let products = products(constant.name, constant.values, &gradients[at])?;
                let total = total.get_or_insert_with(|| vec![0.0; products.len()]);
                total.iter_mut().zip(&products).for_each(|(sum, product)| *sum += f64::from(*product).powi(2));
            }
            count += 1;
            Ok(())
        })?;
        for score in total.iter_mut().flatten().flatten() {
            *score /= count.max(1) as f64;
        }
        Ok((total, notes))
    }
}

/// Weights times their gradients.
fn products(name: &str, weights: &[f32], gradients: &Tensor) -> Result<Vec<f32>, ImportanceError> {
    let unreadable = |source| ImportanceError::Weight { tensor: name.to_owned(), source };
    let gradients = gradients.to_f32().map_err(unreadable)?;
    let products: Vec<f32> = weights.iter().zip(gradients.iter()).map(|(weight, gradient)| weight * gradient).collect();
    if products.iter().any(|product| product.is_nan()) {
        return Err(ImportanceError::NotANumber { tensor: name.to_owned() });
    }
    Ok(products)
}

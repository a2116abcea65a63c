//! Scores of single weights, constant by constant; the smallest become zero first.

use super::contraction::Operand;
use super::l1::L1;
use super::observed::Evidence;
use super::{ImportanceError, Magnitude as _, Scorer, Scoring, scorer};

/// A constant whose weights are scored one by one.
#[derive(Clone, Debug)]
pub struct Elements<'w> {
    pub name: &'w str,
    pub shape: &'w [usize],
    pub values: &'w [f32],
    /// What it is multiplied with wherever it is used, with axes of the constant itself; `None` where that is not told.
    pub operands: Option<Vec<Operand<'w>>>,
}

/// How much each weight matters.
#[derive(Clone, Debug, Default)]
pub struct WeightScores {
    /// By constant and position, higher stays; comparable across constants.
    pub of_weights: Vec<Vec<f64>>,
    /// What was done otherwise than asked for, each a sentence.
    pub notes: Vec<String>,
}

impl Scoring {
    /// The score of every weight of some constants.
    ///
    /// Errors: the criterion does not tell single weights apart, or what it looks at is not there.
    pub fn of_weights(
        &self,
        constants: &[Elements<'_>],
        evidence: Option<&Evidence<'_>>,
    ) -> Result<WeightScores, ImportanceError> {
        let criterion = self.criterion.as_str();
        let evidence = || evidence.ok_or(ImportanceError::NoData { criterion });
        match scorer(self.criterion) {
            Scorer::Magnitude(magnitude) => {
                let of = |constant: &Elements<'_>| {
                    let mut scores: Vec<f64> =
                        constant.values.iter().map(|value| magnitude.finish(magnitude.of(*value), 1)).collect();
                    magnitude.compare(&mut scores);
                    scores
                };
                Ok(WeightScores { of_weights: constants.iter().map(of).collect(), notes: Vec::new() })
            }
            Scorer::Draw(draw) => {
                let mut all = draw(self.seed, constants.iter().map(|constant| constant.values.len()).sum()).into_iter();
                let of = |constant: &Elements<'_>| all.by_ref().take(constant.values.len()).collect();
                Ok(WeightScores { of_weights: constants.iter().map(of).collect(), notes: Vec::new() })
            }
            Scorer::Observed(_, Some(of_weights)) => {
                let found = of_weights(constants, evidence()?)?;
                Ok(with_magnitudes(constants, found, "what they are multiplied with is not told"))
            }
            Scorer::Differentiated(change) => {
                let (found, notes) = change.of_weights(constants, evidence()?, self.seed)?;
                let mut scores = with_magnitudes(constants, found, "no gradient reaches them");
                scores.notes.splice(..0, notes);
                Ok(scores)
            }
            Scorer::Groups(_) | Scorer::Constants(_) | Scorer::Observed(_, None) | Scorer::Losses(_) => {
                Err(ImportanceError::ChannelsOnly { criterion })
            }
        }
    }
}

/// Scores with absolute values for constants that have none, brought to the mean of the others so that they can be
/// compared; a note names them.
fn with_magnitudes(constants: &[Elements<'_>], found: Vec<Option<Vec<f64>>>, why: &str) -> WeightScores {
    let mean = |scores: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = scores.fold((0.0, 0_u64), |(sum, count), score| (sum + score, count + 1));
        sum / count.max(1) as f64
    };
    let scored = mean(&mut found.iter().flatten().flatten().copied());
    let mut without = Vec::new();
    let of = |(constant, scores): (&Elements<'_>, Option<Vec<f64>>)| {
        scores.unwrap_or_else(|| {
            without.push(format!("`{}`", constant.name));
            let absolute = mean(&mut constant.values.iter().map(|value| L1.of(*value)));
            let factor = if scored > 0.0 && absolute > 0.0 { scored / absolute } else { 1.0 };
            constant.values.iter().map(|value| factor * L1.of(*value)).collect()
        })
    };
    let of_weights = constants.iter().zip(found).map(of).collect();
    let mut notes = Vec::new();
    if !without.is_empty() {
        notes.push(format!(
            "scored by their absolute values, brought to the mean of the other scores, for {why}: {}",
            without.join(", ")
        ));
    }
    WeightScores { of_weights, notes }
}

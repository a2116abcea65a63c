//! Samples that are made where there is no dataset: what they are drawn from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Samples to calibrate on that are made by a seed, for want of a dataset. Sizes of free axes other than the batch are those
/// of `example_shapes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Synthetic {
    /// What the inputs are drawn from, by name. Floating-point inputs are standard normal by default, booleans fair coins;
    /// integers have to be given a range.
    pub inputs: BTreeMap<String, Distribution>,
    /// Moves the drawn floating-point inputs until the values before each BatchNormalization have the means and variances
    /// that it keeps from training, as near as a fixed number of gradient steps brings them. A model without
    /// BatchNormalization is refused.
    pub match_batch_norm: bool,
}

/// What the elements of an input are drawn from, each by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Normal numbers, for floating-point inputs.
    Normal {
        #[serde(default)]
        mean: f64,
        #[serde(default = "one")]
        std: f64,
    },
    /// Numbers between two bounds, for floating-point inputs.
    Uniform { low: f64, high: f64 },
    /// Whole numbers from one up to below another, for inputs of any type: token ids, masks, bytes of images.
    Integers {
        #[serde(default)]
        from: i64,
        below: i64,
    },
}

fn one() -> f64 {
    1.0
}

impl Synthetic {
    /// What cannot be drawn from, as a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        for (input, distribution) in &self.inputs {
            let wrong = match *distribution {
                Distribution::Normal { mean, std } if !(mean.is_finite() && std.is_finite() && std > 0.0) => {
                    "`std` must be above 0"
                }
                Distribution::Uniform { low, high } if !((high - low).is_finite() && low < high) => {
                    "`low` must be below `high`"
                }
                Distribution::Integers { from, below } if from >= below => "`from` must be less than `below`",
                _ => continue,
            };
            return Err(format!("of the input `{input}`: {wrong}"));
        }
        Ok(())
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Normal { mean, std } => write!(f, "normal with mean {mean} and deviation {std}"),
            Self::Uniform { low, high } => write!(f, "uniform from {low} to {high}"),
            Self::Integers { from, below } => write!(f, "integers from {from} to {}", below - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_read_with_their_defaults_and_checked() {
        let read = |text: &str| serde_json::from_str::<Distribution>(text);
        assert_eq!(read(r#"{"normal": {}}"#).unwrap(), Distribution::Normal { mean: 0.0, std: 1.0 });
        assert_eq!(read(r#"{"integers": {"below": 9}}"#).unwrap(), Distribution::Integers { from: 0, below: 9 });
        assert!(read(r#"{"normal": {"sigma": 1}}"#).is_err() && read(r#"{"uniform": {"low": 1}}"#).is_err());
        for bad in [
            r#"{"normal": {"std": 0}}"#,
            r#"{"uniform": {"low": 1, "high": 1}}"#,
            r#"{"integers": {"from": 3, "below": 3}}"#,
        ] {
            let inputs = [("x".to_owned(), read(bad).unwrap())].into();
            let message = Synthetic { inputs, ..Synthetic::default() }.check().unwrap_err();
            assert!(message.starts_with("of the input `x`"), "{message}");
        }
    }
}

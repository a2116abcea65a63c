//! What widths are rounded to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What widths of cut axes are multiples of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a number or `measured`")]
pub enum RoundTo {
    /// Of this; 1 turns rounding off.
    Multiple(u32),
    Measured(ByMeasurement),
}

/// Of the number with which the cut model takes the least time for each multiply-accumulate on the worker's ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByMeasurement {
    Measured,
}

impl RoundTo {
    pub const MEASURED: Self = Self::Measured(ByMeasurement::Measured);

    /// The number, where one is given.
    pub fn multiple(self) -> Option<u32> {
        match self {
            Self::Multiple(multiple) => Some(multiple),
            Self::Measured(_) => None,
        }
    }
}

impl Default for RoundTo {
    fn default() -> Self {
        Self::Multiple(8)
    }
}

impl From<u32> for RoundTo {
    fn from(multiple: u32) -> Self {
        Self::Multiple(multiple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_the_word_is_taken_and_nothing_else() {
        for (text, expected) in [("16", RoundTo::Multiple(16)), ("\"measured\"", RoundTo::MEASURED)] {
            assert_eq!(serde_json::from_str::<RoundTo>(text).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        }
        for text in ["\"fast\"", "-1", "1.5", "null"] {
            let error = serde_json::from_str::<RoundTo>(text).unwrap_err();
            assert!(error.to_string().contains("a number or `measured`"), "{error}");
        }
    }
}

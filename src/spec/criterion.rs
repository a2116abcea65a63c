//! How channels or weights are scored, and how scores are brought together and compared.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How channels or weights are scored; higher scores stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Sum of absolute weights.
    L1,
    /// Euclidean norm of the weights.
    #[default]
    L2,
    /// Squared weights, over the sum of those that are not smaller in the same group (structured) or tensor (unstructured).
    /// Compares across layers by itself.
    Lamp,
    /// Mean distance to the other channels of the group: what lies in the middle of the others can be replaced by them
    /// (structured only).
    Fpgm,
    /// The scale of the batch normalisations that the channels go through; groups without one are scored by `l2`, which
    /// the report's notes say (structured only).
    BnScale,
    /// Mean absolute activation on the samples of the dataset, as the next layers read it (structured only).
    ActivationMean,
    /// Share of the activations that are not zero, on the samples of the dataset (structured only).
    Apoz,
    /// Absolute weights, each times the norm of the activations that it is multiplied with, on the samples of the dataset.
    Wanda,
    /// The square of what the loss changes by to the first order when the weights go, by gradients on batches of the
    /// dataset. The loss is the cross-entropy where the dataset has labels for the model's scores, otherwise half of the
    /// squared norm of the output.
    Taylor,
    /// The same on single samples, which is the diagonal of the Fisher information. Without labels they are drawn from the
    /// model's own scores; outputs that are no scores of classes are given unit noise in the place of labels.
    Fisher,
    /// The error that remains when the channel goes and the layers that read it are repaired in closed form, on the samples
    /// of the dataset, as a share of what their outputs vary; errors of several layers are added, so that `reduction` does not
    /// matter. Loss for what is saved decides where to cut. The default with a dataset (structured only).
    Obs,
    /// A seeded draw; the baseline that any criterion has to beat.
    Random,
}

impl Criterion {
    /// Every criterion, in the order of the documentation.
    pub const ALL: [Self; 12] = [
        Self::L1,
        Self::L2,
        Self::Lamp,
        Self::Fpgm,
        Self::BnScale,
        Self::ActivationMean,
        Self::Apoz,
        Self::Wanda,
        Self::Taylor,
        Self::Fisher,
        Self::Obs,
        Self::Random,
    ];

    /// The criterion as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Lamp => "lamp",
            Self::Fpgm => "fpgm",
            Self::BnScale => "bn_scale",
            Self::ActivationMean => "activation_mean",
            Self::Apoz => "apoz",
            Self::Wanda => "wanda",
            Self::Taylor => "taylor",
            Self::Fisher => "fisher",
            Self::Obs => "obs",
            Self::Random => "random",
        }
    }

    /// Whether it can tell single weights apart, and not only channels.
    #[must_use]
    pub fn scores_weights(self) -> bool {
        matches!(self, Self::L1 | Self::L2 | Self::Lamp | Self::Wanda | Self::Taylor | Self::Fisher | Self::Random)
    }

    /// Whether it looks at what the model does on samples of a dataset.
    #[must_use]
    pub fn needs_data(self) -> bool {
        matches!(self, Self::ActivationMean | Self::Apoz | Self::Wanda | Self::Taylor | Self::Fisher | Self::Obs)
    }

    /// Whether single weights of one tensor compete only with those that are summed into the same output, as the criterion's
    /// source has it.
    #[must_use]
    pub fn compares_within_outputs(self) -> bool {
        self == Self::Wanda
    }

    /// What its scores are divided by where the request does not say.
    #[must_use]
    pub fn own_normalizer(self) -> Normalizer {
        match self {
            Self::Lamp | Self::Taylor | Self::Fisher | Self::Obs => Normalizer::None,
            _ => Normalizer::Mean,
        }
    }
}

/// What the scores of a group are divided by, so that groups of other sizes and scales can be compared with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalizer {
    /// Their mean.
    #[default]
    Mean,
    /// The largest of them.
    Max,
    /// Their sum.
    Sum,
    /// Their standard deviation, after the mean was taken away.
    Standardize,
    /// Nothing: scores are compared as they are.
    None,
}

impl Normalizer {
    /// Every normaliser, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Mean, Self::Max, Self::Sum, Self::Standardize, Self::None];
}

/// How the weights that go with a channel make one score: those of the layers that write it and of those that read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// All weights as if they were one tensor: a layer counts by the number of its weights.
    #[default]
    Pooled,
    /// The sum of the layers' scores.
    Sum,
    /// The mean of the layers' scores: each layer counts the same.
    Mean,
    /// The highest of the layers' scores: what one layer needs stays.
    Max,
    /// The layers that write the channel alone, pooled; all of them where none does.
    Producer,
}

impl Reduction {
    /// Every reduction, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Pooled, Self::Sum, Self::Mean, Self::Max, Self::Producer];
}

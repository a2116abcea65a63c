//! Standard operators that keep what they touch, and why.

/// Operators of the default domain that have no rule on purpose.
pub const LEFT_ALONE: &[(&str, &str)] = &[
    ("AffineGrid", "its axes are coordinates"),
    ("Bernoulli", RANDOM),
    ("BlackmanWindow", SIGNAL),
    ("ConcatFromSequence", SEQUENCE),
    ("DFT", SIGNAL),
    ("DeformConv", "its offsets are computed for groups of channels"),
    ("Det", "a determinant needs all rows and columns"),
    ("EyeLike", "its ones stand where row and column are equal"),
    ("HammingWindow", SIGNAL),
    ("HannWindow", SIGNAL),
    ("ImageDecoder", "it decodes an image"),
    ("MaxUnpool", "positions of maxima count over all channels"),
    ("MelWeightMatrix", SIGNAL),
    ("Multinomial", RANDOM),
    ("NegativeLogLikelihoodLoss", LOSS),
    ("NonMaxSuppression", "boxes are chosen by comparing them"),
    ("NonZero", "positions of elements are an output"),
    ("OneHot", "each index of its new axis is a class"),
    ("Optional", SEQUENCE),
    ("OptionalGetElement", SEQUENCE),
    ("OptionalHasElement", SEQUENCE),
    ("RandomNormalLike", RANDOM),
    ("RandomUniformLike", RANDOM),
    ("Range", "its elements are counted"),
    ("RegexFullMatch", TEXT),
    ("STFT", SIGNAL),
    ("SequenceAt", SEQUENCE),
    ("SequenceConstruct", SEQUENCE),
    ("SequenceEmpty", SEQUENCE),
    ("SequenceErase", SEQUENCE),
    ("SequenceInsert", SEQUENCE),
    ("SequenceLength", SEQUENCE),
    ("SequenceMap", SEQUENCE),
    ("SoftmaxCrossEntropyLoss", LOSS),
    ("SplitToSequence", SEQUENCE),
    ("StringConcat", TEXT),
    ("StringNormalizer", TEXT),
    ("StringSplit", TEXT),
    ("TensorScatter", "it keeps keys and values from run to run"),
    ("TfIdfVectorizer", TEXT),
    ("Unique", "elements are chosen by comparing them"),
];

const LOSS: &str = "each index of the class axis is a class";
const RANDOM: &str = "its result is drawn at random";
const SEQUENCE: &str = "it works on sequences or optional values, not on tensors";
const SIGNAL: &str = "each index of its axes is a time or a frequency";
const TEXT: &str = "it works on text";

/// Why an operator of the default domain keeps what it touches.
pub fn reason(op_type: &str) -> Option<&'static str> {
    LEFT_ALONE.iter().find(|(name, _)| *name == op_type).map(|(_, reason)| *reason)
}

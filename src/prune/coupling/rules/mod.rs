//! What each operator says about the axes of its tensors. One family a file, one list; an operator that is not listed
//! freezes what it touches.

mod attention;
mod bodies;
mod contraction;
mod einsum;
mod elementwise;
mod fused;
mod gather;
mod joining;
mod left_alone;
mod normalization;
mod padding;
mod places;
mod pooling;
mod positions;
mod qlinear;
mod quantized;
mod recurrent;
mod reduction;
mod reshaping;
mod shape;

pub use contraction::WINDOW;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::site::{Ruling, Site};
use crate::onnx::bodies::DOMAIN;

/// States the relations of one node.
pub type Rule = fn(&mut Site<'_, '_>) -> Ruling;

/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

/// Every family, with the domain of its operators.
const FAMILIES: &[(&str, &[(&str, Rule)])] = &[
    ("", attention::RULES),
    ("", contraction::RULES),
    ("", einsum::RULES),
    ("", elementwise::RULES),
    ("", gather::RULES),
    ("", joining::RULES),
    ("", normalization::RULES),
    ("", padding::RULES),
    ("", places::RULES),
    ("", pooling::RULES),
    ("", positions::RULES),
    ("", qlinear::RULES),
    ("", quantized::RULES),
    ("", recurrent::RULES),
    ("", reduction::RULES),
    ("", reshaping::RULES),
    ("", shape::RULES),
    (MICROSOFT, attention::FUSED),
    (DOMAIN, bodies::RULES),
    (MICROSOFT, fused::RULES),
    (MICROSOFT, qlinear::FUSED),
];

/// The rules, by domain and operator.
pub static RULES: LazyLock<HashMap<(&'static str, &'static str), Rule>> = LazyLock::new(|| {
    let family = |(domain, rules): &(&'static str, &'static [(&'static str, Rule)])| {
        let domain = *domain;
        rules.iter().map(move |(operator, rule)| ((domain, *operator), *rule))
    };
    FAMILIES.iter().flat_map(family).collect()
});

/// Applies the rule of the site's operator, or freezes what it touches.
pub fn apply(site: &mut Site<'_, '_>) {
    let node = site.node();
    let ruling = match RULES.get(&(node.operator_domain(), node.op_type())) {
        Some(rule) => rule(site),
        None if node.subgraphs().next().is_some() => {
            Err("the shapes in its graphs are not known, differ or change from turn to turn".into())
        }
        None if node.operator_domain().is_empty()
            && let Some(reason) = left_alone::reason(node.op_type()) =>
        {
            Err(reason.into())
        }
        None => Err(format!("there is no coupling rule for {}", node.op_type()).into()),
    };
    match ruling {
        // A shape is what `Shape` reads, not the elements.
        Ok(()) if matches!(node.op_type(), "Shape" | "Size") => {}
        Ok(()) => site.freeze_the_rest(),
        Err(refusal) => site.refuse(&refusal.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operators of ai.onnx up to operator set 24, functions of it included.
    const STANDARD: &str = "Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization \
         Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu \
         CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger \
         ConvTranspose Cos Cosh CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout \
         DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND \
         Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization \
         HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If ImageDecoder InstanceNormalization IsInf \
         IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul \
         MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul \
         Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement \
         OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal \
         RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum \
         ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RegexFullMatch Relu \
         Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round STFT Scan Scatter ScatterElements ScatterND Selu \
         SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap Shape \
         Shrink Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split \
         SplitToSequence Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum Swish Tan Tanh TensorScatter \
         TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor";

    #[test]
    fn no_operator_is_listed_twice() {
        assert_eq!(FAMILIES.iter().map(|(_, family)| family.len()).sum::<usize>(), RULES.len());
    }

    #[test]
    fn every_standard_operator_has_a_rule_or_a_reason_to_be_left_alone() {
        let with_bodies = ["If", "Loop", "Scan"];
        for operator in STANDARD.split_whitespace() {
            let ways = [
                RULES.contains_key(&("", operator)),
                left_alone::reason(operator).is_some(),
                with_bodies.contains(&operator) && RULES.contains_key(&(DOMAIN, operator)),
            ];
            assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{operator}");
        }
        let named = |operator: &str| STANDARD.split_whitespace().any(|other| other == operator);
        assert!(left_alone::LEFT_ALONE.iter().all(|(operator, _)| named(operator)));
    }
}

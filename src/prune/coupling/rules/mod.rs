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
mod normalization;
mod padding;
mod pooling;
mod positions;
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
    ("", pooling::RULES),
    ("", positions::RULES),
    ("", quantized::RULES),
    ("", recurrent::RULES),
    ("", reduction::RULES),
    ("", reshaping::RULES),
    ("", shape::RULES),
    (MICROSOFT, attention::FUSED),
    (DOMAIN, bodies::RULES),
    (MICROSOFT, fused::RULES),
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

    #[test]
    fn no_operator_is_listed_twice_and_none_of_the_promised_is_missing() {
        assert_eq!(FAMILIES.iter().map(|(_, family)| family.len()).sum::<usize>(), RULES.len());
        for promised in [
            "Conv",
            "ConvTranspose",
            "Gemm",
            "MatMul",
            "BatchNormalization",
            "Add",
            "Mul",
            "Relu",
            "Sigmoid",
            "Clip",
            "PRelu",
            "Where",
            "MaxPool",
            "AveragePool",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "Concat",
            "Split",
            "Slice",
            "Pad",
            "Flatten",
            "Reshape",
            "Transpose",
            "Squeeze",
            "Unsqueeze",
            "ReduceMean",
            "ReduceSum",
            "ReduceMax",
            "Identity",
            "Dropout",
            "Cast",
            "Constant",
            "ConstantOfShape",
            "Shape",
            "Expand",
            "Gather",
            "LayerNormalization",
            "GroupNormalization",
            "Softmax",
            "LSTM",
            "GRU",
        ] {
            assert!(RULES.contains_key(&("", promised)), "{promised} has no rule");
        }
    }
}

//! How many multiply-accumulates a node does, as products of axes of its tensors.
//!
//! One formula serves all who count: a model as it stands, and a cut that is only planned, whose axes have other sizes.
//! Operators that do not multiply and accumulate cost nothing; additions, activations and normalisations are not counted.

use crate::onnx::proto::NodeProto;

/// A number in a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Size of an axis of an input.
    Input { slot: usize, axis: usize },
    /// Size of an axis of an output.
    Output { slot: usize, axis: usize },
}

/// A sum of products.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formula {
    pub products: Vec<Vec<Extent>>,
}

fn inputs(slot: usize, axes: std::ops::Range<usize>) -> impl Iterator<Item = Extent> {
    axes.map(move |axis| Extent::Input { slot, axis })
}

fn outputs(rank: usize) -> impl Iterator<Item = Extent> {
    (0..rank).map(|axis| Extent::Output { slot: 0, axis })
}

fn one(product: impl Iterator<Item = Extent>) -> Formula {
    Formula { products: vec![product.collect()] }
}

/// The formula of a node; `None` where it costs nothing. `rank` gives the number of axes of a value by its name.
///
/// Errors: the rank that is not known, or the operator that multiplies in a way that is not counted.
pub fn formula(node: &NodeProto, rank: &dyn Fn(&str) -> Option<usize>) -> Result<Option<Formula>, String> {
    let input_rank = |slot: usize| {
        let name = node.input_name(slot).ok_or_else(|| format!("input {slot} of {} is missing", node.label()))?;
        rank(name).ok_or_else(|| format!("the shape of `{name}` is unknown"))
    };
    let output_rank = || {
        let name = node.output.first().map_or("", String::as_str);
        rank(name).ok_or_else(|| format!("the shape of `{name}` is unknown"))
    };
    let plain = node.operator_domain().is_empty();
    let found = match node.op_type() {
        // Every output element takes one window of one group of channels.
        "Conv" | "ConvInteger" | "FusedConv" | "NhwcFusedConv" => {
            one(outputs(output_rank()?).chain(inputs(1, 1..input_rank(1)?)))
        }
        "QLinearConv" if plain => one(outputs(output_rank()?).chain(inputs(3, 1..input_rank(3)?))),
        // Every input element goes into one window of one group of channels.
        "ConvTranspose" if plain => one(inputs(0, 0..input_rank(0)?).chain(inputs(1, 1..input_rank(1)?))),
        "Gemm" | "FusedGemm" => gemm(node, output_rank()?),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => matrices(0, input_rank(0)?, output_rank()?),
        "FusedMatMul" if node.int("transA").unwrap_or(0) == 0 => matrices(0, input_rank(0)?, output_rank()?),
        "LSTM" | "GRU" | "RNN" if plain => recurrent(input_rank(0)?, input_rank(1)?, input_rank(2)?)?,
        "Einsum" if plain => einsum(node)?,
        "Attention"
        | "MultiHeadAttention"
        | "GroupQueryAttention"
        | "QAttention"
        | "DeformConv"
        | "FusedMatMul"
        | "MatMulNBits" => {
            return Err(format!("the multiply-accumulates of {} are not counted", node.label()));
        }
        "If" | "Loop" | "Scan" if plain && node.subgraphs().any(|graph| graph.node.iter().any(multiplies)) => {
            return Err(format!(
                "the graphs inside of {} are not counted, for shapes in them are not known",
                node.label()
            ));
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// Whether an operator has a formula.
fn multiplies(node: &NodeProto) -> bool {
    !matches!(formula(node, &|_| Some(3)), Ok(None))
}

fn gemm(node: &NodeProto, rank: usize) -> Formula {
    let contracted = usize::from(node.int("transA").unwrap_or(0) == 0);
    one(outputs(rank).chain([Extent::Input { slot: 0, axis: contracted }]))
}

fn matrices(slot: usize, rank: usize, output_rank: usize) -> Formula {
    one(outputs(output_rank).chain([Extent::Input { slot, axis: rank.saturating_sub(1) }]))
}

/// `x [steps, batch, inputs]`, `w [directions, gates · hidden, inputs]`, `r [directions, gates · hidden, hidden]`.
fn recurrent(x: usize, w: usize, r: usize) -> Result<Formula, String> {
    if (x, w, r) != (3, 3, 3) {
        return Err("an operand of a recurrent layer does not have three axes".into());
    }
    let steps = || inputs(0, 0..2);
    Ok(Formula { products: vec![steps().chain(inputs(1, 0..3)).collect(), steps().chain(inputs(2, 0..3)).collect()] })
}

/// The product of all labels, each once.
fn einsum(node: &NodeProto) -> Result<Formula, String> {
    let equation: String = node.text("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let terms = equation.split("->").next().unwrap_or_default();
    if terms.contains('.') {
        return Err(format!("the equation of {} leaves axes unnamed", node.label()));
    }
    let (mut labels, mut product) = (Vec::new(), Vec::new());
    for (slot, term) in terms.split(',').enumerate() {
        for (axis, label) in term.chars().enumerate() {
            if !labels.contains(&label) {
                labels.push(label);
                product.push(Extent::Input { slot, axis });
            }
        }
    }
    Ok(Formula { products: vec![product] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_multiplies_is_not_free() {
        use crate::onnx::proto::{AttributeProto, GraphProto};
        let node = |op: &str| NodeProto {
            op_type: Some(op.into()),
            input: vec!["a".into(), "b".into()],
            output: vec!["y".into()],
            ..NodeProto::default()
        };
        let body = GraphProto { node: vec![node("MatMul")], ..GraphProto::default() };
        let mut branch = node("If");
        branch.attribute.push(AttributeProto {
            name: Some("then_branch".into()),
            g: Some(body),
            ..AttributeProto::default()
        });
        assert!(formula(&branch, &|_| Some(2)).is_err());
        assert_eq!(formula(&node("Relu"), &|_| Some(2)), Ok(None));
    }
}

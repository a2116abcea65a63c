//! Products of matrices: MatMul, Gemm, Einsum and their relatives.

use std::collections::BTreeMap;

use super::{AI, Family, MS};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, broadcast};

pub const FAMILIES: &[Family] = &[
    (AI, &["MatMul"], matmul),
    (AI, &["MatMulInteger"], matmul_integer),
    (MS, &["MatMulIntegerToFloat", "DynamicQuantizeMatMul"], matmul_to_float),
    (AI, &["QLinearMatMul"], qlinear_matmul),
    (MS, &["FusedMatMul"], fused_matmul),
    (MS, &["MatMulNBits"], matmul_bits),
    (AI, &["Gemm"], gemm),
    (MS, &["FusedGemm"], gemm),
    (AI, &["Einsum"], einsum),
    (AI, &["Det"], det),
];

/// The shape of a product by numpy's rules.
fn product(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
    let one = [Dim::known(1)];
    let (left, right) = match (a.len(), b.len()) {
        (0, _) | (_, 0) => return Err("a scalar has no matrix product".into()),
        (1, 1) => return Ok(Vec::new()),
        (1, _) => ([&one[..], a].concat(), b.to_vec()),
        (_, 1) => (a.to_vec(), [b, &one[..]].concat()),
        _ => (a.to_vec(), b.to_vec()),
    };
    let (rows, columns) = (left.len() - 2, right.len() - 1);
    let (inner, other) = (&left[left.len() - 1], &right[right.len() - 2]);
    if let (Some(x), Some(y)) = (inner.as_known(), other.as_known())
        && x != y
    {
        return Err(format!("inner sizes {x} and {y} differ"));
    }
    let mut dims = broadcast(&left[..rows], &right[..columns - 1])?;
    if a.len() > 1 {
        dims.push(left[rows].clone());
    }
    if b.len() > 1 {
        dims.push(right[columns].clone());
    }
    Ok(dims)
}

fn matmul(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), product(call.dims(0)?, call.dims(1)?)?)])
}

fn matmul_integer(call: &Call) -> Outputs {
    Ok(vec![Fact::new(Some(DataType::Int32), product(call.dims(0)?, call.dims(1)?)?)])
}

fn matmul_to_float(call: &Call) -> Outputs {
    Ok(vec![Fact::new(Some(DataType::Float), product(call.dims(0)?, call.dims(1)?)?)])
}

fn qlinear_matmul(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(7), product(call.dims(0)?, call.dims(3)?)?)])
}

fn fused_matmul(call: &Call) -> Outputs {
    if call.int("transBatchA", 0) != 0 || call.int("transBatchB", 0) != 0 {
        return Err("its batch transpose is not followed".into());
    }
    let operand = |slot: usize, attribute: &str| -> Result<Vec<Dim>, String> {
        let mut dims = call.dims(slot)?.to_vec();
        let rank = dims.len();
        if call.int(attribute, 0) != 0 && rank >= 2 {
            dims.swap(rank - 1, rank - 2);
        }
        Ok(dims)
    };
    Ok(vec![Fact::new(call.dtype(0), product(&operand(0, "transA")?, &operand(1, "transB")?)?)])
}

fn matmul_bits(call: &Call) -> Outputs {
    let mut dims = call.dims(0)?.to_vec();
    let last = dims.last_mut().ok_or("its input has no axis")?;
    *last = Dim::known(call.node.int("N").ok_or("it has no N")?);
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

fn gemm(call: &Call) -> Outputs {
    let side = |slot: usize, attribute: &str, free: usize| -> Result<Dim, String> {
        let dims = call.dims(slot)?;
        let axis = if call.int(attribute, 0) != 0 { 1 - free } else { free };
        match dims {
            [_, _] => Ok(dims[axis].clone()),
            _ => Err(format!("input {slot} has {} axes, not 2", dims.len())),
        }
    };
    Ok(vec![Fact::new(call.dtype(0), vec![side(0, "transA", 0)?, side(1, "transB", 1)?])])
}

fn det(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let rank = dims.len().checked_sub(2).ok_or("its input has fewer than 2 axes")?;
    Ok(vec![Fact::new(call.dtype(0), dims[..rank].to_vec())])
}

fn einsum(call: &Call) -> Outputs {
    let equation: String =
        call.node.text("equation").ok_or("it has no equation")?.chars().filter(|c| *c != ' ').collect();
    let (left, right) =
        equation.split_once("->").map_or((equation.as_str(), None), |(left, right)| (left, Some(right)));
    let mut sizes: BTreeMap<char, Dim> = BTreeMap::new();
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    let mut ellipsis: Vec<Dim> = Vec::new();
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != call.inputs.len() {
        return Err("its equation has another number of terms than inputs".into());
    }
    for (slot, term) in terms.iter().enumerate() {
        let dims = call.dims(slot)?;
        let (front, back) = term.split_once("...").map_or((*term, None), |(front, back)| (front, Some(back)));
        let named = front.chars().count() + back.map_or(0, |back| back.chars().count());
        let free = dims.len().checked_sub(named).filter(|free| *free == 0 || back.is_some());
        let free = free.ok_or_else(|| format!("term `{term}` does not fit {} axes", dims.len()))?;
        let front_length = front.chars().count();
        let middle = dims.get(front_length..front_length + free).unwrap_or_default();
        ellipsis = broadcast(&ellipsis, middle)?;
        let outer = dims[..front_length].iter().chain(&dims[front_length + free..]);
        for (letter, size) in front.chars().chain(back.unwrap_or("").chars()).zip(outer) {
            *counts.entry(letter).or_insert(0) += 1;
            let known = match sizes.get(&letter) {
                Some(known) => known.broadcast(size).ok_or_else(|| format!("axis {letter} has two sizes"))?,
                None => size.clone(),
            };
            sizes.insert(letter, known);
        }
    }
    let result = if let Some(right) = right {
        right.to_owned()
    } else {
        let once = counts.iter().filter(|(_, count)| **count == 1).map(|(letter, _)| *letter);
        "...".chars().chain(once).collect()
    };
    let (front, back) = result.split_once("...").map_or((result.as_str(), None), |(front, back)| (front, Some(back)));
    let letter =
        |letter: char| sizes.get(&letter).cloned().ok_or_else(|| format!("axis {letter} of the result is unknown"));
    let mut dims = front.chars().map(letter).collect::<Result<Vec<_>, _>>()?;
    if let Some(back) = back {
        dims.extend(ellipsis);
        dims.extend(back.chars().map(letter).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

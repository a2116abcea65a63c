//! Matrix products.

use super::{Gradients, NoGradient, Rule, Step};
use crate::autodiff::emit::{Emitter, Value};
use crate::onnx::attribute::Attribute;

pub const RULES: &[(&str, Rule)] = &[("Gemm", gemm), ("MatMul", matmul)];

/// y = α · a′ · b′ + β · c, where a′ and b′ may be transposed.
fn gemm(step: &mut Step) -> Gradients {
    let (a, b, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let alpha = step.node.float("alpha").unwrap_or(1.0);
    let beta = step.node.float("beta").unwrap_or(1.0);
    let transposed_a = step.node.int("transA").unwrap_or(0) != 0;
    let transposed_b = step.node.int("transB").unwrap_or(0) != 0;
    let mut product = |left: &Value, right: &Value, (left_t, right_t): (bool, bool), shape: &[usize]| {
        let attributes = [
            ("alpha", Attribute::Float(alpha)),
            ("transA", Attribute::Int(i64::from(left_t))),
            ("transB", Attribute::Int(i64::from(right_t))),
        ];
        step.emit.node("Gemm", &[left, right], &attributes, dy.dtype, shape)
    };
    let da = step.wanted[0].then(|| {
        if transposed_a {
            product(&b, &dy, (transposed_b, true), &a.shape)
        } else {
            product(&dy, &b, (false, !transposed_b), &a.shape)
        }
    });
    let db = step.wanted[1].then(|| {
        if transposed_b {
            product(&dy, &a, (true, transposed_a), &b.shape)
        } else {
            product(&a, &dy, (!transposed_a, false), &b.shape)
        }
    });
    let dc = step.wants(2).then(|| if beta == 1.0 { dy.clone() } else { step.emit.scale(&dy, f64::from(beta)) });
    Ok(vec![da, db, dc])
}

/// y = a · b over the last two axes; operands with one axis are a row or a column.
fn matmul(step: &mut Step) -> Gradients {
    let (a, b, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    if a.rank() == 0 || b.rank() == 0 {
        return Err(NoGradient("multiplies a scalar".into()));
    }
    let row = if a.rank() == 1 { step.emit.reshape(&a, &[1, a.shape[0]]) } else { a.clone() };
    let column = if b.rank() == 1 { step.emit.reshape(&b, &[b.shape[0], 1]) } else { b.clone() };
    let mut matrix = dy.shape.clone();
    if a.rank() == 1 {
        matrix.insert(matrix.len() - usize::from(b.rank() > 1), 1);
    }
    if b.rank() == 1 {
        matrix.push(1);
    }
    let dy = step.emit.reshape(&dy, &matrix);
    let da = step.wants(0).then(|| {
        let across = exchange(step.emit, &column);
        let da = step.emit.matmul(&dy, &across);
        squeeze_row(step.emit, &da, &a)
    });
    let db = step.wants(1).then(|| {
        if b.rank() == 2 && a.rank() > 2 {
            // A weight shared by the whole batch: one product over all rows instead of one for each sample.
            let rows = row.len() / row.shape[row.rank() - 1];
            let flat = step.emit.reshape(&row, &[rows, row.shape[row.rank() - 1]]);
            let dy = step.emit.reshape(&dy, &[rows, dy.shape[dy.rank() - 1]]);
            let attributes = [("transA", Attribute::Int(1))];
            return step.emit.node("Gemm", &[&flat, &dy], &attributes, dy.dtype, &b.shape);
        }
        let across = exchange(step.emit, &row);
        let db = step.emit.matmul(&across, &dy);
        squeeze_column(step.emit, &db, &b)
    });
    Ok(vec![da, db])
}

/// The last two axes exchanged.
fn exchange(emit: &mut Emitter, x: &Value) -> Value {
    let mut permutation: Vec<usize> = (0..x.rank()).collect();
    permutation.swap(x.rank() - 2, x.rank() - 1);
    emit.transpose(x, &permutation)
}

/// The gradient of an operand with one axis that stood as a row: summed over the batch, the row's axis dropped.
fn squeeze_row(emit: &mut Emitter, gradient: &Value, operand: &Value) -> Value {
    if operand.rank() > 1 {
        return gradient.clone();
    }
    let all_but_last: Vec<usize> = (0..gradient.rank() - 1).collect();
    emit.sum(gradient, &all_but_last, false)
}

/// The same for an operand that stood as a column.
fn squeeze_column(emit: &mut Emitter, gradient: &Value, operand: &Value) -> Value {
    if operand.rank() > 1 {
        return gradient.clone();
    }
    let axes: Vec<usize> = (0..gradient.rank()).filter(|axis| *axis + 2 != gradient.rank()).collect();
    emit.sum(gradient, &axes, false)
}

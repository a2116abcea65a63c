//! Operators that work element by element.

use super::maker::{Maker, Value};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;

pub const BLOCKS: Blocks = &[(5, unary), (3, binary), (2, compared), (2, whole_numbers), (2, chosen)];

/// Operators on numbers between -1 and 1, with the operator set that has them.
const UNARY: &[(&str, i64)] = &[
    ("Abs", 13),
    ("Acos", 13),
    ("Asin", 13),
    ("Asinh", 13),
    ("Atan", 13),
    ("Atanh", 13),
    ("Ceil", 13),
    ("Celu", 13),
    ("Cos", 13),
    ("Cosh", 13),
    ("Dropout", 13),
    ("Elu", 13),
    ("Erf", 13),
    ("Exp", 13),
    ("Floor", 13),
    ("Gelu", 20),
    ("HardSigmoid", 13),
    ("HardSwish", 14),
    ("Identity", 13),
    ("LeakyRelu", 13),
    ("Mish", 18),
    ("Neg", 13),
    ("Round", 13),
    ("Selu", 13),
    ("Shrink", 13),
    ("Sigmoid", 13),
    ("Sign", 13),
    ("Sin", 13),
    ("Sinh", 13),
    ("Softplus", 13),
    ("Softsign", 13),
    ("Tan", 13),
    ("Tanh", 13),
    ("ThresholdedRelu", 13),
];

/// Numbers between -1 and 1, far from both.
fn bounded(m: &mut Maker<'_>, x: &str) -> String {
    let y = m.node("Tanh", &[x], &[]);
    let most = m.scalar(0.9);
    m.node("Mul", &[&y, &most], &[])
}

/// Numbers between 1.1 and 2.9.
fn positive(m: &mut Maker<'_>, x: &str) -> String {
    let (y, two) = (bounded(m, x), m.scalar(2.0));
    m.node("Add", &[&y, &two], &[])
}

fn unary(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let name = if m.one_in(6) {
        let y = positive(m, &x.name);
        let op_type = m.pick(&["Acosh", "Log", "Reciprocal", "Sqrt"]);
        m.node(op_type, &[&y], &[])
    } else {
        let known: Vec<&str> = UNARY.iter().filter(|(_, since)| *since <= m.opset).map(|(name, _)| *name).collect();
        let op_type = m.pick(&known);
        let y = bounded(m, &x.name);
        m.node(op_type, &[&y], &[])
    };
    let y = x.with(name, x.channels());
    Some(if m.one_in(2) { m.layer(&y, x.channels()) } else { y })
}

fn binary(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let other = if m.one_in(2) { m.per_channel(x, 0.5, 1.5) } else { m.layer(x, x.channels()).name };
    let op_type = m.pick(&["Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Max", "Min"]);
    let (left, right) = match op_type {
        "Div" => (x.name.clone(), positive(m, &other)),
        "Pow" => (positive(m, &x.name), bounded(m, &other)),
        "PRelu" => (x.name.clone(), m.per_channel(x, 0.1, 0.4)),
        _ => (x.name.clone(), other),
    };
    Some(x.with(m.node(op_type, &[&left, &right], &[]), x.channels()))
}

/// One value or another, by what comparisons and their combinations say.
fn compared(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let other = m.layer(x, x.channels()).name;
    let op_type = m.pick(&["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"]);
    let first = m.node(op_type, &[&x.name, &other], &[]);
    let test = m.pick(&["IsNaN", "IsInf"]);
    let second = m.node(test, &[&x.name], &[]);
    let second = m.node("Not", &[&second], &[]);
    let combine = m.pick(&["And", "Or", "Xor"]);
    let both = m.node(combine, &[&first, &second], &[]);
    Some(x.with(m.node("Where", &[&both, &x.name, &other], &[]), x.channels()))
}

/// Integer operators on rounded numbers.
fn whole_numbers(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let dtype = if m.one_in(2) { DataType::Int32 } else { DataType::Uint32 };
    let (y, eight) = (positive(m, &x.name), m.scalar(8.0));
    let y = m.node("Mul", &[&y, &eight], &[]);
    let y = m.node("Floor", &[&y], &[]);
    let y = m.cast(&y, dtype);
    let three = m.integers(dtype, &[], 3..4);
    let mut choices = vec!["Mod", "Max"];
    if dtype == DataType::Uint32 {
        choices.push("BitShift");
    }
    if m.opset >= 18 {
        choices.extend(["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"]);
    }
    let y = match m.pick(&choices) {
        "BitwiseNot" => {
            let y = m.node("BitwiseNot", &[&y], &[]);
            m.node("BitwiseAnd", &[&y, &three], &[])
        }
        "BitShift" => m.node("BitShift", &[&y, &three], &[("direction", Attribute::String("RIGHT".into()))]),
        op_type => m.node(op_type, &[&y, &three], &[]),
    };
    let y = if m.opset >= 15 && m.one_in(2) {
        m.node("CastLike", &[&y, &x.name], &[])
    } else {
        m.cast(&y, DataType::Float)
    };
    let tenth = m.scalar(0.1);
    let y = m.node("Mul", &[&y, &tenth], &[]);
    Some(x.with(m.node("Add", &[&y, &x.name], &[]), x.channels()))
}

/// Bounds of one side, an operand broadcast to a computed shape, a condition of channels.
fn chosen(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let name = match m.pick(&[0, 1, 2]) {
        0 => {
            let most = m.scalar(1.0);
            m.node("Clip", &[&x.name, "", &most], &[])
        }
        1 => {
            let each = m.per_channel(x, -0.5, 0.5);
            let shape = m.node("Shape", &[&x.name], &[]);
            let wide = m.node("Expand", &[&each, &shape], &[]);
            m.node("Add", &[&x.name, &wide], &[])
        }
        _ => {
            let each = m.per_channel(x, -1.0, 1.0);
            let zero = m.scalar(0.0);
            let which = m.node("Less", &[&each, &zero], &[]);
            let y = m.layer(x, x.channels());
            m.node("Where", &[&which, &x.name, &y.name], &[])
        }
    };
    Some(x.with(name, x.channels()))
}

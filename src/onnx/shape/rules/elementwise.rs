//! Operators that work element by element: the shape stays or broadcasts, and small integer values are computed.

use super::{AI, Family, MS};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axis_of, broadcast};
use crate::onnx::shape::value::ShapeValue;

pub const FAMILIES: &[Family] = &[
    (
        AI,
        &[
            "Relu",
            "LeakyRelu",
            "Elu",
            "Selu",
            "Celu",
            "ThresholdedRelu",
            "HardSigmoid",
            "HardSwish",
            "Hardmax",
            "Sigmoid",
            "Tanh",
            "Softplus",
            "Softsign",
            "Softmax",
            "LogSoftmax",
            "Gelu",
            "Mish",
            "Swish",
            "Shrink",
            "Exp",
            "Log",
            "Reciprocal",
            "Sin",
            "Cos",
            "Tan",
            "Asin",
            "Acos",
            "Atan",
            "Sinh",
            "Cosh",
            "Asinh",
            "Acosh",
            "Atanh",
            "Erf",
            "Sign",
            "BitwiseNot",
            "CumSum",
            "CumProd",
            "Trilu",
            "Clip",
            "LRN",
            "Identity",
            "ReverseSequence",
            "Scaler",
            "MeanVarianceNormalization",
            "LpNormalization",
            "ScaledTanh",
            "ParametricSoftplus",
            "Affine",
            "ImageScaler",
        ],
        unary,
    ),
    (MS, &["Gelu", "FastGelu", "BiasGelu", "QuickGelu", "BiasSoftmax", "Trilu", "Inverse"], unary),
    (AI, &["Sqrt", "Neg", "Abs", "Floor", "Ceil", "Round", "Not"], unary_value),
    (AI, &["IsNaN", "IsInf"], predicate),
    (AI, &["Cast", "CastLike"], cast),
    (
        AI,
        &["Add", "Sub", "Mul", "Div", "Mod", "Pow", "PRelu", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor"],
        binary,
    ),
    (AI, &["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor"], comparison),
    (AI, &["Max", "Min", "Sum", "Mean"], variadic),
    (AI, &["Where"], select),
    (AI, &["Dropout"], dropout),
];

fn unary(call: &Call) -> Outputs {
    let fact = call.input(0)?;
    let value = if call.node.is("Identity") { fact.value.clone() } else { None };
    let floats = if call.node.is("Identity") { fact.floats.clone() } else { None };
    Ok(vec![Fact { floats, ..Fact::new(fact.dtype, call.dims(0)?.to_vec()).with_value(value) }])
}

fn unary_value(call: &Call) -> Outputs {
    let minus = Dim::known(-1);
    let one = Dim::known(1);
    let value = call.value(0).and_then(|value| {
        value.map(|numerator, denominator| match call.node.op_type() {
            "Neg" => Some((numerator.mul(&minus), denominator)),
            "Abs" if numerator.lower_bound().is_some_and(|bound| bound >= 0) => Some((numerator, denominator)),
            "Abs" => Some((Dim::known(numerator.as_known()?.checked_abs()?), denominator)),
            "Floor" => Some((numerator.floor_div(&denominator), one.clone())),
            "Ceil" => Some((numerator.ceil_div(&denominator), one.clone())),
            "Not" => Some((Dim::known(i64::from(numerator.as_known()? == 0)), one.clone())),
            "Round" if denominator.is(1) => Some((numerator, denominator)),
            _ => None,
        })
    });
    Ok(vec![Fact::new(call.dtype(0), call.dims(0)?.to_vec()).with_value(value)])
}

fn predicate(call: &Call) -> Outputs {
    Ok(vec![Fact::new(Some(DataType::Bool), call.dims(0)?.to_vec())])
}

fn cast(call: &Call) -> Outputs {
    let dtype = if call.node.is("CastLike") {
        call.dtype(1)
    } else {
        call.node.int("to").and_then(|number| DataType::from_number(i32::try_from(number).ok()?))
    };
    let to = dtype.ok_or("the type that it casts to is unknown")?;
    let value = call.value(0).and_then(|value| match to {
        // Shapes fit these; narrower types would wrap.
        DataType::Int64 | DataType::Int32 | DataType::Float | DataType::Double => {
            if value.is_integral() || to.is_float() {
                return Some(value.clone());
            }
            // Casting to an integer cuts towards zero, which is the floor of what is not negative.
            value.map(|numerator, denominator| {
                numerator.lower_bound().filter(|bound| *bound >= 0)?;
                Some((numerator.floor_div(&denominator), Dim::known(1)))
            })
        }
        DataType::Bool => value.map(|numerator, _| {
            let positive = numerator.lower_bound().is_some_and(|bound| bound > 0);
            let truth = if positive { true } else { numerator.as_known()? != 0 };
            Some((Dim::known(i64::from(truth)), Dim::known(1)))
        }),
        _ => None,
    });
    Ok(vec![Fact::new(Some(to), call.dims(0)?.to_vec()).with_value(value)])
}

/// Broadcasting of the first two inputs; before opset 7 it was one-sided and had an axis.
fn two_sided(call: &Call) -> Result<Vec<Dim>, String> {
    let (a, b) = (call.dims(0)?, call.dims(1)?);
    if call.node.op_type() == "PRelu" || (call.opset < 7 && call.node.int("broadcast").is_some()) {
        return Ok(a.to_vec());
    }
    broadcast(a, b)
}

fn binary(call: &Call) -> Outputs {
    let dims = two_sided(call)?;
    let integer = call.dtype(0).is_some_and(|dtype| !dtype.is_float());
    let value = combine(call, |a, b| arithmetic(call, integer, a, b));
    Ok(vec![Fact::new(call.dtype(0).or(call.dtype(1)), dims).with_value(value)])
}

type Fraction = (Dim, Dim);

fn arithmetic(call: &Call, integer: bool, a: &Fraction, b: &Fraction) -> Option<Fraction> {
    let one = Dim::known(1);
    match call.node.op_type() {
        "Add" => Some((a.0.mul(&b.1).add(&b.0.mul(&a.1)), a.1.mul(&b.1))),
        "Sub" => Some((a.0.mul(&b.1).sub(&b.0.mul(&a.1)), a.1.mul(&b.1))),
        "Mul" => Some((a.0.mul(&b.0), a.1.mul(&b.1))),
        "Div" if integer => {
            if let Some(exact) = a.0.div_exact(&b.0) {
                return Some((exact, one));
            }
            if let (Some(a), Some(b)) = (a.0.as_known(), b.0.as_known()) {
                return Some((Dim::known(a.checked_div(b)?), one));
            }
            // Integer division cuts towards zero, which is the floor of what is not negative.
            let proper = a.0.lower_bound()? >= 0 && b.0.lower_bound()? >= 1;
            proper.then(|| (a.0.floor_div(&b.0), one))
        }
        "Div" => Some((a.0.mul(&b.1), a.1.mul(&b.0))),
        "Mod" if integer && call.int("fmod", 0) == 0 => Some((a.0.modulo(&b.0), one)),
        "Pow" if a.1.is(1) && b.1.is(1) => {
            let exponent = b.0.as_known().filter(|exponent| (0..=8).contains(exponent))?;
            Some(((0..exponent).fold(Dim::known(1), |power, _| power.mul(&a.0)), one))
        }
        _ => None,
    }
}

/// Elements of the first two inputs combined pair by pair.
fn combine(call: &Call, operation: impl Fn(&Fraction, &Fraction) -> Option<Fraction>) -> Option<ShapeValue> {
    let (a, b) = (call.value(0)?, call.value(1)?);
    let (shape, pairs) = a.broadcast(b)?;
    let elements =
        pairs.into_iter().map(|(i, j)| operation(&a.fraction(i)?, &b.fraction(j)?)).collect::<Option<Vec<_>>>()?;
    ShapeValue::fractions(shape, elements)
}

fn comparison(call: &Call) -> Outputs {
    let dims = two_sided(call)?;
    let value = combine(call, |a, b| {
        let (a, b) = (a.0.mul(&b.1), b.0.mul(&a.1));
        let less_or_equal = || Some(b.sub(&a).lower_bound()? >= 0).filter(|holds| *holds);
        let less = || Some(b.sub(&a).lower_bound()? >= 1).filter(|holds| *holds);
        let greater = || Some(a.sub(&b).lower_bound()? >= 1).filter(|holds| *holds);
        let greater_or_equal = || Some(a.sub(&b).lower_bound()? >= 0).filter(|holds| *holds);
        let truth = match call.node.op_type() {
            "Equal" if a == b => true,
            "Equal" => less().or_else(greater).map(|_| false)?,
            "Less" => less().or_else(|| greater_or_equal().map(|_| false))?,
            "Greater" => greater().or_else(|| less_or_equal().map(|_| false))?,
            "LessOrEqual" => less_or_equal().or_else(|| greater().map(|_| false))?,
            "GreaterOrEqual" => greater_or_equal().or_else(|| less().map(|_| false))?,
            "And" => a.as_known()? != 0 && b.as_known()? != 0,
            "Or" => a.as_known()? != 0 || b.as_known()? != 0,
            _ => (a.as_known()? != 0) != (b.as_known()? != 0),
        };
        Some((Dim::known(i64::from(truth)), Dim::known(1)))
    });
    Ok(vec![Fact::new(Some(DataType::Bool), dims).with_value(value)])
}

fn variadic(call: &Call) -> Outputs {
    let mut dims = call.dims(0)?.to_vec();
    for slot in 1..call.inputs.len() {
        dims = broadcast(&dims, call.dims(slot)?)?;
    }
    let value = match (call.inputs.len(), call.node.op_type()) {
        (1, _) => call.value(0).cloned(),
        (2, "Max") => combine(call, |a, b| (a.1.is(1) && b.1.is(1)).then(|| (a.0.maximum(&b.0), Dim::known(1)))),
        (2, "Min") => combine(call, |a, b| (a.1.is(1) && b.1.is(1)).then(|| (a.0.minimum(&b.0), Dim::known(1)))),
        (2, "Sum") => combine(call, |a, b| Some((a.0.mul(&b.1).add(&b.0.mul(&a.1)), a.1.mul(&b.1)))),
        _ => None,
    };
    Ok(vec![Fact::new(call.dtype(0), dims).with_value(value)])
}

fn select(call: &Call) -> Outputs {
    let dims = broadcast(&broadcast(call.dims(0)?, call.dims(1)?)?, call.dims(2)?)?;
    let value = chosen(call);
    Ok(vec![Fact::new(call.dtype(1).or(call.dtype(2)), dims).with_value(value)])
}

/// Elements of Where; they keep their origin where all come from one of the two sides.
fn chosen(call: &Call) -> Option<ShapeValue> {
    let (condition, yes, no) = (call.integers(0)?, call.value(1)?, call.value(2)?);
    let truth = condition.known()?;
    let same = |value: &ShapeValue| value.shape == condition.shape;
    if truth.iter().all(|truth| *truth != 0) && same(yes) {
        return Some(yes.clone());
    }
    if truth.iter().all(|truth| *truth == 0) && same(no) {
        return Some(no.clone());
    }
    if same(yes) && same(no) {
        let both = yes.chain(no)?;
        let count = truth.len();
        let positions: Vec<usize> =
            truth.iter().enumerate().map(|(i, truth)| if *truth != 0 { i } else { i + count }).collect();
        return both.pick(condition.shape.clone(), &positions);
    }
    let (shape, pairs) = yes.broadcast(no)?;
    let truths = ShapeValue::new(condition.shape.clone(), truth.into_iter().map(Dim::known).collect())?;
    let frame = ShapeValue::new(shape, vec![Dim::known(0); pairs.len()])?;
    let (shape, picks) = frame.broadcast(&truths)?;
    let elements = picks
        .into_iter()
        .map(|(pair, truth)| {
            let (i, j) = *pairs.get(pair)?;
            if truths.elements.get(truth)?.is(0) { no.fraction(j) } else { yes.fraction(i) }
        })
        .collect::<Option<Vec<_>>>()?;
    ShapeValue::fractions(shape, elements)
}

fn dropout(call: &Call) -> Outputs {
    let dims = call.dims(0)?.to_vec();
    let mask = if call.opset < 10 { call.dtype(0) } else { Some(DataType::Bool) };
    Ok(vec![Fact::new(call.dtype(0), dims.clone()), Fact::new(mask, dims)])
}

/// The axis attribute of an operator, as an index.
pub fn axis_attribute(call: &Call, default: i64, rank: usize) -> Result<usize, String> {
    axis_of(call.int("axis", default), rank)
}

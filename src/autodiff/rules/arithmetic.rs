//! Arithmetic with broadcasting, roots, powers, exponentials and logarithms.

use super::{Gradients, NoGradient, Rule, Step};

pub const RULES: &[(&str, Rule)] = &[
    ("Add", add),
    ("Sum", sum),
    ("Mean", mean),
    ("Sub", sub),
    ("Mul", mul),
    ("Div", div),
    ("Neg", neg),
    ("Reciprocal", reciprocal),
    ("Sqrt", sqrt),
    ("Pow", pow),
    ("Exp", exp),
    ("Log", log),
    ("Where", select),
];

fn add(step: &mut Step) -> Gradients {
    sum(step)
}

/// Every operand gets dy.
fn sum(step: &mut Step) -> Gradients {
    let dy = step.dy()?;
    Ok(step.wanted.iter().map(|wanted| wanted.then(|| dy.clone())).collect())
}

/// Every operand gets its share of dy.
fn mean(step: &mut Step) -> Gradients {
    let dy = step.dy()?;
    let share = step.emit.scale(&dy, 1.0 / step.inputs.len() as f64);
    Ok(step.wanted.iter().map(|wanted| wanted.then(|| share.clone())).collect())
}

fn sub(step: &mut Step) -> Gradients {
    let dy = step.dy()?;
    let db = step.wants(1).then(|| step.emit.unary("Neg", &dy));
    Ok(vec![step.wants(0).then_some(dy), db])
}

/// da = dy · b, db = dy · a
fn mul(step: &mut Step) -> Gradients {
    let (a, b, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let da = step.wants(0).then(|| step.emit.mul(&dy, &b));
    let db = step.wants(1).then(|| step.emit.mul(&dy, &a));
    Ok(vec![da, db])
}

/// da = dy / b, db = −dy · y / b
fn div(step: &mut Step) -> Gradients {
    let (b, y, dy) = (step.x(1)?, step.y(0)?, step.dy()?);
    let da = step.emit.div(&dy, &b);
    let db = step.wants(1).then(|| {
        let product = step.emit.mul(&da, &y);
        step.emit.unary("Neg", &product)
    });
    Ok(vec![step.wants(0).then_some(da), db])
}

fn neg(step: &mut Step) -> Gradients {
    let dy = step.dy()?;
    Step::only(step.emit.unary("Neg", &dy))
}

/// y = 1 / x; dx = −dy · y²
fn reciprocal(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let square = step.emit.mul(&y, &y);
    let product = step.emit.mul(&dy, &square);
    Step::only(step.emit.unary("Neg", &product))
}

/// dx = dy / (2 · y)
fn sqrt(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let double = step.emit.scale(&y, 2.0);
    Step::only(step.emit.div(&dy, &double))
}

/// dx = dy · p · x^(p − 1); an exponent that depends on weights has no gradient here.
fn pow(step: &mut Step) -> Gradients {
    let (x, p, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    if step.wants(1) {
        return Err(NoGradient("has an exponent that depends on weights".into()));
    }
    let slope = match step.number(1) {
        Some(2.0) => step.emit.scale(&x, 2.0),
        Some(number) => {
            let exponent = step.emit.scalar(&x, number - 1.0);
            let power = step.emit.binary("Pow", &x, &exponent);
            step.emit.scale(&power, number)
        }
        None => {
            let p = step.emit.cast(&p, x.dtype);
            let exponent = step.emit.shift(&p, -1.0);
            let power = step.emit.binary("Pow", &x, &exponent);
            step.emit.mul(&power, &p)
        }
    };
    Ok(vec![Some(step.emit.mul(&dy, &slope)), None])
}

fn exp(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    Step::only(step.emit.mul(&dy, &y))
}

fn log(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    Step::only(step.emit.div(&dy, &x))
}

/// y = a where the condition holds, else b: dy goes to the one that was taken.
fn select(step: &mut Step) -> Gradients {
    let (condition, dy) = (step.x(0)?, step.dy()?);
    let taken = step.emit.cast(&condition, dy.dtype);
    let da = step.wants(1).then(|| step.emit.mul(&dy, &taken));
    let db = step.wants(2).then(|| {
        let one = step.emit.scalar(&dy, 1.0);
        let left = step.emit.sub(&one, &taken);
        step.emit.mul(&dy, &left)
    });
    Ok(vec![None, da, db])
}

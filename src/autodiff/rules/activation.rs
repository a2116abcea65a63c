//! Activations: element-wise functions of one input, and bounds.
//!
//! Where a function has a kink, the gradient there is the one from the left of a rise (0 for `Relu` at 0), as in PyTorch's
//! `relu`, `leaky_relu`, `relu6` and `hardtanh`.

use super::{Gradients, NoGradient, Rule, Step};

pub const RULES: &[(&str, Rule)] = &[
    ("Relu", relu),
    ("LeakyRelu", leaky_relu),
    ("PRelu", prelu),
    ("Clip", clip),
    ("Sigmoid", sigmoid),
    ("Tanh", tanh),
    ("HardSigmoid", hard_sigmoid),
    ("HardSwish", hard_swish),
    ("Softplus", softplus),
    ("Elu", elu),
    ("Erf", erf),
    ("Gelu", gelu),
    ("Abs", abs),
];

/// dx = dy · \[y > 0]
fn relu(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let passed = step.emit.step(&y);
    Step::only(step.emit.mul(&dy, &passed))
}

/// dx = dy · (α + (1 − α) · \[x > 0])
fn leaky_relu(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let alpha = f64::from(step.node.float("alpha").unwrap_or(0.01));
    let positive = step.emit.step(&x);
    let slope = step.emit.scale(&positive, 1.0 - alpha);
    let slope = step.emit.shift(&slope, alpha);
    Step::only(step.emit.mul(&dy, &slope))
}

/// y = x where x > 0, else slope · x; dx as of [`leaky_relu`], dslope = dy · min(x, 0)
fn prelu(step: &mut Step) -> Gradients {
    let (x, slope, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let dx = step.wants(0).then(|| {
        let positive = step.emit.step(&x);
        let one = step.emit.scalar(&x, 1.0);
        let negative = step.emit.sub(&one, &positive);
        let below = step.emit.mul(&negative, &slope);
        let factor = step.emit.add(&positive, &below);
        step.emit.mul(&dy, &factor)
    });
    let dslope = step.wants(1).then(|| {
        let rectified = step.emit.unary("Relu", &x);
        let below = step.emit.sub(&x, &rectified);
        step.emit.mul(&dy, &below)
    });
    Ok(vec![dx, dslope])
}

/// dx = dy · \[minimum < x < maximum]; bounds are constants and have no gradient.
fn clip(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    if step.wants(1) || step.wants(2) {
        return Err(NoGradient("has a bound that depends on weights".into()));
    }
    let bound = |slot: usize| step.inputs.get(slot).cloned().flatten();
    let (minimum, maximum) = (bound(1), bound(2));
    let mut dx = dy;
    if let Some(minimum) = minimum {
        let above = step.emit.sub(&x, &minimum);
        let inside = step.emit.step(&above);
        dx = step.emit.mul(&dx, &inside);
    }
    if let Some(maximum) = maximum {
        let below = step.emit.sub(&maximum, &x);
        let inside = step.emit.step(&below);
        dx = step.emit.mul(&dx, &inside);
    }
    Step::only(dx)
}

/// dx = dy · y · (1 − y)
fn sigmoid(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let one = step.emit.scalar(&y, 1.0);
    let rest = step.emit.sub(&one, &y);
    let slope = step.emit.mul(&y, &rest);
    Step::only(step.emit.mul(&dy, &slope))
}

/// dx = dy · (1 − y²)
fn tanh(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let square = step.emit.mul(&y, &y);
    let one = step.emit.scalar(&y, 1.0);
    let slope = step.emit.sub(&one, &square);
    Step::only(step.emit.mul(&dy, &slope))
}

/// y = max(0, min(1, α · x + β)); dx = dy · α · \[0 < y < 1]
fn hard_sigmoid(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let alpha = f64::from(step.node.float("alpha").unwrap_or(0.2));
    let one = step.emit.scalar(&y, 1.0);
    let rest = step.emit.sub(&one, &y);
    let between = step.emit.mul(&y, &rest);
    let inside = step.emit.step(&between);
    let slope = step.emit.scale(&inside, alpha);
    Step::only(step.emit.mul(&dy, &slope))
}

/// y = x · h with h = max(0, min(1, x / 6 + 1 / 2)); dx = dy · (h + x / 6 · \[0 < h < 1])
fn hard_swish(step: &mut Step) -> Gradients {
    use crate::onnx::attribute::Attribute;
    let (x, dy) = (step.x(0)?, step.dy()?);
    let attributes = [("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
    let gate = step.emit.node("HardSigmoid", &[&x], &attributes, x.dtype, &x.shape);
    let one = step.emit.scalar(&x, 1.0);
    let rest = step.emit.sub(&one, &gate);
    let between = step.emit.mul(&gate, &rest);
    let inside = step.emit.step(&between);
    let sixth = step.emit.scale(&x, 1.0 / 6.0);
    let bend = step.emit.mul(&sixth, &inside);
    let slope = step.emit.add(&gate, &bend);
    Step::only(step.emit.mul(&dy, &slope))
}

/// y = log(1 + eˣ); dx = dy · sigmoid(x)
fn softplus(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let slope = step.emit.unary("Sigmoid", &x);
    Step::only(step.emit.mul(&dy, &slope))
}

/// y = x where x > 0, else α · (eˣ − 1); the slope below 0 is y + α.
fn elu(step: &mut Step) -> Gradients {
    let (x, y, dy) = (step.x(0)?, step.y(0)?, step.dy()?);
    let alpha = f64::from(step.node.float("alpha").unwrap_or(1.0));
    let positive = step.emit.step(&x);
    let one = step.emit.scalar(&x, 1.0);
    let negative = step.emit.sub(&one, &positive);
    let below = step.emit.shift(&y, alpha);
    let below = step.emit.mul(&negative, &below);
    let slope = step.emit.add(&positive, &below);
    Step::only(step.emit.mul(&dy, &slope))
}

/// dx = dy · 2 / √π · exp(−x²)
fn erf(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let square = step.emit.mul(&x, &x);
    let falling = step.emit.unary("Neg", &square);
    let bell = step.emit.unary("Exp", &falling);
    let slope = step.emit.scale(&bell, std::f64::consts::FRAC_2_SQRT_PI);
    Step::only(step.emit.mul(&dy, &slope))
}

/// y = x · Φ(x): the slope is Φ(x) + x · φ(x). With `approximate = tanh`, Φ(x) = (1 + tanh u) / 2, u = √(2/π) · (x + c · x³).
fn gelu(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let square = step.emit.mul(&x, &x);
    let slope = if step.node.text("approximate") == Some("tanh") {
        const CUBIC: f64 = 0.044_715;
        let root = (2.0 / std::f64::consts::PI).sqrt();
        let inner = step.emit.scale(&square, root * CUBIC);
        let inner = step.emit.shift(&inner, root);
        let u = step.emit.mul(&x, &inner);
        let t = step.emit.unary("Tanh", &u);
        let du = step.emit.scale(&square, 3.0 * root * CUBIC);
        let du = step.emit.shift(&du, root);
        let t_square = step.emit.mul(&t, &t);
        let one = step.emit.scalar(&x, 1.0);
        let bend = step.emit.sub(&one, &t_square);
        let bend = step.emit.mul(&bend, &du);
        let bend = step.emit.mul(&bend, &x);
        let sum = step.emit.add(&t, &bend);
        let sum = step.emit.scale(&sum, 0.5);
        step.emit.shift(&sum, 0.5)
    } else {
        let scaled = step.emit.scale(&x, std::f64::consts::FRAC_1_SQRT_2);
        let erf = step.emit.unary("Erf", &scaled);
        let share = step.emit.scale(&erf, 0.5);
        let share = step.emit.shift(&share, 0.5);
        let falling = step.emit.scale(&square, -0.5);
        let bell = step.emit.unary("Exp", &falling);
        let bell = step.emit.scale(&bell, 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
        let bend = step.emit.mul(&x, &bell);
        step.emit.add(&share, &bend)
    };
    Step::only(step.emit.mul(&dy, &slope))
}

/// dx = dy · (\[x > 0] − \[x < 0]), 0 at 0.
fn abs(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let positive = step.emit.step(&x);
    let mirrored = step.emit.unary("Neg", &x);
    let negative = step.emit.step(&mirrored);
    let sign = step.emit.sub(&positive, &negative);
    Step::only(step.emit.mul(&dy, &sign))
}

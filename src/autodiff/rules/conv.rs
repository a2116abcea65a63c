//! Convolution: its three gradients, each in the form that ONNX Runtime's CPU kernels run fastest.

use super::window::Window;
use super::{Gradients, NoGradient, Rule, Step, conv_input, conv_weight};

pub const RULES: &[(&str, Rule)] = &[("Conv", conv)];

/// y[n, m] = Σ_c w[m, c] ⋆ x[n, c] + b\[m], where output channel m sees only the input channels of its group.
///
/// Shapes: x `[n, c, spatial…]`, w `[m, c / groups, kernel…]`, b `[m]`.
fn conv(step: &mut Step) -> Gradients {
    let (x, w, y, dy) = (step.x(0)?, step.x(1)?, step.y(0)?, step.dy()?);
    if x.rank() < 3 || w.rank() != x.rank() || y.is_empty() || x.is_empty() {
        return Err(NoGradient(format!("convolves {:?} with {:?}", x.shape, w.shape)));
    }
    let groups = usize::try_from(step.node.int("group").unwrap_or(1)).unwrap_or(0);
    if groups == 0 || x.shape[1] != groups * w.shape[1] || w.shape[0] % groups != 0 {
        return Err(NoGradient(format!("has {groups} groups for {:?} and {:?}", x.shape, w.shape)));
    }
    let window = Window::new(step.node, &w.shape[2..], &x.shape[2..], &y.shape[2..])?;
    if window.axes() > 2 && window.strides.iter().any(|stride| *stride > 1) {
        return Err(NoGradient("moves over three or more axes in strides".into()));
    }
    let dx = step.wants(0).then(|| conv_input::gradient(step.emit, &dy, &w, groups, &window));
    let dw = step.wants(1).then(|| conv_weight::gradient(step.emit, &x, &dy, &w.shape, groups, &window));
    let db = step.wants(2).then(|| {
        let all_but_channels: Vec<usize> = (0..dy.rank()).filter(|axis| *axis != 1).collect();
        step.emit.sum(&dy, &all_but_channels, false)
    });
    Ok(vec![dx, dw, db])
}

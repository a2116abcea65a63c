//! Gradient of a convolution's weight: for each position in the kernel, the correlation of the outputs' gradient with the
//! inputs that this position saw.

use super::window::Window;
use crate::autodiff::emit::{Emitter, Value};

/// dw from x and dy.
///
/// Shapes: x `[n, c, input…]`, dy `[n, m, output…]`; returns `shape` = `[m, c / groups, kernel…]`.
/// Cost: one strided copy of x and one matrix product for each position in the kernel.
pub fn gradient(emit: &mut Emitter, x: &Value, dy: &Value, shape: &[usize], groups: usize, window: &Window) -> Value {
    let (n, c, m) = (x.shape[0], x.shape[1], dy.shape[1]);
    let positions = window.output_len();
    let depthwise = c == groups && m == groups;
    let border = |counts: &[i64]| [&[0, 0], counts].concat();
    let padded = emit.pad(x, &border(&window.before), &border(&window.after));
    let dy = emit.reshape(dy, &[n, groups, m / groups, positions]);
    // Transposing dy once serves every position; the products then come out with c before m.
    let dy = if depthwise { dy } else { emit.transpose(&dy, &[0, 1, 3, 2]) };

    let mut parts = Vec::with_capacity(window.kernel_len());
    for offset in window.offsets() {
        let starts: Vec<usize> =
            [0, 0].into_iter().chain(offset.iter().zip(&window.dilations).map(|(at, d)| at * d)).collect();
        let sizes = [&[n, c], window.output.as_slice()].concat();
        let steps = [&[1, 1], window.strides.as_slice()].concat();
        let seen = emit.slice(&padded, &starts, &sizes, &steps);
        let seen = emit.reshape(&seen, &[n, groups, c / groups, positions]);
        let part = if depthwise {
            // A batched matrix product of vectors has a cost for each of n · groups that dwarfs the work.
            let products = emit.mul(&seen, &dy);
            emit.sum(&products, &[0, 3], false)
        } else {
            let products = emit.matmul(&seen, &dy);
            emit.sum(&products, &[0], false)
        };
        parts.push(emit.reshape(&part, &[1, groups, c / groups, m / groups]));
    }
    let stacked = emit.concat(&parts, 0);
    let ordered = emit.transpose(&stacked, &[1, 3, 2, 0]);
    emit.reshape(&ordered, shape)
}

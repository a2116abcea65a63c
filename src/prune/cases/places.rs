//! Operators that take, write or sample places: the channels around them are cut.

use super::*;

/// Rows of one product, some of them written over by rows of another.
pub(super) fn scattered() -> Model {
    let mut net = Net::new();
    let x = net.input(&[5, 4]);
    let w = net.weight("w", &[4, 8]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let turned = net.node("Transpose", &[&y], &[("perm", ints(&[1, 0, 2]))]);
    let v = net.weight("v", &[4, 8]);
    let z = net.node("MatMul", &[&x, &v], &[]);
    let z = net.node("Transpose", &[&z], &[("perm", ints(&[1, 0, 2]))]);
    let rows = net.b.initializer("rows", &Tensor::from_i64(&[2, 1], &[3, 1]));
    let taken = net.node("GatherND", &[&z, &rows], &[]);
    let y = net.node("ScatterND", &[&turned, &rows, &taken], &[]);
    let y = net.node("Transpose", &[&y], &[("perm", ints(&[1, 0, 2]))]);
    let u = net.weight("u", &[8, 2]);
    let y = net.node("MatMul", &[&y, &u], &[]);
    net.finish(&y, &[5, 2])
}

#[test]
fn channels_of_written_and_selected_rows_are_cut() {
    let pruned = certified_on_one(&scattered());
    assert_eq!(shape(&pruned, "w"), [4, 4]);
    assert_eq!(shape(&pruned, "v"), [4, 4]);
    assert_eq!(shape(&pruned, "u"), [4, 2]);
}

#[test]
fn channels_of_a_sampled_plane_are_cut() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let y = net.conv("a", &x, 3, 8);
    let flat = net.conv("grid", &x, 3, 2);
    let grid = net.node("Transpose", &[&flat], &[("perm", ints(&[0, 2, 3, 1]))]);
    let y = net.node("GridSample", &[&y, &grid], &[]);
    let y = net.conv("b", &y, 8, 2);
    let pruned = certified_on_one(&net.finish(&y, &[2, 5, 5]));
    assert_eq!(shape(&pruned, "a"), [4, 3, 3, 3]);
    assert!(reason(&pruned, "grid", 0).contains("GridSample"), "{}", reason(&pruned, "grid", 0));
}

#[test]
fn blocks_that_are_put_together_keep_their_places() {
    let mut net = Net::new();
    let x = net.input(&[16, 4]);
    let w = net.weight("w", &[4, 9]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let v = net.weight("v", &[12, 16]);
    let y = net.node("MatMul", &[&v, &y], &[]);
    let (size, block) = (net.numbers(&[6, 6]), net.numbers(&[2, 2]));
    let strides = ("strides", ints(&[2, 2]));
    let y = net.node("Col2Im", &[&y, &size, &block], &[strides]);
    let y = net.conv("b", &y, 3, 2);
    let pruned = certified_on_one(&net.finish_in(&y, &[2, 6, 6], 18));
    assert_eq!(shape(&pruned, "v")[0], 4 * shape(&pruned, "b")[1]);
    assert!(shape(&pruned, "b")[1] < 3);
}

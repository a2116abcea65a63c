//! Hidden units of recurrent operators.

use super::*;

struct Cell {
    op_type: &'static str,
    gates: usize,
    directions: usize,
}

/// A recurrent layer over a sequence of five, then another, then a dense layer on the last hidden state.
fn model(cell: &Cell) -> Model {
    let Cell { op_type, gates, directions } = *cell;
    let mut net = Net::new();
    let x = net.b.input("x", DataType::Float, &[5.into(), "n".into(), 3.into()]);
    let direction = if directions == 2 { "bidirectional" } else { "forward" };
    let attributes =
        |hidden: i64| [("hidden_size", Attribute::Int(hidden)), ("direction", Attribute::String(direction.into()))];
    let w = net.weight("w", &[directions, gates * 8, 3]);
    let r = net.weight("r", &[directions, gates * 8, 8]);
    let b = net.weight("b", &[directions, 2 * gates * 8]);
    let y = net.node(op_type, &[&x, &w, &r, &b], &attributes(8));
    let y = net.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1, 3]))]);
    let flat = net.numbers(&[0, 0, -1]);
    let y = net.node("Reshape", &[&y, &flat], &[]);
    let w = net.weight("w2", &[directions, gates * 6, 8 * directions]);
    let r = net.weight("r2", &[directions, gates * 6, 6]);
    let y = net.node(op_type, &[&y, &w, &r], &attributes(6));
    let last = net.b.constant(&Tensor::from_i64(&[], &[-1]));
    let y = net.node("Gather", &[&y, &last], &[("axis", Attribute::Int(0))]);
    let y = net.node("Transpose", &[&y], &[("perm", ints(&[1, 0, 2]))]);
    let flat = net.numbers(&[0, -1]);
    let y = net.node("Reshape", &[&y, &flat], &[]);
    let y = net.dense("head", &y, 6 * directions, 2);
    net.finish(&y, &[2])
}

#[test]
fn a_hidden_unit_goes_from_every_gate_and_both_directions() {
    for (op_type, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        for directions in [1, 2] {
            let pruned = certified(&model(&Cell { op_type, gates, directions }));
            let (d, g) = (directions as i64, gates as i64);
            let graph = pruned.model.graph();
            let hidden: Vec<i64> = graph
                .proto
                .node
                .iter()
                .filter(|node| node.is(op_type))
                .filter_map(|node| node.int("hidden_size"))
                .collect();
            assert_eq!(hidden.iter().sum::<i64>(), 7, "{op_type} {directions}");
            assert_eq!(shape(&pruned, "w"), [d, g * hidden[0], 3]);
            assert_eq!(shape(&pruned, "r"), [d, g * hidden[0], hidden[0]]);
            assert_eq!(shape(&pruned, "b"), [d, 2 * g * hidden[0]]);
            assert_eq!(shape(&pruned, "w2"), [d, g * hidden[1], d * hidden[0]]);
            assert_eq!(shape(&pruned, "head"), [2, d * hidden[1]]);
        }
    }
}

#[test]
fn a_step_of_a_sequence_stays() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 24);
    let target = net.numbers(&[-1, 6, 4]);
    let y = net.node("Reshape", &[&y, &target], &[]);
    let y = net.node("Transpose", &[&y], &[("perm", ints(&[1, 0, 2]))]);
    let (w, r) = (net.weight("w", &[1, 8, 4]), net.weight("r", &[1, 8, 8]));
    let y = net.node("RNN", &[&y, &w, &r], &[("hidden_size", Attribute::Int(8))]);
    let y = net.node("Transpose", &[&y], &[("perm", ints(&[2, 0, 1, 3]))]);
    let target = net.numbers(&[0, -1]);
    let y = net.node("Reshape", &[&y, &target], &[]);
    let y = net.dense("b", &y, 48, 2);
    let pruned = certified(&net.finish(&y, &[2]));
    // All six steps stay, each with fewer of its four numbers.
    let (numbers, hidden) = (shape(&pruned, "w")[2], shape(&pruned, "r")[2]);
    assert!(numbers < 4 && hidden < 8, "{numbers} {hidden}");
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "b")[1]), (6 * numbers, 6 * hidden));
    assert!(reason(&pruned, "a", 0).contains("each step of a sequence"), "{}", reason(&pruned, "a", 0));
}

//! Blocks on sequences: attention, mixing, recurrence.

use rand::RngExt as _;

use super::maker::{Kind, Maker, Value, ints};
use crate::onnx::attribute::Attribute;
use crate::onnx::tensor::Tensor;

impl Maker<'_> {
    pub(super) fn sequence_block(&mut self, x: Value, length: usize, channels: usize) -> Value {
        let sequence = |name: String, channels: usize| Value { name, kind: Kind::Sequence { length, channels } };
        match self.rng.random_range(0..10) {
            0 => {
                let out = self.width();
                let y = self.linear(&x.name, channels, out);
                sequence(self.activation(&y, 1), out)
            }
            1 => sequence(self.layer_norm(&x.name, channels), channels),
            2..5 => {
                let y = self.layer_norm(&x.name, channels);
                let y = self.attention(&y, length, channels);
                sequence(self.node("Add", &[&y, &x.name], &[]), channels)
            }
            5 | 6 => {
                let hidden = self.width();
                let y = self.linear(&x.name, channels, hidden);
                let y = self.gelu(&y);
                let y = self.linear(&y, hidden, channels);
                sequence(self.node("Add", &[&y, &x.name], &[]), channels)
            }
            7 => {
                let y = self.node("Transpose", &[&x.name], &[("perm", ints(&[0, 2, 1]))]);
                let hidden = self.width();
                let y = self.linear(&y, length, hidden);
                let y = self.node("Relu", &[&y], &[]);
                let y = self.linear(&y, hidden, length);
                let y = self.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1]))]);
                sequence(self.node("Add", &[&y, &x.name], &[]), channels)
            }
            8 => {
                let (name, channels) = self.recurrent(&x.name, channels);
                sequence(name, channels)
            }
            _ => self.rows(x),
        }
    }

    /// Self-attention with packed or separate projections, its scale a constant or computed from a shape.
    fn attention(&mut self, x: &str, length: usize, channels: usize) -> String {
        let (heads, size) = (self.pick(&[1, 2, 3, 4]), self.pick(&[2, 3, 4]));
        let inner = heads * size;
        let (length_, heads_, size_) = (length as i64, heads as i64, size as i64);
        let parts: Vec<String> = if self.one_in(2) {
            let y = self.linear(x, channels, 3 * inner);
            if self.one_in(2) {
                let y = self.reshape(&y, &[-2, length_, 3, heads_, size_]);
                let y = self.node("Transpose", &[&y], &[("perm", ints(&[2, 0, 3, 1, 4]))]);
                (0..3)
                    .map(|which| {
                        let which = self.b.constant(&Tensor::from_i64(&[], &[which]));
                        self.node("Gather", &[&y, &which], &[("axis", Attribute::Int(0))])
                    })
                    .collect()
            } else {
                let sizes = self.numbers(&[inner as i64; 3]);
                let parts = self.b.nodes("Split", &[&y, &sizes], &[("axis", Attribute::Int(2))], 3);
                parts.iter().map(|part| self.heads(part, length_, heads_, size_)).collect()
            }
        } else {
            (0..3)
                .map(|_| {
                    let y = self.linear(x, channels, inner);
                    self.heads(&y, length_, heads_, size_)
                })
                .collect()
        };
        let keys = self.node("Transpose", &[&parts[1]], &[("perm", ints(&[0, 1, 3, 2]))]);
        let scores = self.node("MatMul", &[&parts[0], &keys], &[]);
        let scale = if self.one_in(2) {
            self.scalar((size as f32).sqrt())
        } else {
            let shape = self.node("Shape", &[&parts[0]], &[]);
            let last = self.b.constant(&Tensor::from_i64(&[], &[3]));
            let size = self.node("Gather", &[&shape, &last], &[]);
            let size = self.node("Cast", &[&size], &[("to", Attribute::Int(1))]);
            self.node("Sqrt", &[&size], &[])
        };
        let scores = self.node("Div", &[&scores, &scale], &[]);
        let weights = self.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let y = self.node("MatMul", &[&weights, &parts[2]], &[]);
        let y = self.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1, 3]))]);
        let y = self.reshape(&y, &[-2, length_, inner as i64]);
        self.linear(&y, inner, channels)
    }

    fn heads(&mut self, x: &str, length: i64, heads: i64, size: i64) -> String {
        let y = self.reshape(x, &[-2, length, heads, size]);
        self.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1, 3]))])
    }

    /// A recurrent layer over a sequence with the batch in front; the outputs of both directions lie side by side.
    fn recurrent(&mut self, x: &str, channels: usize) -> (String, usize) {
        let (op_type, gates) = self.pick(&[("LSTM", 4), ("GRU", 3), ("RNN", 1)]);
        let (directions, hidden) = (self.pick(&[1, 2]), self.pick(&[2, 3, 5, 6]));
        let x = self.node("Transpose", &[x], &[("perm", ints(&[1, 0, 2]))]);
        let w = self.weight(&[directions, gates * hidden, channels], channels);
        let r = self.weight(&[directions, gates * hidden, hidden], hidden);
        let b = self.draw(&[directions, 2 * gates * hidden], -0.2, 0.2);
        let direction = if directions == 2 { "bidirectional" } else { "forward" };
        let attributes =
            [("hidden_size", Attribute::Int(hidden as i64)), ("direction", Attribute::String(direction.into()))];
        let y = self.node(op_type, &[&x, &w, &r, &b], &attributes);
        let y = self.node("Transpose", &[&y], &[("perm", ints(&[2, 0, 1, 3]))]);
        let shape = self.numbers(&[0, 0, -1]);
        (self.node("Reshape", &[&y, &shape], &[]), directions * hidden)
    }
}

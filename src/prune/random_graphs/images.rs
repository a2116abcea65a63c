//! Blocks on images: convolutions, and what stands between them.

use rand::RngExt as _;

use super::maker::{Kind, Maker, Value, ints};
use crate::onnx::attribute::Attribute;

impl Maker<'_> {
    pub(super) fn image_block(&mut self, x: Value, channels: usize, side: usize) -> Value {
        let image = |name: String, channels: usize| Value { name, kind: Kind::Image { channels, side } };
        match self.rng.random_range(0..20) {
            0..4 => {
                let out = self.width();
                let y = self.conv(&x.name, channels, out, 1);
                let y = self.activation(&y, out);
                image(y, out)
            }
            4 => {
                let divisors: Vec<usize> = (1..=channels).filter(|group| channels.is_multiple_of(*group)).collect();
                let group = self.pick(&divisors);
                let out = group * self.pick(&[1, 2, 3]);
                image(self.conv(&x.name, channels, out, group), out)
            }
            5 => image(self.batch_norm(&x.name, channels), channels),
            6 => image(self.group_norm(&x.name, channels, side), channels),
            7 | 8 => {
                let y = self.conv(&x.name, channels, channels, 1);
                let y = self.activation(&y, channels);
                let y = self.conv(&y, channels, channels, 1);
                image(self.node("Add", &[&y, &x.name], &[]), channels)
            }
            9 => {
                let (a, b) = (self.width(), self.width());
                let left = self.conv(&x.name, channels, a, 1);
                let right = self.conv(&x.name, channels, b, 1);
                let mut parts = vec![left.as_str(), &right];
                let mut width = a + b;
                if self.one_in(3) {
                    parts.push(&left);
                    width += a;
                }
                image(self.node("Concat", &parts, &[("axis", Attribute::Int(1))]), width)
            }
            10 | 11 if channels > 1 => {
                let at = if channels.is_multiple_of(2) { channels / 2 } else { self.rng.random_range(1..channels) };
                let sizes = self.numbers(&[at as i64, (channels - at) as i64]);
                let parts = self.b.nodes("Split", &[&x.name, &sizes], &[("axis", Attribute::Int(1))], 2);
                if 2 * at == channels && self.one_in(2) {
                    let gate = self.node("Sigmoid", &[&parts[1]], &[]);
                    return image(self.node("Mul", &[&parts[0], &gate], &[]), at);
                }
                let out = self.width();
                let y = self.conv(&parts[0], at, out, 1);
                let width = out + channels - at;
                image(self.node("Concat", &[&parts[1], &y], &[("axis", Attribute::Int(1))]), width)
            }
            12 => image(self.squeeze_and_excite(&x.name, channels), channels),
            13 if channels.is_multiple_of(2) => {
                let (half, side) = ((channels / 2) as i64, side as i64);
                let groups = self.pick(&[2, half]);
                let y = self.reshape(&x.name, &[-2, groups, channels as i64 / groups, side, side]);
                let y = self.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1, 3, 4]))]);
                image(self.reshape(&y, &[-2, channels as i64, side, side]), channels)
            }
            14 => image(self.padded_shortcut(&x.name, channels), channels + 3),
            15 if side >= 4 => {
                let op_type = self.pick(&["MaxPool", "AveragePool"]);
                let attributes = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
                let name = self.node(op_type, &[&x.name], &attributes);
                Value { name, kind: Kind::Image { channels, side: side / 2 } }
            }
            16 => {
                let out = self.width();
                let w = self.weight(&[channels, out, 3, 3], channels * 9);
                image(self.node("ConvTranspose", &[&x.name, &w], &[("pads", ints(&[1, 1, 1, 1]))]), out)
            }
            17 => {
                let y = self.reshape(&x.name, &[-2, channels as i64, (side * side) as i64]);
                let name = self.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1]))]);
                Value { name, kind: Kind::Sequence { length: side * side, channels } }
            }
            18 => {
                let mean = self.reduce("ReduceMean", &x.name, 1, true);
                let max = self.reduce("ReduceMax", &x.name, 1, true);
                let y = self.node("Concat", &[&mean, &max], &[("axis", Attribute::Int(1))]);
                let y = self.conv(&y, 2, 1, 1);
                let y = self.node("Sigmoid", &[&y], &[]);
                image(self.node("Mul", &[&x.name, &y], &[]), channels)
            }
            _ => self.rows(x),
        }
    }

    fn batch_norm(&mut self, x: &str, channels: usize) -> String {
        let (scale, bias) = (self.draw(&[channels], 0.5, 1.5), self.draw(&[channels], -0.5, 0.5));
        let (mean, variance) = (self.draw(&[channels], -0.5, 0.5), self.draw(&[channels], 0.5, 1.5));
        self.node("BatchNormalization", &[x, &scale, &bias, &mean, &variance], &[])
    }

    /// As an operator, or as instance normalisation of reshaped channels.
    fn group_norm(&mut self, x: &str, channels: usize, side: usize) -> String {
        let divisors: Vec<usize> = (1..=channels).filter(|groups| channels.is_multiple_of(*groups)).collect();
        let groups = self.pick(&divisors);
        if self.opset >= 18 && self.one_in(2) {
            let size = if self.opset < 21 { groups } else { channels };
            let (scale, bias) = (self.draw(&[size], 0.5, 1.5), self.draw(&[size], -0.5, 0.5));
            let attributes = [("num_groups", Attribute::Int(groups as i64))];
            return self.node("GroupNormalization", &[x, &scale, &bias], &attributes);
        }
        let (ones, zeros) = (self.draw(&[groups], 0.9, 1.1), self.draw(&[groups], -0.1, 0.1));
        let y = self.reshape(x, &[-2, groups as i64, -1]);
        let y = self.node("InstanceNormalization", &[&y, &ones, &zeros], &[]);
        let y = self.reshape(&y, &[-2, channels as i64, side as i64, side as i64]);
        let scale = self.draw(&[channels, 1, 1], 0.5, 1.5);
        self.node("Mul", &[&y, &scale], &[])
    }

    fn squeeze_and_excite(&mut self, x: &str, channels: usize) -> String {
        let hidden = self.width();
        let y = self.node("GlobalAveragePool", &[x], &[]);
        let squeeze = self.weight(&[hidden, channels, 1, 1], channels);
        let y = self.node("Conv", &[&y, &squeeze], &[]);
        let y = self.node("Relu", &[&y], &[]);
        let excite = self.weight(&[channels, hidden, 1, 1], hidden);
        let y = self.node("Conv", &[&y, &excite], &[]);
        let y = self.node("HardSigmoid", &[&y], &[]);
        self.node("Mul", &[x, &y], &[])
    }

    /// Channels padded by constants, as the shortcuts of small residual networks are.
    fn padded_shortcut(&mut self, x: &str, channels: usize) -> String {
        let pads = self.numbers(&[0, 1, 0, 0, 0, 2, 0, 0]);
        let wide = self.node("Pad", &[x, &pads], &[]);
        let y = self.conv(x, channels, channels + 3, 1);
        self.node("Add", &[&wide, &y], &[])
    }
}

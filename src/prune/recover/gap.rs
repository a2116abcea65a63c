//! What a layer's target lacks beside the original's, position by position, and the inputs that it was computed from.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::layer::{Kind, Layer};
use super::ridge::Rows;
use crate::onnx::proto::NodeProto;
use crate::onnx::tensor::{Tensor, TensorError};

/// Why targets cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GapError {
    #[error("its output {0:?} does not lie beside the original's {1:?}")]
    Shapes(Vec<usize>, Vec<usize>),
    #[error("its values cannot be read: {0}")]
    Tensor(#[from] TensorError),
}

/// A target beside the original's on one batch, by position and channel.
#[derive(Debug)]
pub struct Gap {
    /// Sizes before, of and behind the channel axis.
    outer: usize,
    channels: usize,
    inner: usize,
    found: Vec<f32>,
    /// The original's channels that were kept, in the same layout.
    expected: Vec<f32>,
}

impl Gap {
    /// Lays the target beside the kept channels of the original's.
    pub fn new(layer: &Layer, found: &Tensor, expected: &Tensor) -> Result<Self, GapError> {
        let axis = layer.channel_axis(found.shape.len());
        let mismatch = || GapError::Shapes(found.shape.clone(), expected.shape.clone());
        let channels = *found.shape.get(axis).ok_or_else(mismatch)?;
        let all = *expected.shape.get(axis).ok_or_else(mismatch)?;
        let kept: Vec<usize> = match &layer.kept {
            Some(kept) => kept.iter().map(|index| *index as usize).collect(),
            None => (0..all).collect(),
        };
        let mut shape = expected.shape.clone();
        shape[axis] = kept.len();
        if shape != found.shape || kept.iter().any(|index| *index >= all) {
            return Err(mismatch());
        }
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        let values = expected.to_f32()?;
        let mut picked = Vec::with_capacity(found.len());
        for block in 0..outer {
            for index in &kept {
                let start = (block * all + index) * inner;
                picked.extend_from_slice(&values[start..start + inner]);
            }
        }
        Ok(Self { outer, channels, inner, found: found.to_f32()?.into_owned(), expected: picked })
    }

    /// Number of positions: samples times places.
    pub fn positions(&self) -> usize {
        self.outer * self.inner
    }

    /// What is lacking at a position in a channel, and what the original has there.
    pub fn at(&self, position: usize, channel: usize) -> (f64, f64) {
        let at = (position / self.inner * self.channels + channel) * self.inner + position % self.inner;
        let expected = f64::from(self.expected[at]);
        (expected - f64::from(self.found[at]), expected)
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }
}

/// At most `count` of `of` positions, ascending, one from each of `count` equal parts.
pub fn draw_positions(of: usize, count: usize, seed: u64) -> Vec<usize> {
    if count >= of {
        return (0..of).collect();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|part| random.random_range(part * of / count..(part + 1) * of / count)).collect()
}

/// The inputs of a layer on one batch.
#[derive(Debug)]
pub struct Inputs<'l> {
    groups: usize,
    values: Vec<f32>,
    window: Option<Window<'l>>,
    /// Inputs that each output of a group is computed from.
    width: usize,
}

/// Where a convolution looks.
#[derive(Debug)]
struct Window<'l> {
    /// Channels a group.
    channels: usize,
    input: &'l [usize],
    output: &'l [usize],
    kernel: &'l [usize],
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Padding before each axis.
    before: Vec<usize>,
}

impl<'l> Inputs<'l> {
    /// Binds what a layer reads to where its outputs lie.
    pub fn new(
        kind: &Kind,
        node: &NodeProto,
        weight: &'l [usize],
        input: &'l Tensor,
        output: &'l [usize],
    ) -> Result<Self, GapError> {
        let values = input.to_f32()?.into_owned();
        let Kind::Conv { groups } = kind else {
            let width = input.shape.last().copied().unwrap_or(0);
            return Ok(Self { groups: 1, values, window: None, width });
        };
        let kernel = &weight[2..];
        let mismatch = || GapError::Shapes(output.to_vec(), input.shape.clone());
        if input.shape.len() != weight.len() || output.len() != weight.len() || input.shape[1] != weight[1] * groups {
            return Err(mismatch());
        }
        let all = |name: &str| match node.ints(name) {
            Some(sizes) if sizes.len() == kernel.len() => sizes.iter().map(|size| (*size).max(1) as usize).collect(),
            _ => vec![1; kernel.len()],
        };
        let (strides, dilations) = (all("strides"), all("dilations"));
        let (input, output) = (&input.shape[..], &output[2..]);
        let before = (0..kernel.len())
            .map(|axis| {
                // What the output's size asks for is split in two; the odd one lies where the mode says.
                let reach = (output[axis].max(1) - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
                let total = reach.saturating_sub(input[2 + axis]);
                match node.text("auto_pad") {
                    Some("SAME_UPPER") => total / 2,
                    Some("SAME_LOWER") => total.div_ceil(2),
                    Some("VALID") => 0,
                    _ => node.ints("pads").and_then(|pads| pads.get(axis)).map_or(0, |pad| (*pad).max(0) as usize),
                }
            })
            .collect();
        let width = weight[1..].iter().product();
        let window = Window { channels: weight[1], input, output, kernel, strides, dilations, before };
        Ok(Self { groups: *groups, values, window: Some(window), width })
    }

    /// Appends the inputs of a group at a position, in the order of the weights of one output.
    pub fn append(&self, position: usize, group: usize, row: &mut Vec<f64>) {
        let Some(window) = &self.window else {
            let start = position * self.width;
            row.extend(self.values[start..start + self.width].iter().map(|value| f64::from(*value)));
            return;
        };
        let places: usize = window.output.iter().product();
        let place = digits(position % places, window.output);
        let sample = position / places * self.groups * window.channels;
        let size: usize = window.input[2..].iter().product();
        let taps: Vec<Option<usize>> =
            (0..window.kernel.iter().product()).map(|tap| window.offset(&place, &digits(tap, window.kernel))).collect();
        for channel in 0..window.channels {
            let start = (sample + group * window.channels + channel) * size;
            row.extend(taps.iter().map(|tap| tap.map_or(0.0, |offset| f64::from(self.values[start + offset]))));
        }
    }
}

impl Window<'_> {
    /// Where a tap of the kernel reads in a channel; `None` in the padding.
    fn offset(&self, place: &[usize], tap: &[usize]) -> Option<usize> {
        let mut offset = 0;
        for axis in 0..place.len() {
            let size = self.input[2 + axis];
            let padded = place[axis] * self.strides[axis] + tap[axis] * self.dilations[axis];
            let at = padded.checked_sub(self.before[axis]).filter(|at| *at < size)?;
            offset = offset * size + at;
        }
        Some(offset)
    }
}

/// A flat index as one along each axis.
fn digits(mut flat: usize, sizes: &[usize]) -> Vec<usize> {
    let mut digits = vec![0; sizes.len()];
    for (digit, size) in digits.iter_mut().zip(sizes).rev() {
        *digit = flat % size.max(&1);
        flat /= size.max(&1);
    }
    digits
}

/// Rows of a group at some positions; the last input of each is one where there is a bias. Channels that the target's
/// scale makes nothing of lack nothing.
pub fn rows(layer: &Layer, gap: &Gap, inputs: &Inputs<'_>, positions: &[usize], group: usize, has_bias: bool) -> Rows {
    let outputs = gap.channels() / inputs.groups;
    let mut rows = Rows::default();
    for position in positions {
        inputs.append(*position, group, &mut rows.inputs);
        if has_bias {
            rows.inputs.push(1.0);
        }
        for channel in group * outputs..(group + 1) * outputs {
            let (lack, _) = gap.at(*position, channel);
            rows.lack.push(layer.gain(channel).map_or(0.0, |gain| lack / gain));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::attribute::Attribute;

    #[test]
    fn a_window_reads_what_the_convolution_reads() {
        // One sample of two channels of 3 × 3; a 3 × 3 kernel with a padding of one at the first corner.
        let values: Vec<f32> = (0..18_u8).map(f32::from).collect();
        let input = Tensor::from_f32(&[1, 2, 3, 3], &values);
        let mut node = NodeProto::default();
        node.set_attribute("pads", Attribute::Ints(vec![1, 1, 1, 1]));
        let inputs = Inputs::new(&Kind::Conv { groups: 1 }, &node, &[4, 2, 3, 3], &input, &[1, 4, 3, 3]).unwrap();
        let mut row = Vec::new();
        inputs.append(0, 0, &mut row);
        assert_eq!(row[..9], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0, 4.0]);
        assert_eq!(row[9..], [0.0, 0.0, 0.0, 0.0, 9.0, 10.0, 0.0, 12.0, 13.0]);
    }

    #[test]
    fn positions_are_drawn_once_and_in_order() {
        let drawn = draw_positions(1000, 100, 5);
        assert!(drawn.len() == 100 && drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(drawn, draw_positions(1000, 100, 5));
        assert_eq!(draw_positions(3, 100, 5), [0, 1, 2]);
    }
}

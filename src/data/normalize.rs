//! From stored integers to the numbers that a network was trained on: `(v / divide_by - mean) / std`, in 32-bit floats
//! and in this order, as numpy and torchvision compute it.

use super::DataError;
use crate::spec::preprocess::{Layout, Preprocess};

/// Normalisation of one array.
#[derive(Clone, Debug)]
pub(super) struct Normalize {
    divide_by: f32,
    /// Mean and standard deviation of each channel; one entry where all channels share them.
    channels: Vec<(f32, f32)>,
    /// What each of the 256 values of a byte becomes, by channel.
    tables: Vec<[f32; 256]>,
    /// Elements of one channel that lie side by side.
    run: usize,
}

impl Normalize {
    /// For samples of the given shape.
    ///
    /// Errors: a mean or standard deviation that does not go with the number of channels.
    pub(super) fn new(preprocess: &Preprocess, sample_shape: &[usize]) -> Result<Self, DataError> {
        let (mean, std) = (&preprocess.mean, &preprocess.std);
        let wanted = mean.len().max(std.len());
        let axis = match preprocess.layout {
            Layout::Nchw => 0,
            Layout::Nhwc => sample_shape.len().saturating_sub(1),
        };
        let found = sample_shape.get(axis).copied().unwrap_or(1);
        for (field, values) in [("mean", mean), ("std", std)] {
            if values.len() > 1 && values.len() != found {
                let reason = format!(
                    "has {} values, but axis {} of samples of the shape {sample_shape:?} has {found} channels",
                    values.len(),
                    axis + 1
                );
                return Err(DataError::Preprocess { field, reason });
            }
        }
        let value = |values: &[f64], channel: usize, default| match values {
            [] => default,
            [only] => *only as f32,
            several => several[channel] as f32,
        };
        let channels: Vec<_> =
            (0..wanted.max(1)).map(|channel| (value(mean, channel, 0.0), value(std, channel, 1.0))).collect();
        let divide_by = preprocess.divide_by as f32;
        let tables = channels
            .iter()
            .map(|&(mean, std)| std::array::from_fn(|byte| normal(byte as f32, divide_by, mean, std)))
            .collect();
        let run = if channels.len() > 1 { sample_shape[axis + 1..].iter().product() } else { 1 };
        Ok(Self { divide_by, channels, tables, run })
    }

    /// One sample of bytes.
    pub(super) fn bytes(&self, sample: &[u8], out: &mut [f32]) {
        for (number, (from, to)) in sample.chunks(self.run).zip(out.chunks_mut(self.run)).enumerate() {
            let table = &self.tables[number % self.tables.len()];
            for (byte, value) in from.iter().zip(to) {
                *value = table[usize::from(*byte)];
            }
        }
    }

    /// One sample of numbers that `out` holds already.
    pub(super) fn in_place(&self, out: &mut [f32]) {
        for (number, values) in out.chunks_mut(self.run).enumerate() {
            let (mean, std) = self.channels[number % self.channels.len()];
            for value in values {
                *value = normal(*value, self.divide_by, mean, std);
            }
        }
    }
}

fn normal(value: f32, divide_by: f32, mean: f32, std: f32) -> f32 {
    (value / divide_by - mean) / std
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preprocess(layout: Layout) -> Preprocess {
        Preprocess { divide_by: 2.0, mean: vec![1.0, 2.0], std: vec![0.5, 4.0], layout, ..Preprocess::default() }
    }

    #[test]
    fn channels_lie_first_or_last() {
        let bytes = [2_u8, 4, 6, 8];
        let mut out = [0.0; 4];
        Normalize::new(&preprocess(Layout::Nchw), &[2, 1, 2]).unwrap().bytes(&bytes, &mut out);
        assert_eq!(out, [0.0, 2.0, 0.25, 0.5]);
        Normalize::new(&preprocess(Layout::Nhwc), &[1, 2, 2]).unwrap().bytes(&bytes, &mut out);
        assert_eq!(out, [0.0, 0.0, 4.0, 0.5]);
        out = [2.0, 4.0, 6.0, 8.0];
        Normalize::new(&preprocess(Layout::Nhwc), &[1, 2, 2]).unwrap().in_place(&mut out);
        assert_eq!(out, [0.0, 0.0, 4.0, 0.5]);
    }

    #[test]
    fn one_value_serves_every_channel_and_another_number_is_refused() {
        let mut p = preprocess(Layout::Nchw);
        (p.mean, p.std) = (vec![3.0], vec![]);
        let mut out = [0.0; 3];
        Normalize::new(&p, &[3]).unwrap().bytes(&[2, 4, 6], &mut out);
        assert_eq!(out, [-2.0, -1.0, 0.0]);
        p.std = vec![1.0, 2.0];
        assert!(matches!(Normalize::new(&p, &[3]), Err(DataError::Preprocess { field: "std", .. })));
    }
}

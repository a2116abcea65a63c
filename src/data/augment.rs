//! Random changes of training images: mirroring and shifting, after normalisation.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::order::below;
use crate::spec::preprocess::Layout;
use crate::spec::retrain::Augment;

/// What is done to the samples of one epoch. A sample's changes depend on the seed, the epoch and the sample alone, so
/// that a training that was interrupted sees the same images when it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Augmentation {
    pub what: Augment,
    pub seed: u64,
    pub epoch: u64,
}

/// Where the channels, rows and columns of a sample lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    channels: usize,
    height: usize,
    width: usize,
    layout: Layout,
}

impl Plane {
    /// The planes of a sample; `None` where it is no image.
    pub(super) fn of(sample_shape: &[usize], layout: Layout) -> Option<Self> {
        let &[first, second, third] = sample_shape else { return None };
        let [channels, height, width] = match layout {
            Layout::Nchw => [first, second, third],
            Layout::Nhwc => [third, first, second],
        };
        Some(Self { channels, height, width, layout })
    }
}

/// One sample's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    flip: bool,
    /// Offset of the window in the padded image, less the padding.
    down: isize,
    right: isize,
}

impl Augmentation {
    /// Whether nothing is changed.
    pub fn is_none(&self) -> bool {
        self.what == Augment::default()
    }

    fn change(&self, sample: usize) -> Change {
        // The epochs of a seed and the samples of an epoch draw from streams of their own.
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        seed[16..].copy_from_slice(b"augment a sample");
        let mut random = ChaCha8Rng::from_seed(seed);
        random.set_stream(sample as u64);
        let padding = u64::from(self.what.crop_padding);
        let mut offset = || below(&mut random, 2 * padding + 1) as isize - padding as isize;
        let (down, right) = (offset(), offset());
        Change { down, right, flip: self.what.horizontal_flip && random.next_u32() & 1 == 1 }
    }

    /// Writes the changed sample; `out` has its size.
    pub(super) fn apply(&self, sample: usize, plane: Plane, from: &[f32], out: &mut [f32]) {
        shift(self.change(sample), plane, from, out);
    }
}

/// The window of the padded image, mirrored where that is asked for: what lies outside of the image is 0.
fn shift(change: Change, plane: Plane, from: &[f32], out: &mut [f32]) {
    let Plane { channels, height, width, layout } = plane;
    let inside = |at: usize, offset: isize, size: usize| at.checked_add_signed(offset).filter(|at| *at < size);
    for y in 0..height {
        let row = inside(y, change.down, height);
        for x in 0..width {
            let column = inside(if change.flip { width - 1 - x } else { x }, change.right, width);
            for channel in 0..channels {
                let at = |y: usize, x: usize| match layout {
                    Layout::Nchw => (channel * height + y) * width + x,
                    Layout::Nhwc => (y * width + x) * channels + channel,
                };
                out[at(y, x)] = row.zip(column).map_or(0.0, |(row, column)| from[at(row, column)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_brings_in_zeros_and_a_flip_mirrors_the_window() {
        let plane = Plane::of(&[1, 2, 3], Layout::Nchw).unwrap();
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut out = [9.0; 6];
        shift(Change { flip: false, down: 1, right: -1 }, plane, &image, &mut out);
        assert_eq!(out, [0.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
        shift(Change { flip: true, down: 1, right: -1 }, plane, &image, &mut out);
        assert_eq!(out, [5.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
        shift(Change { flip: false, down: 0, right: 0 }, plane, &image, &mut out);
        assert_eq!(out, image);
    }

    #[test]
    fn both_layouts_change_alike() {
        let planar: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let mut packed = vec![0.0; 24];
        for (c, y, x) in (0..2).flat_map(|c| (0..3).flat_map(move |y| (0..4).map(move |x| (c, y, x)))) {
            packed[(y * 4 + x) * 2 + c] = planar[(c * 3 + y) * 4 + x];
        }
        let what = Augment { horizontal_flip: true, crop_padding: 2 };
        for sample in 0..50 {
            let augmentation = Augmentation { what, seed: 7, epoch: 3 };
            let (mut a, mut b) = (vec![0.0; 24], vec![0.0; 24]);
            augmentation.apply(sample, Plane::of(&[2, 3, 4], Layout::Nchw).unwrap(), &planar, &mut a);
            augmentation.apply(sample, Plane::of(&[3, 4, 2], Layout::Nhwc).unwrap(), &packed, &mut b);
            for (c, y, x) in (0..2).flat_map(|c| (0..3).flat_map(move |y| (0..4).map(move |x| (c, y, x)))) {
                assert_eq!(a[(c * 3 + y) * 4 + x], b[(y * 4 + x) * 2 + c]);
            }
        }
    }

    #[test]
    fn changes_depend_on_seed_epoch_and_sample_and_reach_every_offset() {
        let what = Augment { horizontal_flip: true, crop_padding: 1 };
        let changes = |seed, epoch| -> Vec<Change> {
            (0..200).map(|sample| Augmentation { what, seed, epoch }.change(sample)).collect()
        };
        let first = changes(1, 1);
        assert_eq!(first, changes(1, 1));
        assert_ne!(first, changes(2, 1));
        assert_ne!(first, changes(1, 2));
        for down in -1..=1 {
            for right in -1..=1 {
                for flip in [false, true] {
                    assert!(first.contains(&Change { flip, down, right }), "{down} {right} {flip}");
                }
            }
        }
        let still = Augmentation { what: Augment::default(), seed: 1, epoch: 1 };
        assert!(still.is_none());
        assert_eq!(still.change(5), Change { flip: false, down: 0, right: 0 });
    }
}

//! Which samples are trained on, which are held out, and in which order: from a seed, the same on every machine.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng as _};

/// A dataset in two parts, each in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub training: Vec<usize>,
    pub validation: Vec<usize>,
}

/// Holds out a share of the samples, of each class as nearly the same share as whole samples allow. Every class keeps at
/// least one sample for training.
pub fn split(labels: &[i64], validation_fraction: f64, seed: u64) -> Split {
    let mut classes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (sample, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(sample);
    }
    let total = (labels.len() as f64 * validation_fraction).round() as usize;
    let mut shares: Vec<(i64, usize, f64)> = classes
        .iter()
        .map(|(label, samples)| {
            let exact = samples.len() as f64 * validation_fraction;
            (*label, (exact as usize).min(samples.len() - 1), exact.fract())
        })
        .collect();
    // What rounding down left over goes to the classes with the largest remainders, the smaller label first.
    let mut left = total.saturating_sub(shares.iter().map(|share| share.1).sum());
    shares.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    for (label, count, _) in &mut shares {
        if left > 0 && *count + 1 < classes[label].len() {
            *count += 1;
            left -= 1;
        }
    }
    shares.sort_by_key(|share| share.0);
    let mut random = generator(seed, b"split by classes");
    let mut split = Split::default();
    for (label, count, _) in shares {
        let samples = classes.get_mut(&label).map(std::mem::take).unwrap_or_default();
        let mixed = mix(samples, &mut random);
        split.validation.extend(&mixed[..count]);
        split.training.extend(&mixed[count..]);
    }
    split.validation.sort_unstable();
    split.training.sort_unstable();
    split
}

/// The samples in the order of an epoch.
pub fn shuffled(samples: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut random = generator(seed, b"order of samples");
    random.set_stream(epoch);
    mix(samples.to_vec(), &mut random)
}

fn generator(seed: u64, purpose: &[u8; 16]) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[16..].copy_from_slice(purpose);
    ChaCha8Rng::from_seed(bytes)
}

/// Fisher and Yates. Written out so that an update of a library cannot change the order that a checkpoint goes on with.
fn mix(mut samples: Vec<usize>, random: &mut ChaCha8Rng) -> Vec<usize> {
    for last in (1..samples.len()).rev() {
        samples.swap(last, below(random, last as u64 + 1) as usize);
    }
    samples
}

/// A number below `bound`, each as likely as the others to one in 2⁶⁴ parts of `bound`.
pub(super) fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_gives_its_share() {
        let labels: Vec<i64> = (0..100).map(|i| if i < 60 { 0 } else { 3 }).chain([7]).collect();
        let Split { training, validation } = split(&labels, 0.1, 1);
        let count = |part: &[usize], label| part.iter().filter(|sample| labels[**sample] == label).count();
        assert_eq!((count(&validation, 0), count(&validation, 3), count(&validation, 7)), (6, 4, 0));
        let mut all = [training.clone(), validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..101).collect::<Vec<_>>());
        assert_eq!(split(&labels, 0.1, 1), Split { training, validation: validation.clone() });
        assert_ne!(split(&labels, 0.1, 2).validation, validation);
    }

    #[test]
    fn remainders_add_up_to_the_share_of_the_whole() {
        let labels: Vec<i64> = (0..10).flat_map(|label| [label; 5]).collect();
        assert_eq!(split(&labels, 0.1, 4).validation.len(), 5);
        assert_eq!(split(&labels, 0.0, 4).validation.len(), 0);
        assert_eq!(split(&[], 0.5, 4), Split::default());
        assert_eq!(split(&[1], 0.8, 4).training, [0]);
    }

    #[test]
    fn an_epoch_has_every_sample_once_in_an_order_of_its_own() {
        let samples: Vec<usize> = (10..60).collect();
        let first = shuffled(&samples, 1, 0);
        assert_eq!(first, shuffled(&samples, 1, 0));
        assert_ne!(first, shuffled(&samples, 1, 1));
        assert_ne!(first, shuffled(&samples, 2, 0));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, samples);
    }
}

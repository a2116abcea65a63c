//! A seeded draw: the baseline that any criterion has to beat.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// One uniform number in `(0, 1]` a unit, the same for the same seed on every machine.
pub fn draw(seed: u64, units: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..units).map(|_| 1.0 - rng.random::<f64>()).collect()
}

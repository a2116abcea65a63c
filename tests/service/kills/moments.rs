//! Random moments, which can be had again.

#![expect(clippy::print_stderr, reason = "who sees a failure needs the moments that led to it")]

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A sequence of random moments. Its seed is told, and can be given as `MOMENTS_SEED` to see the same ones again.
pub struct Moments(ChaCha8Rng);

impl Moments {
    #[expect(clippy::disallowed_methods, reason = "the seed is given on the command line of the tests")]
    pub fn new() -> Self {
        let seed = match std::env::var("MOMENTS_SEED") {
            Ok(seed) => seed.parse().expect("MOMENTS_SEED is a number"),
            Err(_) => rand::random(),
        };
        eprintln!("the moments of this run: MOMENTS_SEED={seed}");
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Lets a random part of `duration` pass.
    pub async fn pass(&mut self, duration: Duration) {
        let moment = duration.mul_f64(self.0.random::<f64>());
        eprintln!("a moment after {} ms", moment.as_millis());
        tokio::time::sleep(moment).await;
    }

    /// One of two things, as often the one as the other.
    pub fn coin(&mut self) -> bool {
        self.0.random()
    }
}

//! Inputs for a certificate: such that the original runs on them.

use super::engines::{judges, run};
use super::{CertifyError, Subject};
use crate::cost::inputs::{Feeds, Inputs, OPEN_SIZES};

/// Batches of the comparisons where the batch is free. Two, so that a batch baked into a shape shows.
const BATCHES: [u64; 2] = [2, 3];

/// The drawn inputs, with the batch of each.
pub type Draws = Vec<(u64, Feeds)>;

impl Subject<'_> {
    /// Inputs that the original runs on. Open sizes without an example are tried until one fits.
    pub(super) fn draws(&self) -> Result<Draws, CertifyError> {
        let inputs = Inputs::new(self.graph, self.inferred, self.examples);
        let batches: Vec<u64> =
            if inputs.batch_is_free() { BATCHES.to_vec() } else { vec![inputs.fixed_batch(); BATCHES.len()] };
        let draw = |open: i64| -> Result<Draws, CertifyError> {
            let feeds = |(at, batch): (usize, &u64)| {
                Ok((*batch, inputs.draw(*batch, open, self.seed.wrapping_add(at as u64))?))
            };
            batches.iter().enumerate().map(feeds).collect::<Result<_, String>>().map_err(CertifyError::Inputs)
        };
        let [runtime, _] = judges()?;
        let mut failure = None;
        for open in OPEN_SIZES {
            let draws = draw(open)?;
            match run(runtime, self.original, draws.first().map(|(_, feeds)| feeds), self.threads) {
                Ok(_) => return Ok(draws),
                Err(error) => failure = failure.or(Some(error)),
            }
            if inputs.open_axes().is_empty() {
                break;
            }
        }
        match failure {
            Some(error) => Err(CertifyError::Original(error)),
            None => Err(CertifyError::Inputs("no inputs could be drawn".into())),
        }
    }
}

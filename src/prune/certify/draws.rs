//! Inputs for a certificate: such that the original runs on them.

use super::engines::{judges, run};
use super::{CertifyError, Subject};
use crate::cost::inputs::{Feeds, Inputs, OPEN_SIZES};
use crate::onnx::tensor::Tensor;

/// Batches of the comparisons where the batch is free. Two that differ, so that a batch baked into a shape shows; models that
/// pair their samples run on even ones only.
const BATCHES: [[u64; 2]; 3] = [[2, 3], [2, 4], [1, 1]];

/// The drawn inputs, with the batch of each.
pub type Draws = Vec<(u64, Feeds)>;

impl Subject<'_> {
    /// Inputs that the original runs on and gives numbers for: the samples, or drawn ones. Open sizes without an example are
    /// tried until one fits; where all outputs of inputs around zero are no numbers, positive ones are tried.
    pub fn draws(&self) -> Result<Draws, CertifyError> {
        let [runtime, _] = judges()?;
        let runs = |draws: &Draws| run(runtime, self.original, draws.iter().map(|(_, feeds)| feeds), self.threads);
        let size = |feeds: &Feeds| feeds.first().and_then(|(_, tensor)| tensor.shape.first().copied()).unwrap_or(1);
        let samples: Draws = self.samples.iter().map(|feeds| (size(feeds) as u64, feeds.clone())).collect();
        if !samples.is_empty() && runs(&samples).is_ok() {
            return Ok(samples);
        }
        let inputs = Inputs::new(self.graph, self.inferred, self.examples);
        let batches = if inputs.batch_is_free() { BATCHES.to_vec() } else { vec![[inputs.fixed_batch(); 2]] };
        let draw = |batches: &[u64; 2], open: i64| -> Result<Draws, CertifyError> {
            let feeds = |(at, batch): (usize, &u64)| {
                Ok((*batch, inputs.draw(*batch, open, self.seed.wrapping_add(at as u64))?))
            };
            batches.iter().enumerate().map(feeds).collect::<Result<_, String>>().map_err(CertifyError::Inputs)
        };
        let open_sizes = if inputs.open_axes().is_empty() { &OPEN_SIZES[..1] } else { &OPEN_SIZES[..] };
        let mut failure = None;
        for (open, batches) in open_sizes.iter().flat_map(|open| batches.iter().map(move |batches| (open, batches))) {
            let draws = draw(batches, *open)?;
            match runs(&draws) {
                Ok(ran) if ran.outputs.iter().flatten().any(has_numbers) => return Ok(draws),
                Ok(_) => {
                    let draws = draws.into_iter().map(|(batch, feeds)| (batch, positive(feeds))).collect();
                    return runs(&draws).map(|_| draws).map_err(CertifyError::Original);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) => Err(CertifyError::Original(error)),
            None => Err(CertifyError::Inputs("no inputs could be drawn".into())),
        }
    }
}

/// Whether any element is a number; of types other than floating point all are.
fn has_numbers(tensor: &Tensor) -> bool {
    !tensor.dtype.is_float() || tensor.to_f32().is_ok_and(|values| values.iter().any(|value| value.is_finite()))
}

/// The distance from zero of every floating-point number.
fn positive(feeds: Feeds) -> Feeds {
    let distance = |tensor: Tensor| {
        let values: Option<Vec<f32>> = tensor
            .dtype
            .is_float()
            .then(|| tensor.to_f32().ok())
            .flatten()
            .map(|v| v.iter().map(|v| v.abs()).collect());
        values.and_then(|values| tensor.with_f32(&tensor.shape, &values).ok()).unwrap_or(tensor)
    };
    feeds.into_iter().map(|(name, tensor)| (name, distance(tensor))).collect()
}

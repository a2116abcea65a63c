//! Samples that a model is calibrated on: drawn from a dataset by a seed, in batches, and as many others held out.
//!
//! Forward passes only: what is held out is never fitted to, so that it tells whether a fit holds. Batches are read again
//! for each pass; those that fit into a bound are kept.

use std::borrow::Cow;

use super::{Batch, DataError, Dataset, Reader, shuffled};
use crate::onnx::model::Model;

/// Samples a batch where the model's batch is free. Large enough that an engine is busy, small enough that the values
/// inside a large network stay below a gigabyte.
const BATCH: usize = 32;

/// Prepared batches that are kept between passes, of each part. Decoding images costs about as much as a small network's
/// forward pass; beyond this many bytes it is paid again.
const KEPT_BYTES: usize = 256 << 20;

/// At most this part of a dataset is held out.
const HELD_OUT: usize = 5;

/// A model's calibration samples and those that are held out.
#[derive(Debug)]
pub struct Calibration<'d> {
    reader: Reader<'d>,
    fitting: Part,
    held_out: Part,
}

/// Lists of samples, the first of them read already.
#[derive(Debug)]
struct Part {
    lists: Vec<Vec<usize>>,
    kept: Vec<Batch>,
}

/// One part of a calibration set.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'c> {
    reader: &'c Reader<'c>,
    part: &'c Part,
}

impl<'d> Calibration<'d> {
    /// Draws `samples` samples, or as many as there are, and holds out as many others, but no more than a fifth of the
    /// dataset. A model whose batch is fixed gets whole batches.
    ///
    /// Errors: the dataset does not go with the model, or a sample cannot be read.
    pub fn new(dataset: &'d Dataset, model: &Model, samples: usize, seed: u64) -> Result<Self, DataError> {
        let reader = Reader::new(dataset, model)?;
        let all: Vec<usize> = (0..dataset.len()).collect();
        let drawn = shuffled(&all, seed, 0);
        let held_out = samples.min(drawn.len() / HELD_OUT).max(1);
        let (held_out, rest) = drawn.split_at(held_out.min(drawn.len()));
        // A single sample is fitted to and tried on: there is no other.
        let rest = if rest.is_empty() { held_out } else { rest };
        let fitting = &rest[..samples.clamp(1, rest.len())];
        let fitting = Part::new(&reader, fitting)?;
        let held_out = Part::new(&reader, held_out)?;
        Ok(Self { reader, fitting, held_out })
    }

    /// What is fitted to.
    pub fn fitting(&self) -> Samples<'_> {
        Samples { reader: &self.reader, part: &self.fitting }
    }

    /// What a fit is judged by.
    pub fn held_out(&self) -> Samples<'_> {
        Samples { reader: &self.reader, part: &self.held_out }
    }

    /// Two batches of a few held-out samples, of two sizes where the model's batch is free: enough to see a model run.
    pub fn few(&self) -> Result<[Batch; 2], DataError> {
        let all: Vec<usize> = self.held_out.lists.concat();
        let batch = |size| self.reader.batch(&all.iter().copied().cycle().take(size).collect::<Vec<_>>());
        let [one, other] = self.reader.fixed_batch().map_or([2, 3], |size| [size; 2]);
        Ok([batch(one)?, batch(other)?])
    }
}

impl Part {
    fn new(reader: &Reader<'_>, samples: &[usize]) -> Result<Self, DataError> {
        let lists = match reader.fixed_batch() {
            Some(size) => whole(samples, size.max(1)),
            None => samples.chunks(BATCH).map(<[usize]>::to_vec).collect(),
        };
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for list in &lists {
            let batch = reader.batch(list)?;
            bytes += batch.inputs.iter().map(|(_, tensor)| tensor.data.len()).sum::<usize>();
            if bytes > KEPT_BYTES {
                break;
            }
            kept.push(batch);
        }
        Ok(Self { lists, kept })
    }
}

/// Batches of one size, without what is left over; where there is less than one, samples are repeated.
fn whole(samples: &[usize], size: usize) -> Vec<Vec<usize>> {
    if samples.len() < size {
        return vec![samples.iter().copied().cycle().take(size).collect()];
    }
    samples.chunks_exact(size).map(<[usize]>::to_vec).collect()
}

impl<'c> Samples<'c> {
    /// Number of samples over all batches.
    pub fn len(&self) -> usize {
        self.part.lists.iter().map(Vec::len).sum()
    }

    /// Whether there is no sample; no calibration set is empty.
    pub fn is_empty(&self) -> bool {
        self.part.lists.is_empty()
    }

    /// Number of batches.
    pub fn count(self) -> usize {
        self.part.lists.len()
    }

    /// The only size of a batch that the model takes; `None` where any will do.
    pub fn fixed_batch(self) -> Option<usize> {
        self.reader.fixed_batch()
    }

    /// The batches, always in the same order.
    pub fn batches(self) -> impl Iterator<Item = Result<Cow<'c, Batch>, DataError>> {
        self.part.lists.iter().enumerate().map(move |(at, list)| match self.part.kept.get(at) {
            Some(batch) => Ok(Cow::Borrowed(batch)),
            None => self.reader.batch(list).map(Cow::Owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_files::labelled;
    use crate::onnx::builder::{GraphBuilder, Size};
    use crate::onnx::dtype::DataType;
    use crate::spec::attempt::DatasetLimits;

    fn model(batch: Size) -> Model {
        let mut b = GraphBuilder::new("net");
        let x = b.input("x", DataType::Float, &[batch.clone(), 1.into()]);
        let y = b.node("Relu", &[&x], &[]);
        b.output(&y, DataType::Float, &[batch, 1.into()]);
        b.build(17)
    }

    fn drawn(samples: Samples<'_>) -> Vec<Vec<f32>> {
        samples.batches().map(|batch| batch.unwrap().inputs[0].1.to_f32().unwrap().into_owned()).collect()
    }

    #[test]
    fn parts_are_drawn_by_the_seed_and_share_no_sample() {
        let values: Vec<f32> = (0..100_u8).map(f32::from).collect();
        let file = labelled(&[100, 1], &values, &vec![0; 100]);
        let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
        let draw = |seed| {
            let calibration = Calibration::new(&dataset, &model("n".into()), 50, seed).unwrap();
            assert_eq!((calibration.fitting().len(), calibration.held_out().len()), (50, 20));
            (drawn(calibration.fitting()), drawn(calibration.held_out()))
        };
        let (fitting, held_out) = draw(1);
        assert_eq!(fitting.iter().map(Vec::len).collect::<Vec<_>>(), [32, 18]);
        let held_out = held_out.concat();
        assert!(fitting.iter().flatten().all(|value| !held_out.contains(value)));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn a_fixed_batch_is_always_full() {
        for (rows, fitting, held_out) in [(20, vec![4, 4, 4], vec![4]), (3, vec![4], vec![4]), (1, vec![4], vec![4])] {
            let file = labelled(&[rows, 1], &vec![0.5; rows], &vec![0; rows]);
            let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
            let calibration = Calibration::new(&dataset, &model(4.into()), 14, 1).unwrap();
            let sizes = |samples: Samples<'_>| drawn(samples).iter().map(Vec::len).collect::<Vec<_>>();
            assert_eq!((sizes(calibration.fitting()), sizes(calibration.held_out())), (fitting, held_out), "{rows}");
        }
    }
}

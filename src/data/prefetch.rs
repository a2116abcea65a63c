//! The next batch is prepared while this one is computed on.

use std::sync::mpsc::sync_channel;
use std::thread;

use super::{Batch, DataError};

/// Batches that may wait to be taken.
const AHEAD: usize = 2;

/// Prepares each list of samples on a thread of its own, a little ahead, and hands the batches out in order until there
/// is none left or `take` fails.
///
/// Errors: the first of `prepare` or `take`.
pub fn prefetched<E: From<DataError>>(
    lists: &[Vec<usize>],
    prepare: impl Fn(&[usize]) -> Result<Batch, DataError> + Sync,
    mut take: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    let (sender, batches) = sync_channel(AHEAD);
    let prepare = &prepare;
    thread::scope(|scope| {
        scope.spawn(move || {
            for list in lists {
                let batch = prepare(list);
                let failed = batch.is_err();
                // Where nobody takes batches any more, the taker has failed.
                if sender.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        // The receiver goes with this loop, so that the thread ends before the scope waits for it.
        for batch in batches {
            take(batch?)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(samples: &[usize]) -> Result<Batch, DataError> {
        match samples {
            [9] => Err(DataError::NoSuchSample { index: 9, samples: 9 }),
            _ => Ok(Batch { inputs: Vec::new(), labels: samples.iter().map(|sample| *sample as i64).collect() }),
        }
    }

    #[test]
    fn batches_come_in_order_up_to_the_first_failure() {
        let lists = vec![vec![3], vec![1, 2], vec![9], vec![4]];
        let mut seen = Vec::new();
        let result: Result<(), DataError> = prefetched(&lists, batch, |batch| {
            seen.push(batch.labels);
            Ok(())
        });
        assert!(matches!(result, Err(DataError::NoSuchSample { .. })));
        assert_eq!(seen, [vec![3], vec![1, 2]]);
    }

    #[test]
    fn a_taker_that_fails_ends_the_preparation() {
        let lists = vec![vec![1]; 1000];
        let mut taken = 0;
        let result: Result<(), DataError> = prefetched(&lists, batch, |_| {
            taken += 1;
            Err(DataError::Mismatch { reason: "enough".into() })
        });
        assert!(result.is_err());
        assert_eq!(taken, 1);
    }
}

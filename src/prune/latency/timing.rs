//! Sessions that run in turns, so that a busy moment of the machine meets all of them and each finds the caches as cold as
//! within a larger model.

use std::time::{Duration, Instant};

use crate::cost::inputs::Feeds;
use crate::engine::{EngineError, Session};
use crate::onnx::tensor::Tensor;

/// How long sessions are run.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Rounds before the clock counts.
    warm_up: usize,
    fewest: usize,
    most: usize,
    /// No round begins after this, when there were the fewest.
    time: Duration,
}

/// Parts of a model. The quickest run counts, so that four are enough to leave disturbances out.
pub const PARTS: Rounds = Rounds { warm_up: 1, fewest: 4, most: 12, time: Duration::from_millis(400) };

/// Whole models, whose medians are reported.
pub const WHOLE: Rounds = Rounds { warm_up: 2, fewest: 7, most: 200, time: Duration::from_secs(2) };

/// A session with its inputs.
pub struct Runner {
    session: Box<dyn Session>,
    feeds: Feeds,
}

/// What runs of one session took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    pub least: f64,
    pub p10: f64,
    pub p50: f64,
    pub p90: f64,
}

impl Runner {
    pub fn new(session: Box<dyn Session>, feeds: Feeds) -> Self {
        Self { session, feeds }
    }

    fn step(&mut self) -> Result<f64, EngineError> {
        let feeds: Vec<(&str, &Tensor)> = self.feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let start = Instant::now();
        let outputs = self.session.run(&feeds)?;
        let elapsed = start.elapsed();
        drop(outputs);
        Ok(elapsed.as_nanos().max(1) as f64)
    }
}

/// Runs each session once a round.
///
/// Errors: the first of a session.
pub fn in_turns(mut runners: Vec<Runner>, rounds: &Rounds) -> Result<Vec<Times>, EngineError> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); runners.len()];
    for _ in 0..rounds.warm_up {
        for runner in &mut runners {
            runner.step()?;
        }
    }
    let start = Instant::now();
    for round in 0..rounds.most {
        if round >= rounds.fewest && start.elapsed() >= rounds.time {
            break;
        }
        for (runner, times) in runners.iter_mut().zip(&mut times) {
            times.push(runner.step()?);
        }
    }
    Ok(times.into_iter().map(Times::of).collect())
}

impl Times {
    /// Of at least one run.
    fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        let at = |share: f64| runs[((runs.len() as f64 * share).ceil() as usize).max(1) - 1];
        Self { least: runs[0], p10: at(0.1), p50: at(0.5), p90: at(0.9) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_nearest_ranks() {
        let runs = (1..=20).rev().map(f64::from).collect();
        assert_eq!(Times::of(runs), Times { least: 1.0, p10: 2.0, p50: 10.0, p90: 18.0 });
        assert_eq!(Times::of(vec![3.0]), Times { least: 3.0, p10: 3.0, p50: 3.0, p90: 3.0 });
    }
}

//! Finds the cut whose measured time is what was asked for: a prediction is aimed at, the cut model measured, and the aim
//! moved by what the prediction was off.

use super::{Clock, Race};
use crate::prune::structured::Cut;
use crate::spec::prune::Target;
use crate::spec::report::PruneLatency;

/// Cut models that are measured at most. Each is a whole measurement, so that a search ends.
const ROUNDS: u32 = 6;

/// The share of the asked time that is aimed at: room for what two measurements of the same model differ by.
const MARGIN: f64 = 0.98;

/// A model that takes less than this share of the asked time lost more than it had to, and is tried larger.
const CLOSE: f64 = 0.94;

/// A search that is under way.
#[derive(Debug)]
pub struct Search {
    asked: Target,
    /// What the next cut is predicted to take, over what is asked for.
    aim: f64,
    rounds: u32,
    over: bool,
    met: Option<Cut>,
    /// The least that was measured, in the measure of the target.
    missed: Option<f64>,
}

/// What a search ended with.
#[derive(Debug)]
pub enum Ended {
    Met(Box<Cut>),
    /// The best that was measured, in the measure of the target.
    Missed(Option<f64>),
}

impl Search {
    pub fn new(asked: Target) -> Self {
        Self { asked, aim: MARGIN, rounds: 0, over: false, met: None, missed: None }
    }

    /// The target of the next cut.
    pub fn target(&self) -> Target {
        match self.asked {
            Target::LatencyMs(ms) => Target::LatencyMs(ms * self.aim),
            Target::LatencyKept(share) => Target::LatencyKept((share * self.aim).min(1.0)),
            other => other,
        }
    }

    /// Takes in what a cut model took.
    pub fn judge(&mut self, mut cut: Cut, predicted_ns: f64, race: &Race, clock: &Clock<'_>) {
        self.rounds += 1;
        let (before_ms, after_ms) = (race.before.p50 / 1e6, race.after.p50 / 1e6);
        let (measured, asked, target_ms) = match self.asked {
            Target::LatencyKept(share) => (after_ms / before_ms, share, share * before_ms),
            Target::LatencyMs(ms) => (after_ms, ms, ms),
            _ => (0.0, 0.0, 0.0),
        };
        let used = measured / asked;
        let is_met = measured <= asked;
        // Where nothing more can be put back, or a larger one was tried already, this is it.
        let could_be_larger = self.met.is_none() && cut.selection.count() > 0 && used < CLOSE;
        self.over = self.rounds >= ROUNDS || (is_met && !could_be_larger) || (!is_met && self.met.is_some());
        self.aim *= MARGIN / used;
        if is_met {
            let (parts_timed, parts_known) = clock.parts();
            cut.latency = Some(PruneLatency {
                threads: clock.threads() as u32,
                target_ms,
                before_ms,
                predicted_ms: predicted_ns / 1e6,
                after_ms,
                after_p10_ms: race.after.p10 / 1e6,
                after_p90_ms: race.after.p90 / 1e6,
                rounds: self.rounds,
                parts_timed,
                parts_known,
                undisturbed: clock.is_undisturbed(),
            });
            self.met = Some(cut);
        } else {
            self.missed = Some(self.missed.map_or(measured, |best| best.min(measured)));
        }
    }

    /// Whether there is nothing more to try.
    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn ended(self) -> Ended {
        match self.met {
            Some(cut) => Ended::Met(Box::new(cut)),
            None => Ended::Missed(self.missed),
        }
    }
}

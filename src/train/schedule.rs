//! Schedules: the learning rate of each step.

use crate::spec::retrain::Schedule;

/// The learning rate of a step (0-based) of `total`.
///
/// The warm-up rises in equal parts to the full rate, which its last step has. Then a cosine falls from the full rate
/// towards 0, which it would reach one step after the last.
pub fn learning_rate(schedule: &Schedule, full: f64, step: u64, total: u64) -> f64 {
    let (Schedule::Constant { warmup_steps } | Schedule::Cosine { warmup_steps }) = *schedule;
    if step < warmup_steps {
        return full * (step + 1) as f64 / warmup_steps as f64;
    }
    match schedule {
        Schedule::Constant { .. } => full,
        Schedule::Cosine { .. } => {
            let part = (step - warmup_steps) as f64 / total.saturating_sub(warmup_steps).max(1) as f64;
            full * 0.5 * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_holds_or_falls() {
        let rates = |schedule: Schedule| (0..6).map(|step| learning_rate(&schedule, 2.0, step, 6)).collect::<Vec<_>>();
        assert_eq!(rates(Schedule::Constant { warmup_steps: 4 }), [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]);
        let cosine = rates(Schedule::Cosine { warmup_steps: 2 });
        let expected = [1.0, 2.0, 2.0, 1.0 + 0.5_f64.sqrt(), 1.0, 1.0 - 0.5_f64.sqrt()];
        for (found, expected) in cosine.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{cosine:?}");
        }
    }

    #[test]
    fn a_warm_up_longer_than_the_training_only_rises() {
        assert_eq!(learning_rate(&Schedule::Cosine { warmup_steps: 100 }, 1.0, 9, 10), 0.1);
    }
}

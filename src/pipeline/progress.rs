//! Which part of a job's progress each step has.

use std::ops::Range;

use crate::spec::job::StepKind;

/// Share of a job's time that steps of each kind are taken to need; only their ratios matter. Chosen from runs of
/// prune → retrain → evaluate on small image classifiers, where retraining is most of the time.
fn weight(kind: StepKind) -> f64 {
    match kind {
        StepKind::Analyze | StepKind::Prune => 1.0,
        StepKind::Retrain => 10.0,
        StepKind::Evaluate => 2.0,
    }
}

/// The part of 0..1 that each step of a job has, in order and without gaps.
pub(super) fn parts(kinds: impl Iterator<Item = StepKind> + Clone) -> Vec<Range<f64>> {
    let sum: f64 = kinds.clone().map(weight).sum();
    let mut from = 0.0;
    kinds
        .map(|kind| {
            let to = from + weight(kind);
            let part = from / sum..to / sum;
            from = to;
            part
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_steps_fill_the_whole_in_order() {
        let parts = parts([StepKind::Prune, StepKind::Retrain, StepKind::Evaluate].into_iter());
        assert_eq!(parts[0].start, 0.0);
        assert_eq!(parts[2].end, 1.0);
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].start < pair[0].end));
    }
}

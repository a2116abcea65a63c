//! How long-running work tells of itself and learns that it should stop.

use super::attempt::{AttemptMessage, JobEvent};
use super::job::Stage;

/// Receives what a job has to tell while it runs. The attempt process writes it to its pipe, tests collect it.
pub trait Observer: Sync {
    /// Takes one message; must not block for long and cannot fail the job.
    fn tell(&self, message: AttemptMessage);

    /// Whether the work should leave a checkpoint and return. Cheap; loops ask once a step.
    fn should_stop(&self) -> bool;

    /// Tells that a stage of a step (0-based) has begun.
    fn stage(&self, stage: Stage, step: usize) {
        self.tell(AttemptMessage::Stage { stage, step });
    }

    /// Tells something that stays in the job's history.
    fn event(&self, kind: &str, message: String, data: serde_json::Value) {
        self.tell(AttemptMessage::Event { event: JobEvent { kind: kind.into(), message, data } });
    }
}

/// An observer that hears nothing and never stops the work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn tell(&self, _: AttemptMessage) {}

    fn should_stop(&self) -> bool {
        false
    }
}

//! The retraining loop: losses, optimizers, schedules, checkpoints.

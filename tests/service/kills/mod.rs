//! The real program, killed, stopped and started again at random moments of a small retraining: the job ends with the
//! model that it would have made undisturbed, byte for byte, or it ends as its user asked.
//!
//! Twenty kills: eight of attempts, six of workers, six of services.

mod attempt;
mod cancel;
mod drain;
mod moments;
mod service;
mod small_job;
mod worker;

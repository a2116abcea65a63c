//! Kills of the real program at random moments of a small retraining: the job ends with the model that it would have
//! made undisturbed, byte for byte, or it ends as its user asked.

mod attempt;
mod small_job;

//! What a client may ask for and gets back: job specs, reports, summaries of uploads, failures, and the messages that
//! cross process borders. Plain data and the rules that need nothing but data; no I/O.
//!
//! A request is parsed once, here, into a type that cannot be wrong ([`job::JobRequest`] → [`job::JobSpec`]); every
//! other layer passes that type on. Stored payloads outlive a deploy: a new field gets a default, a changed meaning
//! gets a new kind.

pub mod analysis;
pub mod analyze;
pub mod attempt;
pub mod compatibility;
pub mod criterion;
pub mod evaluate;
pub mod failure;
pub mod job;
mod method;
pub mod observer;
pub mod preprocess;
pub mod prune;
pub mod report;
pub mod report_markdown;
pub mod retrain;
mod rounding;
pub mod summary;
pub mod synthetic;
pub mod target;

//! The service against a real PostgreSQL: one module a resource. Where `DATABASE_URL` (of a superuser) is not set, a
//! private server is started for the process (`support::postgres`).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![expect(clippy::print_stderr, reason = "tests tell what was skipped and what went before a failure")]
#![expect(clippy::disallowed_methods, reason = "tests are told by the environment where things lie")]

mod analyze;
mod attempt;
mod ci_script;
#[path = "../published/cifar.rs"]
mod cifar;
mod external;
mod http;
mod kills;
mod labelled;
mod latency;
#[path = "../published/mod.rs"]
mod published;
mod queue;
mod real_models;
mod serve;
mod steps;
mod store;
mod support;
mod synthetic;
mod worker;

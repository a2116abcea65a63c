//! The service against a real PostgreSQL: one module a resource. Where `DATABASE_URL` (of a superuser) is not set, a
//! private server is started for the process (`support::postgres`).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod attempt;
mod ci_script;
mod http;
mod kills;
mod queue;
mod real_models;
mod serve;
mod store;
mod support;
mod worker;

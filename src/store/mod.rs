//! Rows and blobs: what the service keeps. Models, datasets and jobs as the API shows them, their events and reports, the
//! object store with its collector, idempotent requests, retention.
//!
//! PostgreSQL is authoritative for what exists, the object store for the bytes; a blob without a row that refers to it is
//! garbage and is collected later, a row never refers to a blob that is not there.
//!
//! A function takes `&mut PgConnection` and leaves the transaction to its caller, the tenant is its first argument after
//! that. How a job goes from one state to the next is the business of `queue`; here it is only read.

pub mod blob;
pub mod collector;
pub mod database;
pub mod dataset;
mod deletion;
pub mod error;
pub mod event;
pub mod idempotency;
pub mod job;
pub mod model;
pub mod object;
pub mod page;
pub mod retention;
pub mod spool;
pub mod tenant;

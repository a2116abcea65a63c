//! Rows and blobs against a real database and a real folder.

mod collector;
mod connection;
mod deletion;
mod idempotency;
mod object;
mod page;
mod retention;
mod setup;

//! The REST API over real sockets: one module a resource, and what holds for all of them.

mod connections;
mod contract;
mod datasets;
mod events;
mod jobs;
mod models;
mod problems;

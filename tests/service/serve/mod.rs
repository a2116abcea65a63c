//! `secateur serve` as a user runs it: the real program with its private PostgreSQL, real jobs of the digits example,
//! real kills.

mod drain;
mod kills;
mod limits;
mod service;
mod start;

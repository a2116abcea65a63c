//! `secateur serve` as a user runs it: the real program with its private PostgreSQL, and real jobs of the digits example.

mod limits;
mod start;

//! What the tests of the service share: a database for each test, and the world of a test.

pub mod postgres;
pub mod world;

//! The ONNX layer against independent judges: ONNX Runtime's own shapes and results, a reader of wire fields that knows
//! nothing of our structs, and files made to break it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "what was skipped is said there")]

mod batch;
mod corpus;
mod hostile;
mod raise;
mod round_trip;
mod shapes;
mod wire;

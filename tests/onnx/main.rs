//! The ONNX layer against independent judges: ONNX Runtime's own shapes and results, a reader of wire fields that knows
//! nothing of our structs, and files made to break it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![expect(clippy::print_stderr, reason = "tests tell what was skipped")]
#![expect(clippy::disallowed_methods, reason = "tests are told by the environment where things lie")]

mod batch;
mod corpus;
mod hostile;
#[path = "../published/mod.rs"]
mod published;
mod raise;
mod round_trip;
mod shapes;
mod storage;
mod wire;

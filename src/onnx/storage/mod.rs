//! How a model lies in a file: one message, or a message and a data file in one archive where it is too large for that.
//!
//! In memory every weight stands in its tensor; what a file does beside that is undone on reading and done again on
//! writing. Knows nothing of what the tensors are for.
//!
//! - [`mod@write`]: a model as bytes, piece by piece, so that writing takes no memory of the model's size;
//! - [`external`]: weights in files beside the model, found by flat name and never by path;
//! - [`archive`]: model and weights apart, since protobuf's readers take no message of 2 GiB;
//! - [`sparse`]: weights given by their elements that are not zero.

pub mod archive;
pub mod external;
pub mod sparse;
mod visit;
pub mod write;

/// Largest message that protobuf's own readers take, ONNX Runtime's among them.
pub const LARGEST_MESSAGE: u64 = i32::MAX as u64;

//! The ONNX model: protobuf messages, graph views, tensors, shapes, patches, the builder and the safety pre-scan.
//!
//! Everything in a file survives a round trip: messages are the model ([`proto`]), [`graph::Graph`] is an index over them,
//! and a change is a value ([`patch`]) that is checked before and after it is applied.

pub mod attribute;
pub mod batch;
pub mod bodies;
pub mod builder;
pub mod check;
pub mod dtype;
pub mod extract;
pub mod graph;
pub mod inline;
pub mod mapped;
pub mod model;
pub mod order;
pub mod patch;
pub mod prescan;
pub mod proto;
pub mod raise;
pub mod schema;
pub mod shape;
pub mod storage;
pub mod summary;
pub mod tensor;

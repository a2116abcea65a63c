//! The ONNX layer against independent judges: ONNX Runtime's own shapes and results, and a reader of wire fields that
//! knows nothing of our structs.

mod batch;
mod corpus;
mod raise;
mod shapes;

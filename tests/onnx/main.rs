//! The ONNX layer against independent judges: ONNX Runtime's own shapes and results, a reader of wire fields that knows
//! nothing of our structs, and files made to break it.

mod batch;
mod corpus;
mod hostile;
mod raise;
mod round_trip;
mod shapes;
mod wire;

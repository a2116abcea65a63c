//! Reverse-mode differentiation as a transformation of graphs: a model and a loss become one ONNX graph that computes the
//! forward pass, the loss and the gradients with operators that any runtime has.
//!
//! ```text
//! model ── forward ──▶ nodes at fixed shapes, as they compute while training
//!          loss     ──▶ gradient of the scores
//!          backward ──▶ rules, from the last node to the first
//!          training ──▶ one graph: weights in, loss and gradients out
//!          pullback ──▶ the same without a loss: gradient of an output in, gradients of weights out
//! ```
//!
//! Knows nothing of optimizers, data or engines. Everything emitted is standard operators, which is correct on every build
//! of a runtime.

pub mod backward;
pub mod emit;
pub mod forward;
pub mod loss;
pub mod parameters;
pub mod pullback;
pub mod rules;
pub mod statistics;
pub mod training;

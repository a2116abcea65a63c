//! Secateur makes trained neural networks smaller and faster: upload an ONNX model and a dataset, queue prune, retrain and
//! evaluate jobs, read the report, download the smaller model.
//!
//! Data flows one way, `http → queue → worker → attempt → pipeline → store`, and a module imports only from rows with a
//! smaller number (`tests/architecture.rs` holds this table):
//!
//! | row | modules |
//! | --- | --- |
//! | 0 | [`spec`], [`onnx`] |
//! | 1 | [`engine`], [`data`], [`cost`], [`autodiff`] |
//! | 2 | [`prune`], [`train`], [`evaluate`] |
//! | 3 | [`pipeline`] |
//! | 4 | [`attempt`], [`store`] |
//! | 5 | [`queue`] |
//! | 6 | [`worker`] |
//! | 7 | [`http`] |
//! | 8 | [`cli`] |

pub mod attempt;
pub mod autodiff;
pub mod cli;
pub mod cost;
pub mod data;
pub mod engine;
pub mod evaluate;
pub mod http;
pub mod onnx;
pub mod pipeline;
pub mod prune;
pub mod queue;
pub mod spec;
pub mod store;
pub mod train;
pub mod worker;

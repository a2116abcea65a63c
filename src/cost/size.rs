//! The size block of a report.

use super::{ExampleShapes, macs, parameters};
use crate::onnx::model::Model;
use crate::spec::report::Size;

/// The level of zstd at which compressed sizes are stated.
const ZSTD_LEVEL: i32 = 3;

/// Bytes of the file, plain and compressed, parameters and multiply-accumulates.
///
/// Cost: writes the file in memory and compresses it.
pub fn size(model: &Model, examples: &ExampleShapes) -> Size {
    let bytes = model.to_bytes();
    let parameters = parameters(model);
    let (macs, macs_unknown) = match macs(model, examples) {
        Ok(macs) => (Some(macs), None),
        Err(reason) => (None, Some(reason)),
    };
    // Compression of bytes in memory does not fail; a size of 0 would be seen in the report.
    let compressed_bytes = zstd::bulk::compress(&bytes, ZSTD_LEVEL).map_or(0, |compressed| compressed.len() as u64);
    Size {
        bytes: bytes.len() as u64,
        compressed_bytes,
        parameters: parameters.all,
        nonzero_parameters: parameters.nonzero,
        macs,
        macs_unknown,
    }
}

//! The size block of a report.

use std::io::{self, Write};

use super::{ExampleShapes, macs, parameters};
use crate::onnx::model::Model;
use crate::spec::report::Size;

/// The level of zstd at which compressed sizes are stated.
const ZSTD_LEVEL: i32 = 3;

/// Bytes of the file, plain and compressed, parameters and multiply-accumulates.
///
/// Cost: writes the file and compresses it, piece by piece.
pub fn size(model: &Model, examples: &ExampleShapes) -> Size {
    let parameters = parameters(model);
    let (macs, macs_unknown) = match macs(model, examples) {
        Ok(macs) => (Some(macs), None),
        Err(reason) => (None, Some(reason)),
    };
    // Writing into nothing does not fail, unless the model cannot be written at all; a size of 0 would be seen.
    let (bytes, compressed_bytes) = written(model).unwrap_or_default();
    Size {
        bytes,
        compressed_bytes,
        parameters: parameters.all,
        nonzero_parameters: parameters.nonzero,
        macs,
        macs_unknown,
    }
}

/// Bytes of the file, plain and compressed.
fn written(model: &Model) -> io::Result<(u64, u64)> {
    let mut plain =
        Counted { inner: zstd::Encoder::new(Counted { inner: io::sink(), bytes: 0 }, ZSTD_LEVEL)?, bytes: 0 };
    model.write(&mut plain)?;
    Ok((plain.bytes, plain.inner.finish()?.bytes))
}

/// Counts what is written.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

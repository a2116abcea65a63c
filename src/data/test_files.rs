//! Dataset files made by hand, byte by byte, for tests.

use std::io::Write as _;
use std::path::PathBuf;

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A file in a folder of its own.
pub(crate) struct TestFile {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

/// A zip of the given entries.
pub(super) fn archive(entries: &[(&str, Vec<u8>)], method: CompressionMethod) -> TestFile {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    file(&zip.finish().unwrap().into_inner())
}

/// A file with the given bytes.
pub(super) fn file(bytes: &[u8]) -> TestFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dataset");
    std::fs::write(&path, bytes).unwrap();
    TestFile { _folder: folder, path }
}

/// A `.npy` file as numpy writes it: `descr` such as `<f4`, `shape` such as `(3, 2)`.
pub(super) fn npy(descr: &str, fortran: bool, shape: &str, elements: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

/// An `.npz` file of one array of samples with their labels.
pub(crate) fn labelled(shape: &[usize], values: &[f32], labels: &[i64]) -> TestFile {
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let samples = npy("<f4", false, &format!("({},)", shape.join(", ")), &floats(values));
    let labels = npy("<i8", false, &format!("({},)", labels.len()), &longs(labels));
    archive(&[("x.npy", samples), ("labels.npy", labels)], CompressionMethod::Stored)
}

/// An `.npz` file of one array of samples without labels.
pub(crate) fn unlabelled(shape: &[usize], values: &[f32]) -> TestFile {
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let samples = npy("<f4", false, &format!("({},)", shape.join(", ")), &floats(values));
    archive(&[("x.npy", samples)], CompressionMethod::Stored)
}

/// The little-endian bytes of 64-bit integers.
pub(super) fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The little-endian bytes of 32-bit floats.
pub(super) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A PNG of the given rows of RGB pixels.
pub(super) fn png(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_raw(width, height, rgb.to_vec()).unwrap();
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

//! Whole files: what numpy and image folders look like, and what a hostile hand makes of them.

use zip::CompressionMethod::{Deflated, Stored};

use super::test_files::{TestFile, archive, file, floats, longs, npy, png};
use super::{Augmentation, DataError, Dataset, Reader, inspect};
use crate::onnx::builder::{GraphBuilder, Size};
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::spec::attempt::DatasetLimits;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::preprocess::{Channels, Crop, Layout, Preprocess};
use crate::spec::retrain::Augment;
use crate::spec::summary::DatasetFormat;

fn limits() -> DatasetLimits {
    DatasetLimits::default()
}

/// A model that gives its inputs back.
fn model(inputs: &[(&str, DataType, &[Size])]) -> Model {
    let mut b = GraphBuilder::new("model");
    for (name, dtype, shape) in inputs {
        let x = b.input(name, *dtype, shape);
        let y = b.node("Identity", &[&x], &[]);
        b.output(&y, *dtype, shape);
    }
    b.build(17)
}

fn image_model(shape: [usize; 3]) -> Model {
    model(&[("input", DataType::Float, &["n".into(), shape[0].into(), shape[1].into(), shape[2].into()])])
}

fn raw(size: [u32; 2]) -> Preprocess {
    Preprocess { size: Some(size), divide_by: 1.0, ..Preprocess::default() }
}

fn opened(file: &TestFile, preprocess: Option<&Preprocess>) -> Dataset {
    Dataset::open(&file.path, preprocess, &limits()).unwrap()
}

fn refused(file: &TestFile, preprocess: Option<&Preprocess>, limits: &DatasetLimits) -> String {
    inspect(&file.path, preprocess, limits).unwrap_err().to_string()
}

/// Every way in which numpy may have stored `[[0, 1, 2], [3, 4, 5]]` reads the same.
#[test]
fn arrays_read_the_same_however_they_are_stored() {
    let labels = npy("<i8", false, "(2,)", &longs(&[1, 0]));
    let big: Vec<u8> = (0..6_i16).flat_map(i16::to_be_bytes).collect();
    let columns: Vec<u8> = [0_i16, 3, 1, 4, 2, 5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let rows: Vec<u8> = (0..6_i16).flat_map(i16::to_le_bytes).collect();
    let floats = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let model = model(&[("input", DataType::Float, &["n".into(), 3.into()])]);
    for x in [
        npy("<i2", false, "(2, 3)", &rows),
        npy(">i2", false, "(2, 3)", &big),
        npy("<i2", true, "(2, 3)", &columns),
        npy("<f4", false, "(2, 3)", &floats),
        npy("|u1", false, "(2, 3)", &[0, 1, 2, 3, 4, 5]),
    ] {
        for method in [Stored, Deflated] {
            let file = archive(&[("x.npy", x.clone()), ("y.npy", labels.clone())], method);
            let dataset = opened(&file, None);
            assert_eq!((dataset.len(), dataset.labels(), dataset.classes()), (2, Some(&[1, 0][..]), Some(2)));
            let batch = Reader::new(&dataset, &model).unwrap().batch(&[1, 0, 1]).unwrap();
            assert_eq!(batch.labels, [0, 1, 0]);
            let (name, tensor) = &batch.inputs[0];
            assert_eq!((name.as_str(), tensor.shape.as_slice()), ("input", &[3, 3][..]));
            assert_eq!(tensor.to_f32().unwrap().as_ref(), [3.0, 4.0, 5.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            let summary = inspect(&file.path, None, &limits()).unwrap();
            assert_eq!((summary.format, summary.samples, summary.classes), (DatasetFormat::Npz, 2, Some(2)));
            assert_eq!((summary.arrays[0].name.as_str(), summary.arrays[0].sample_shape.as_slice()), ("x", &[3][..]));
        }
    }
}

#[test]
fn arrays_of_three_axes_in_fortran_order_are_turned() {
    // Element (i, j, k) is 100 i + 10 j + k; the first axis runs fastest in the file.
    let stored: Vec<u8> =
        (0..2_u8).flat_map(|k| (0..3_u8).flat_map(move |j| (0..2_u8).map(move |i| 100 * i + 10 * j + k))).collect();
    let file = archive(&[("x.npy", npy("|u1", true, "(2, 3, 2)", &stored))], Deflated);
    let dataset = opened(&file, None);
    let model = model(&[("x", DataType::Uint8, &["n".into(), 3.into(), 2.into()])]);
    let batch = Reader::new(&dataset, &model).unwrap().batch(&[0, 1]).unwrap();
    assert_eq!(batch.inputs[0].1.data.as_ref(), [0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121]);
    assert!(batch.labels.is_empty());
}

#[test]
fn integers_are_normalised_for_float_inputs_only() {
    let pixels = npy("|u1", false, "(1, 2, 1, 1)", &[51, 255]);
    let ids = npy("<i8", false, "(1, 2)", &longs(&[7, 300]));
    let file = archive(&[("pixels.npy", pixels), ("ids.npy", ids)], Stored);
    let preprocess = Preprocess { mean: vec![0.2, 0.5], std: vec![1.0, 0.25], ..Preprocess::default() };
    let dataset = opened(&file, Some(&preprocess));
    let shape: [Size; 4] = ["n".into(), 2.into(), 1.into(), 1.into()];
    let takes = |ids: DataType| model(&[("pixels", DataType::Float16, &shape), ("ids", ids, &["n".into(), 2.into()])]);
    let batch = Reader::new(&dataset, &takes(DataType::Int32)).unwrap().batch(&[0]).unwrap();
    assert_eq!(batch.inputs[0].1.to_f32().unwrap().as_ref(), [0.0, 2.0]);
    assert_eq!(batch.inputs[1].1.to_i64().unwrap(), [7, 300]);
    let error = Reader::new(&dataset, &takes(DataType::Uint8)).unwrap().batch(&[0]).unwrap_err();
    assert!(error.to_string().contains("300"), "{error}");
}

#[test]
fn a_dataset_that_does_not_fit_the_model_is_told_with_both_sides() {
    let x = npy("<f4", false, "(1, 2)", &floats(&[1.0, 2.0]));
    let one = archive(&[("x.npy", x.clone())], Stored);
    let two = archive(&[("a.npy", x.clone()), ("b.npy", x)], Stored);
    let mismatch = |file: &TestFile, model: &Model| match Reader::new(&opened(file, None), model) {
        Err(DataError::Mismatch { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let wide = model(&[("input", DataType::Float, &["n".into(), 3.into()])]);
    assert!(mismatch(&one, &wide).contains("[2]") && mismatch(&one, &wide).contains("[?, 3]"));
    let ids = model(&[("input", DataType::Int64, &["n".into(), 2.into()])]);
    assert!(mismatch(&one, &ids).contains("float32"));
    let fits = model(&[("input", DataType::Float, &["n".into(), 2.into()])]);
    assert!(mismatch(&two, &fits).contains("`a`, `b`"));
    let fixed = model(&[("input", DataType::Double, &[4.into(), 2.into()])]);
    assert_eq!(Reader::new(&opened(&one, None), &fixed).unwrap().fixed_batch(), Some(4));
}

#[test]
fn arrays_that_are_not_sound_are_refused_by_name() {
    let x = npy("<f4", false, "(2,)", &floats(&[1.0, 2.0]));
    for (entries, reason) in [
        (vec![("x.npy", npy("|O", false, "(2,)", b"\x80\x03pickle"))], "Python objects"),
        (vec![("x.npy", npy("<f4", false, "(3,)", &floats(&[1.0, 2.0])))], "fewer bytes than the 12"),
        (vec![("x.npy", npy("<f4", false, "(1,)", &floats(&[1.0, 2.0])))], "more bytes than the 4"),
        (vec![("x.npy", b"\x93NUMPY\x01\x00".to_vec())], "ends within its header"),
        (vec![("x.npy", Vec::new())], "ends within its header"),
        (vec![("x.npy", npy("<f4", false, "()", &floats(&[1.0])))], "single number"),
        (vec![("x.npy", npy("<f4", false, "(0, 4)", &[]))], "holds nothing: its shape is [0, 4]"),
        (vec![("x.npy", x.clone()), ("z.npy", npy("|u1", false, "(3,)", &[1, 2, 3]))], "`x` has 2"),
        (vec![("x.npy", x.clone()), ("y.npy", npy("<f4", false, "(2,)", &floats(&[0.0, 1.0])))], "labels are integers"),
        (vec![("x.npy", x.clone()), ("y.npy", npy("<i8", false, "(2, 1)", &longs(&[0, 1])))], "one label a sample"),
        (vec![("x.npy", x.clone()), ("y.npy", npy("<i8", false, "(2,)", &longs(&[0, -1])))], "sample 1 is -1"),
        (vec![("y.npy", npy("<i8", false, "(2,)", &longs(&[0, 1])))], "nothing else"),
        (vec![("x.npy", x.clone()), ("notes.txt", b"hello".to_vec())], "`notes.txt` in the archive is no array"),
    ] {
        for method in [Stored, Deflated] {
            let file = archive(&entries, method);
            let error = refused(&file, None, &limits());
            assert!(error.contains(reason), "{error}");
            assert!(Dataset::open(&file.path, None, &limits()).is_err());
        }
    }
}

/// An empty array in Fortran order was turned row by row, and there may be more rows than anybody can count.
#[test]
fn an_empty_array_is_refused_by_name_before_anything_walks_over_it() {
    let x = npy("<f4", false, "(2,)", &floats(&[1.0, 2.0]));
    for shape in
        ["(1000000000000000000, 0)", "(3, 1000000000000000000, 0)", "(0, 1000000000000000000)", "(2, 0)", "(0,)"]
    {
        for fortran_order in [true, false] {
            for method in [Stored, Deflated] {
                for name in ["x", "y"] {
                    let empty = npy("<i8", fortran_order, shape, &[]);
                    let file = archive(&[("w.npy", x.clone()), (&format!("{name}.npy"), empty)], method);
                    for refused in [
                        Dataset::open(&file.path, None, &limits()).unwrap_err(),
                        inspect(&file.path, None, &limits()).unwrap_err(),
                    ] {
                        let failure = Failure::from(refused);
                        let place = format!("{name}.npy");
                        assert_eq!((failure.code, failure.place), (FailureCode::InvalidDataset, Some(place)));
                        assert!(failure.message.contains("holds nothing"), "{shape}: {}", failure.message);
                    }
                }
            }
        }
    }
    let uncounted = npy("<i8", true, "(1000000000000000000, 1000000000000000000, 0)", &[]);
    let file = archive(&[("x.npy", uncounted)], Stored);
    assert!(refused(&file, None, &limits()).contains("more than can be counted"));
}

#[test]
fn the_array_called_labels_wins_over_y() {
    let numbers = npy("<i8", false, "(2,)", &longs(&[4, 5]));
    let file = archive(&[("y.npy", numbers), ("labels.npy", npy("|u1", false, "(2,)", &[1, 2]))], Stored);
    let summary = inspect(&file.path, None, &limits()).unwrap();
    assert_eq!((summary.classes, summary.arrays[0].name.as_str()), (Some(3), "y"));
    assert_eq!(opened(&file, None).labels(), Some(&[1, 2][..]));
}

#[test]
fn archives_that_unpack_to_too_much_are_stopped_while_they_do() {
    let zeros = npy("|u1", false, "(8000000,)", &vec![0; 8_000_000]);
    let bomb = archive(&[("x.npy", zeros)], Deflated);
    assert!(std::fs::metadata(&bomb.path).unwrap().len() < 20_000);
    let error = refused(&bomb, None, &DatasetLimits { ratio: 100, ..limits() });
    assert!(error.contains("100 times its size"), "{error}");
    let error = refused(&bomb, None, &DatasetLimits { unpacked_bytes: 1 << 20, ..limits() });
    assert!(error.contains("limit is 1048576"), "{error}");
    assert!(inspect(&bomb.path, None, &DatasetLimits { ratio: 2000, ..limits() }).is_ok());
    let many = archive(&[("a/1.png", vec![]), ("a/2.png", vec![]), ("a/3.png", vec![])], Stored);
    let error = refused(&many, Some(&raw([1, 1])), &DatasetLimits { entries: 2, ..limits() });
    assert!(error.contains("3 entries"), "{error}");
}

#[test]
fn damaged_archives_are_refused_at_every_cut() {
    let whole = archive(
        &[("x.npy", npy("|u1", false, "(9,)", &[7; 9])), ("y.npy", npy("|u1", false, "(9,)", &[0; 9]))],
        Deflated,
    );
    let bytes = std::fs::read(&whole.path).unwrap();
    for cut in (0..bytes.len()).step_by(7) {
        assert!(inspect(&file(&bytes[..cut]).path, None, &limits()).is_err(), "cut at {cut}");
    }
    // One byte of the packed data: the checksum finds it, or the decompressor does.
    let mut bent = bytes.clone();
    bent[60] ^= 0xff;
    assert!(refused(&file(&bent), None, &limits()).contains("`x.npy`"));
    assert!(refused(&file(b"not a zip"), None, &limits()).contains("no zip archive"));
    assert!(refused(&file(b""), None, &limits()).contains("no zip archive"));
}

#[test]
fn odd_names_and_links_are_refused() {
    let image = png(1, 1, &[1, 2, 3]);
    for name in ["/etc/passwd.png", "a/../b.png", "a/./b.png", "a//b.png", "a\\b.png", "a/b\n.png"] {
        // The writer of the zip crate would mend some of these names: they are written over a plain one.
        let plain = "p".repeat(name.len());
        let bytes = std::fs::read(&archive(&[(&plain, image.clone())], Stored).path).unwrap();
        let bytes = replaced(&bytes, plain.as_bytes(), name.as_bytes());
        let error = refused(&file(&bytes), Some(&raw([1, 1])), &limits());
        assert!(error.contains("has a name"), "{name}: {error}");
    }
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.add_symlink("a/link.png", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    let linked = file(&zip.finish().unwrap().into_inner());
    assert!(refused(&linked, Some(&raw([1, 1])), &limits()).contains("symbolic link"));
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn classes_are_folders_sorted_bytewise_within_one_wrapping_folder() {
    let image = |value: u8| png(1, 1, &[value, 0, 0]);
    for wrap in ["", "wrap/"] {
        let entries: Vec<(String, Vec<u8>)> = [
            ("dog/1.png", image(3)),
            ("Zebra/9.png", image(2)),
            ("Zebra/10.png", image(1)),
            ("__MACOSX/dog/._1.png", vec![1]),
            (".DS_Store", vec![1]),
            ("dog/notes.txt", vec![1]),
        ]
        .map(|(name, bytes)| (format!("{wrap}{name}"), bytes))
        .to_vec();
        let entries: Vec<(&str, Vec<u8>)> =
            entries.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let file = archive(&entries, Deflated);
        let preprocess = raw([1, 1]);
        let summary = inspect(&file.path, Some(&preprocess), &limits()).unwrap();
        assert_eq!((summary.samples, summary.classes), (3, Some(2)));
        assert_eq!(summary.class_names, ["Zebra", "dog"]);
        assert_eq!(summary.arrays[0].sample_shape, [3, 1, 1]);
        let note = &summary.notes[0];
        assert!(note.starts_with("3 files") && note.contains(".DS_Store") && note.contains("notes.txt"), "{note}");
        let dataset = opened(&file, Some(&preprocess));
        assert_eq!(dataset.labels(), Some(&[0, 0, 1][..]));
        let batch = Reader::new(&dataset, &image_model([3, 1, 1])).unwrap().batch(&[0, 1, 2]).unwrap();
        let red: Vec<f32> = batch.inputs[0].1.to_f32().unwrap().iter().step_by(3).copied().collect();
        assert_eq!(red, [1.0, 2.0, 3.0]);
    }
}

#[test]
fn images_that_are_not_where_or_what_they_should_be_are_refused_by_name() {
    let image = png(1, 1, &[1, 2, 3]);
    for (entries, reason) in [
        (vec![("a/1.png", image.clone()), ("2.png", image.clone())], "`2.png` in the archive is an image outside"),
        (vec![("w/v/a/1.png", image.clone()), ("w/v/b/1.png", image.clone())], "lies deeper"),
        (vec![("a/1.png", b"GIF89a".to_vec())], "neither a JPEG nor a PNG"),
        (vec![("a/1.png", image[..20].to_vec())], "no sound image header"),
        (vec![("a/1.jpg", vec![0xff, 0xd8, 0xff, 0xe0])], "no sound image header"),
        (vec![("readme.txt", b"hello".to_vec())], "neither .npy arrays nor"),
    ] {
        let error = refused(&archive(&entries, Deflated), Some(&raw([1, 1])), &limits());
        assert!(error.contains(reason), "{error}");
    }
    let file = archive(&[("a/1.png", image)], Stored);
    assert!(refused(&file, None, &limits()).contains("`preprocess` with a `size`"));
    let two = Preprocess { mean: vec![0.1, 0.2], ..raw([1, 1]) };
    assert!(refused(&file, Some(&two), &limits()).contains("2 values for 3 channels"));
    let large = archive(&[("a/1.png", png(40, 30, &[0; 3600]))], Stored);
    let error = refused(&large, Some(&raw([1, 1])), &DatasetLimits { image_pixels: 1199, ..limits() });
    assert!(error.contains("40 × 30 pixels") && error.contains("1199"), "{error}");
}

#[test]
fn channels_layout_and_crop_are_as_asked() {
    // Two rows of four pixels; red counts columns, green counts rows, blue is 9.
    let pixels: Vec<u8> = (0..2).flat_map(|y| (0..4).flat_map(move |x| [x, 10 * y, 9])).collect();
    let file = archive(&[("a/1.png", png(4, 2, &pixels))], Stored);
    let read = |preprocess: Preprocess, shape: [usize; 3]| {
        let dataset = opened(&file, Some(&preprocess));
        let batch = Reader::new(&dataset, &image_model(shape)).unwrap().batch(&[0]).unwrap();
        batch.inputs[0].1.to_f32().unwrap().into_owned()
    };
    let square = || Preprocess { crop: Crop::Center, ..raw([2, 2]) };
    assert_eq!(read(square(), [3, 2, 2]), [1., 2., 1., 2., 0., 0., 10., 10., 9., 9., 9., 9.]);
    let bgr = Preprocess { channels: Channels::Bgr, layout: Layout::Nhwc, ..square() };
    assert_eq!(read(bgr, [2, 2, 3]), [9., 0., 1., 9., 0., 2., 9., 10., 1., 9., 10., 2.]);
    // Pillow: Image.fromarray(pixels).convert("L") is [[1, 1, 2, 2], [7, 7, 7, 8]].
    let gray = Preprocess { channels: Channels::Gray, ..raw([2, 4]) };
    assert_eq!(read(gray, [1, 2, 4]), [1., 1., 2., 2., 7., 7., 7., 8.]);
}

#[test]
fn augmented_batches_do_not_depend_on_how_samples_are_batched() {
    let images: Vec<u8> = (0..4 * 3 * 5 * 5).map(|i| (i % 251) as u8).collect();
    let file = archive(&[("x.npy", npy("|u1", false, "(4, 3, 5, 5)", &images))], Deflated);
    let dataset = opened(&file, Some(&Preprocess::default()));
    let model = image_model([3, 5, 5]);
    let reader = Reader::new(&dataset, &model).unwrap();
    let augmentation = Augmentation { what: Augment { horizontal_flip: true, crop_padding: 2 }, seed: 5, epoch: 2 };
    let data = |samples: &[usize]| reader.augmented(samples, &augmentation).unwrap().inputs[0].1.data.to_vec();
    assert_eq!(data(&[2, 0, 3]), [data(&[2]), data(&[0]), data(&[3])].concat());
    assert_ne!(data(&[2]), reader.batch(&[2]).unwrap().inputs[0].1.data.to_vec());
    let still = Augmentation { what: Augment::default(), ..augmentation };
    assert_eq!(reader.augmented(&[1], &still).unwrap().inputs[0].1.data, reader.batch(&[1]).unwrap().inputs[0].1.data);
    assert!(matches!(reader.batch(&[4]), Err(DataError::NoSuchSample { index: 4, samples: 4 })));
}

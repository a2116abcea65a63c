//! Models in several files, in archives, and with sparse weights: read as if every weight stood in its tensor; what points
//! elsewhere is refused.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use secateur::engine::{self, SessionOptions};
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::proto::{SparseTensorProto, StringStringEntryProto, TensorProto};
use secateur::onnx::storage::archive::{self, Apart};
use secateur::onnx::storage::sparse;
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::ModelLimits;
use secateur::spec::failure::{Failure, FailureCode};

const WIDTHS: [usize; 3] = [16, 32, 8];

fn weights(layer: usize) -> Vec<f32> {
    (0..WIDTHS[layer] * WIDTHS[layer + 1]).map(|i| ((i * 37 + layer) % 101) as f32 / 50.0 - 1.0).collect()
}

/// Two matrix products with a Relu between them.
fn dense() -> Model {
    let mut b = GraphBuilder::new("dense");
    let x = b.input("x", DataType::Float, &["n".into(), WIDTHS[0].into()]);
    let w = b.initializer("w0", &Tensor::from_f32(&WIDTHS[..2], &weights(0)));
    let h = b.node("MatMul", &[&x, &w], &[]);
    let r = b.node("Relu", &[&h], &[]);
    let w = b.initializer("w1", &Tensor::from_f32(&WIDTHS[1..], &weights(1)));
    let y = b.node("MatMul", &[&r, &w], &[]);
    b.output(&y, DataType::Float, &["n".into(), WIDTHS[2].into()]);
    b.build(17)
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}

fn tensor(model: &mut Model, at: usize) -> &mut TensorProto {
    &mut model.graph_proto_mut().initializer[at]
}

/// Makes an initializer external and returns the bytes that it had.
fn move_out(model: &mut Model, at: usize, entries: &[(&str, &str)]) -> Bytes {
    let tensor = tensor(model, at);
    tensor.data_location = Some(1);
    tensor.external_data = entries.iter().map(|(key, value)| entry(key, value)).collect();
    tensor.raw_data.take().unwrap()
}

fn import(model: &Model, files: &[(&str, Bytes)]) -> Result<Model, Failure> {
    let files: BTreeMap<String, Bytes> = files.iter().map(|(name, file)| ((*name).to_owned(), file.clone())).collect();
    Model::import(model.proto.encode_to_vec().into(), files, &ModelLimits::default())
        .map(|(model, _)| model)
        .map_err(Failure::from)
}

#[test]
fn weights_in_files_beside_the_model_are_read_at_their_offsets() {
    let mut one_file = dense();
    let first = move_out(&mut one_file, 0, &[("location", "w.bin"), ("offset", "512"), ("length", "2048")]);
    let second =
        move_out(&mut one_file, 1, &[("location", "w.bin"), ("offset", "4096"), ("checksum", "not looked at")]);
    let mut file = vec![0xff; 4096];
    file[512..512 + first.len()].copy_from_slice(&first);
    file.extend_from_slice(&second);
    assert_eq!(import(&one_file, &[("w.bin", file.into())]).unwrap(), dense());

    let mut two_files = dense();
    let first = move_out(&mut two_files, 0, &[("location", "a b.bin")]);
    let second = move_out(&mut two_files, 1, &[("location", "model.onnx.data")]);
    assert_eq!(import(&two_files, &[("a b.bin", first), ("model.onnx.data", second)]).unwrap(), dense());
}

/// A case's name, what the tensor says of its file, the files that come along, the message and its place.
type Misfit =
    (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str], &'static str, &'static str);

/// The published attacks on external data, and plain mistakes: what names a file is never a path, and what it says of the
/// file is held against the file.
#[test]
fn a_file_that_does_not_fit_is_refused_with_the_place() {
    let whole = Bytes::from(vec![0_u8; 2048]);
    let rows: &[Misfit] = &[
        // CVE-2022-25882, CVE-2024-27318: a path that leaves the model's folder.
        ("a parent folder", &[("location", "../w.bin")], &["w.bin"], "not the name of a file beside", "w0"),
        ("a hidden parent", &[("location", "a/../../w.bin")], &["w.bin"], "not the name of a file beside", "w0"),
        ("an absolute path", &[("location", "/etc/passwd")], &["w.bin"], "not the name of a file beside", "w0"),
        ("a drive", &[("location", "C:w.bin")], &["w.bin"], "not the name of a file beside", "w0"),
        ("backslashes", &[("location", "..\\w.bin")], &["w.bin"], "not the name of a file beside", "w0"),
        // CVE-2026-27489, CVE-2026-34447: a folder that may be a link.
        ("a folder", &[("location", "sub/w.bin")], &["w.bin"], "not the name of a file beside", "w0"),
        ("this folder", &[("location", ".")], &["w.bin"], "not the name of a file beside", "w0"),
        ("no name", &[("location", "")], &["w.bin"], "not the name of a file beside", "w0"),
        // The marker of ONNX Runtime for addresses in its own memory.
        (
            "an address in memory",
            &[("location", "*/_ORT_MEM_ADDR_/*"), ("offset", "4096"), ("length", "2048")],
            &["w.bin"],
            "not the name of a file beside",
            "w0",
        ),
        ("another name", &[("location", "v.bin")], &["w.bin"], "which did not come with the model", "w0"),
        ("another case", &[("location", "W.bin")], &["w.bin"], "which did not come with the model", "w0"),
        // CVE-2026-34445: keys that set attributes, lengths that are negative or beyond every file.
        ("a foreign key", &[("location", "w.bin"), ("__class__", "x")], &["w.bin"], "has the key \"__class__\"", "w0"),
        ("a negative length", &[("location", "w.bin"), ("length", "-1")], &["w.bin"], "not a number of bytes", "w0"),
        ("a signed offset", &[("location", "w.bin"), ("offset", "+0")], &["w.bin"], "not a number of bytes", "w0"),
        (
            "petabytes",
            &[("location", "w.bin"), ("length", "9999999999999999")],
            &["w.bin"],
            "needs the bytes 0 to 9999999999999999",
            "w0",
        ),
        (
            "an offset that wraps",
            &[("location", "w.bin"), ("offset", "18446744073709551615")],
            &["w.bin"],
            "needs the bytes",
            "w0",
        ),
        (
            "a number too large",
            &[("location", "w.bin"), ("offset", "18446744073709551616")],
            &["w.bin"],
            "not a number",
            "w0",
        ),
        (
            "an offset too far",
            &[("location", "w.bin"), ("offset", "1")],
            &["w.bin"],
            "1 to 2049 of `w.bin`, which has 2048",
            "w0",
        ),
        ("a length too short", &[("location", "w.bin"), ("length", "2047")], &["w.bin"], "takes 2048 bytes", "w0"),
        ("a key twice", &[("location", "w.bin"), ("location", "w.bin")], &["w.bin"], "is there twice", "w0"),
        ("no location", &[("offset", "0")], &["w.bin"], "names no `location`", "w0"),
        (
            "a file too many",
            &[("location", "w.bin")],
            &["v.bin", "w.bin"],
            "no tensor lies in the file `v.bin`",
            "v.bin",
        ),
    ];
    for (what, entries, files, message, place) in rows {
        let mut model = dense();
        move_out(&mut model, 0, entries);
        let files: Vec<(&str, Bytes)> = files.iter().map(|name| (*name, whole.clone())).collect();
        let failure = import(&model, &files).expect_err(what);
        assert_eq!(failure.code, FailureCode::ExternalData, "{what}: {failure:?}");
        assert!(failure.message.contains(message), "{what}: {failure:?}");
        assert_eq!(failure.place.as_deref(), Some(*place), "{what}");
    }
}

#[test]
fn a_tensor_with_both_kinds_of_elements_or_no_word_of_external_ones_is_refused() {
    let mut both = dense();
    let bytes = move_out(&mut both, 0, &[("location", "w.bin")]);
    tensor(&mut both, 0).raw_data = Some(bytes.clone());
    assert!(import(&both, &[("w.bin", bytes.clone())]).unwrap_err().message.contains("elements of its own"));
    let mut silent = dense();
    move_out(&mut silent, 0, &[("location", "w.bin")]);
    tensor(&mut silent, 0).data_location = None;
    assert!(import(&silent, &[("w.bin", bytes)]).unwrap_err().message.contains("does not say"));
}

// A file of a gigabyte that two hundred thousand tensors name would be written out as many times.
#[test]
fn a_small_file_that_many_tensors_share_does_not_become_a_huge_model() {
    let mut model = dense();
    let graph = model.graph_proto_mut();
    for i in 0..40 {
        graph.initializer.push(TensorProto {
            dims: vec![1 << 19],
            data_type: Some(1),
            name: Some(format!("shared{i}")),
            data_location: Some(1),
            external_data: vec![entry("location", "w.bin")],
            ..TensorProto::default()
        });
    }
    let failure = import(&model, &[("w.bin", Bytes::from(vec![0_u8; 4 << 19]))]).unwrap_err();
    assert!(failure.message.contains("overlap too much"), "{failure:?}");
}

fn archived(model: &Model) -> Bytes {
    let mut bytes = Vec::new();
    let apart = Apart::new(&model.proto).unwrap();
    apart.write_archive(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, apart.archive_bytes());
    bytes.into()
}

fn opened(bytes: Bytes) -> Result<Model, Failure> {
    Model::from_bytes(bytes, &ModelLimits::default()).map_err(Failure::from)
}

#[test]
fn an_archive_holds_the_model_and_is_read_without_unpacking() {
    let model = dense();
    let bytes = archived(&model);
    assert!(archive::is_archive(&bytes));
    assert_eq!(opened(bytes.clone()).unwrap(), model);
    let (_, files) = archive::open(&bytes).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["model.data"]);
    // Another reader of archives agrees.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.tar"), &bytes).unwrap();
    let unpacked = std::process::Command::new("tar").args(["xf", "model.tar"]).current_dir(&folder).status().unwrap();
    assert!(unpacked.success());
    assert_eq!(std::fs::read(folder.path().join("model.data")).unwrap(), files["model.data"]);
}

/// A case's name, what is done to an archive, and the message.
type Damage<'d> = (&'static str, &'d dyn Fn(&mut Vec<u8>), &'static str);

#[test]
fn an_archive_with_anything_but_plain_files_is_refused() {
    let good = archived(&dense());
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        // The header's sum is that of an honest archive.
        let sum: u32 = bytes[..512]
            .iter()
            .enumerate()
            .map(|(i, b)| u32::from(if (148..156).contains(&i) { b' ' } else { *b }))
            .sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        opened(bytes.into()).unwrap_err()
    };
    let rows: &[Damage<'_>] = &[
        ("a symbolic link", &|b| b[156] = b'2', "links and folders are not taken"),
        ("a hard link", &|b| b[156] = b'1', "links and folders are not taken"),
        ("a long name to come", &|b| b[156] = b'L', "links and folders are not taken"),
        ("a path", &|b| b[..5].copy_from_slice(b"../mo"), "links and folders are not taken"),
        ("a prefix", &|b| b[345..348].copy_from_slice(b"etc"), "links and folders are not taken"),
        ("a size beyond the end", &|b| b[124..135].copy_from_slice(b"77777777777"), "ends within a file"),
        ("no number", &|b| b[124..135].copy_from_slice(b"-0000000001"), "a size cannot be read"),
        ("another file", &|b| b[..10].copy_from_slice(b"model.bad!"), "has 0 files that end in `.onnx`"),
        ("no end", &|b| b.truncate(700), "ends within a file"),
    ];
    for (what, change, message) in rows {
        let failure = changed(change);
        assert_eq!(failure.code, FailureCode::ExternalData, "{what}");
        assert!(failure.message.contains(message), "{what}: {failure:?}");
    }
    let twice = Bytes::from([&good[..good.len() - 1024], &good[..]].concat());
    assert!(opened(twice).unwrap_err().message.contains("has `model.data` twice"));
}

#[test]
fn weights_in_a_file_compute_on_onnx_runtime_what_they_computed_in_the_model() {
    let Ok(runtime) = engine::onnx_runtime() else {
        eprintln!("skipped: no ONNX Runtime");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = Apart::new(&dense().proto).unwrap().write_files(folder.path()).unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.len() < 1000, "the weights are elsewhere");
    let data = std::fs::read(folder.path().join("model.data")).unwrap();
    let (again, _) =
        Model::import(bytes.into(), [("model.data".into(), data.into())].into(), &ModelLimits::default()).unwrap();
    assert_eq!(run(runtime, &again), run(runtime, &dense()));
}

fn run(engine: &impl engine::Engine, model: &Model) -> Vec<Tensor> {
    let x: Vec<f32> = (0..48).map(|i| (i as f32 * 0.7).sin()).collect();
    let mut session = engine.load(model, &SessionOptions::default()).unwrap();
    session.run(&[("x", &Tensor::from_f32(&[3, 16], &x))]).unwrap()
}

/// The second weight keeps every tenth element.
fn thinned() -> Model {
    let mut model = dense();
    let values: Vec<f32> = weights(1).iter().enumerate().map(|(i, v)| if i % 10 == 3 { *v } else { 0.0 }).collect();
    *tensor(&mut model, 1) = Tensor::from_f32(&WIDTHS[1..], &values).to_proto("w1");
    model
}

#[test]
fn sparse_weights_are_written_smaller_and_read_as_they_were() {
    let plain = thinned();
    assert_eq!(sparse::candidates(&plain.proto).names, BTreeSet::from(["w1".to_owned()]));
    // What is marked and not smaller stays dense.
    let marked = Model { sparse: ["w0".to_owned(), "w1".to_owned()].into(), ..plain.clone() };
    let stored = marked.stored().into_owned();
    let graph = stored.graph.as_ref().unwrap();
    assert_eq!((graph.initializer.len(), graph.sparse_initializer.len()), (1, 1));
    assert!(marked.size_bytes() < plain.size_bytes());
    let mut written = Vec::new();
    marked.write(&mut written).unwrap();
    assert_eq!((written.len(), &written), (marked.size_bytes(), &stored.encode_to_vec()));
    let read = opened(written.into()).unwrap();
    assert_eq!(read.sparse, BTreeSet::from(["w1".to_owned()]));
    assert_eq!(read.stored().encode_to_vec(), stored.encode_to_vec(), "it is written as it came");
    let old =
        Model { proto: secateur::onnx::proto::ModelProto { ir_version: Some(5), ..marked.proto.clone() }, ..marked };
    assert_eq!(old.size_bytes(), old.to_bytes().len(), "the format had no sparse initializers then");

    let Ok(runtime) = engine::onnx_runtime() else {
        eprintln!("skipped: no ONNX Runtime");
        return;
    };
    let as_stored = run(runtime, &Model::new(stored));
    assert_eq!(as_stored, run(runtime, &plain), "ONNX Runtime reads the sparse form as the same weights");
    assert_eq!(as_stored, run(runtime, &read));
}

fn coordinates(dims: &[i64], values: &[f32], indices: &Tensor) -> Result<Model, Failure> {
    let mut model = dense();
    let graph = model.graph_proto_mut();
    graph.initializer.remove(1);
    graph.sparse_initializer = vec![SparseTensorProto {
        values: Some(Tensor::from_f32(&[values.len()], values).to_proto("w1")),
        indices: Some(indices.to_proto("")),
        dims: dims.to_vec(),
    }];
    opened(model.proto.encode_to_vec().into())
}

#[test]
fn positions_and_coordinates_mean_the_same() {
    let positions = coordinates(&[32, 8], &[1.5, 2.5], &Tensor::from_i64(&[2], &[9, 255])).unwrap();
    let pairs = coordinates(&[32, 8], &[1.5, 2.5], &Tensor::from_i64(&[2, 2], &[1, 1, 31, 7])).unwrap();
    assert_eq!(positions, pairs);
    let w = positions.graph().constant("w1").unwrap().unwrap();
    let values = w.to_f32().unwrap();
    assert_eq!((w.shape.as_slice(), values[9], values[255]), (&[32, 8][..], 1.5, 2.5));
    assert_eq!(values.iter().filter(|value| **value != 0.0).count(), 2);
}

#[test]
fn sparse_weights_that_cannot_be_or_are_bombs_are_refused() {
    let one = |at: i64| Tensor::from_i64(&[1], &[at]);
    let rows: &[(&str, Result<Model, Failure>, &str)] = &[
        ("beyond", coordinates(&[32, 8], &[1.0], &one(256)), "outside of its shape"),
        ("below", coordinates(&[32, 8], &[1.0], &one(-1)), "outside of its shape"),
        ("a pair beyond", coordinates(&[32, 8], &[1.0], &Tensor::from_i64(&[1, 2], &[0, 8])), "outside of its shape"),
        ("twice", coordinates(&[32, 8], &[1.0, 2.0], &Tensor::from_i64(&[2], &[5, 5])), "do not rise"),
        ("too few", coordinates(&[32, 8], &[1.0, 2.0], &one(0)), "for each value"),
        ("floats", coordinates(&[32, 8], &[1.0], &Tensor::from_f32(&[1], &[0.0])), "not 64-bit integers"),
        ("a bomb", coordinates(&[1 << 16, 1 << 15], &[1.0], &one(0)), "more than 1073741824 bytes"),
        ("a huge bomb", coordinates(&[i64::MAX, i64::MAX], &[1.0], &one(0)), "more elements than can be counted"),
        ("a negative size", coordinates(&[-1, 8], &[1.0], &one(0)), "has the size -1"),
    ];
    for (what, outcome, message) in rows {
        let failure = outcome.as_ref().expect_err(what);
        assert_eq!((failure.code, failure.place.as_deref()), (FailureCode::InvalidModel, Some("w1")), "{what}");
        assert!(failure.message.contains(message), "{what}: {failure:?}");
    }
}

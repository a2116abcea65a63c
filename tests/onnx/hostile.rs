//! Files that are broken or made to break: each is refused with its reason and place, none panics, none makes memory grow
//! out of proportion.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use secateur::onnx::attribute::Attribute;
use secateur::onnx::batch;
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::proto::{FunctionProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};
use secateur::onnx::raise::{TRAINING_OPSET, raise};
use secateur::onnx::shape::infer;
use secateur::onnx::summary::summarize;
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::ModelLimits;
use secateur::spec::failure::{Failure, FailureCode};

use crate::wire::Writer;

/// Counts what this thread holds, to see how far a small file makes memory grow.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counter any more; what it frees then is not of interest.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

#[expect(unsafe_code, reason = "an allocator has no safe form; this one hands everything to the system's")]
// SAFETY: every call is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held at a time.
fn peak(work: impl FnOnce()) -> usize {
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    work();
    usize::try_from(PEAK.with(Cell::get) - before).unwrap()
}

fn small() -> Model {
    let mut b = GraphBuilder::new("small");
    let x = b.input("x", DataType::Float, &["n".into(), 3.into(), 8.into(), 8.into()]);
    let w = b.initializer("w", &Tensor::from_f32(&[4, 3, 3, 3], &[0.5; 108]));
    let c = b.node("Conv", &[&x, &w], &[("pads", Attribute::Ints(vec![1, 1, 1, 1]))]);
    let r = b.node("Relu", &[&c], &[]);
    let shape = b.node("Shape", &[&r], &[]);
    let zero = b.constant(&Tensor::from_i64(&[1], &[0]));
    let n = b.node("Gather", &[&shape, &zero], &[("axis", Attribute::Int(0))]);
    let rest = b.constant(&Tensor::from_i64(&[1], &[-1]));
    let target = b.node("Concat", &[&n, &rest], &[("axis", Attribute::Int(0))]);
    let flat = b.node("Reshape", &[&r, &target], &[]);
    let v = b.constant(&Tensor::from_f32(&[256, 10], &[0.1; 2560]));
    let y = b.node("MatMul", &[&flat, &v], &[]);
    b.output(&y, DataType::Float, &["n".into(), 10.into()]);
    b.build(17)
}

fn load(bytes: Vec<u8>) -> Result<Model, Failure> {
    Model::from_bytes(Bytes::from(bytes), &ModelLimits::default()).map_err(Failure::from)
}

fn changed(change: impl FnOnce(&mut Model)) -> Vec<u8> {
    let mut model = small();
    change(&mut model);
    model.to_bytes()
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("{op} at hand")),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..NodeProto::default()
    }
}

fn function(name: &str, calls: &str) -> FunctionProto {
    FunctionProto {
        name: Some(name.into()),
        domain: Some("own".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![NodeProto { domain: Some("own".into()), ..node(calls, &["a"], &["b"]) }],
        opset_import: vec![OperatorSetIdProto { domain: Some("own".into()), version: Some(1) }],
        ..FunctionProto::default()
    }
}

/// Nested graphs in attributes: ModelProto.graph(7) . node(1) . attribute(5) . g(6) . node(1) …
fn nested(depth: usize) -> Writer {
    let graph = (0..depth).fold(Writer::default(), |inner, _| {
        Writer::default().message(1, Writer::default().message(5, Writer::default().message(6, inner)))
    });
    Writer::default().message(7, graph)
}

#[test]
fn a_sound_model_is_taken() {
    let model = load(small().to_bytes()).unwrap();
    assert!(infer(&model).unknown().is_empty());
}

/// What is wrong, the file, the code, a part of the message, how the place starts.
type Row = (&'static str, Vec<u8>, FailureCode, &'static str, Option<&'static str>);

#[test]
fn each_defect_is_refused_with_its_reason_and_place() {
    let whole = small().to_bytes();
    let graph = |graph: Writer| Writer::default().message(7, graph).0;
    let ir = |rest: Writer| {
        Writer::default()
            .number(1, 8)
            .message(8, Writer::default().number(2, 17))
            .0
            .into_iter()
            .chain(rest.0)
            .collect::<Vec<u8>>()
    };
    let invalid = FailureCode::InvalidModel;
    let rows: Vec<Row> = vec![
        ("nothing", vec![], invalid, "the file is empty", None),
        ("a zip archive", b"PK\x03\x04rest".to_vec(), invalid, "zip archive", None),
        ("ONNX Runtime's format", b"\x08\x00\x00\x00ORTMrest".to_vec(), invalid, "ONNX Runtime's own format", None),
        ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1".to_vec(), invalid, "Git LFS", None),
        ("text", b"hello world".to_vec(), invalid, "ModelProto", Some("ModelProto at byte 0")),
        ("half a file", whole[..whole.len() / 2].to_vec(), invalid, "the file ends within", Some("ModelProto at byte")),
        (
            "an unknown field",
            Writer::default().number(1, 8).number(99, 1).0,
            invalid,
            "field 99",
            Some("ModelProto at byte 2"),
        ),
        (
            "an unknown field inside",
            graph(Writer::default().message(1, Writer::default().number(77, 1))),
            invalid,
            "NodeProto at byte 4 has a field 77",
            Some("NodeProto at byte 4"),
        ),
        (
            "a number without end",
            [vec![0x08], vec![0xff; 11]].concat(),
            invalid,
            "more than 64 bits",
            Some("ModelProto at byte 1"),
        ),
        (
            "a length beyond the file",
            vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            invalid,
            "ends within ModelProto",
            Some("ModelProto at byte 1"),
        ),
        ("a group", vec![0x0b, 0x0c], invalid, "wrong wire type", Some("ModelProto at byte 0")),
        (
            "a text that is not UTF-8",
            Writer::default().bytes(2, [0xff, 0xfe]).0,
            invalid,
            "`producer_name` of ModelProto",
            Some("ModelProto at byte 1"),
        ),
        ("deep nesting", nested(40).0, invalid, "nested deeper than 48", Some("byte ")),
        ("no graph", ir(Writer::default()), invalid, "has no graph", None),
        ("no outputs", changed(|m| m.graph_proto_mut().output.clear()), invalid, "no outputs", None),
        ("no operator set", changed(|m| m.proto.opset_import.clear()), invalid, "no operator set", None),
        (
            "a dangling input",
            changed(|m| m.graph_proto_mut().node[1].input[0] = "nowhere".into()),
            invalid,
            "input 0 of node `Relu Relu_1` is `nowhere`",
            Some("Relu Relu_1"),
        ),
        (
            "a dangling output",
            changed(|m| m.graph_proto_mut().output[0].name = Some("gone".into())),
            invalid,
            "`gone` is made by nothing",
            Some("gone"),
        ),
        (
            "a value made twice",
            changed(|m| {
                let twin = m.graph_proto_mut().node[1].clone();
                m.graph_proto_mut().node.push(twin);
            }),
            invalid,
            "given to two values",
            Some("Relu__2"),
        ),
        (
            "two initializers of a name",
            changed(|m| {
                let twin = m.graph_proto_mut().initializer[0].clone();
                m.graph_proto_mut().initializer.push(twin);
            }),
            invalid,
            "two initializers are named `w`",
            Some("w"),
        ),
        (
            "a cycle",
            changed(|m| {
                m.graph_proto_mut().node.push(node("Neg", &["q"], &["p"]));
                m.graph_proto_mut().node.push(node("Abs", &["p"], &["q"]));
            }),
            invalid,
            "wait for each other: Neg Neg at hand, Abs Abs at hand",
            Some("Neg Neg at hand"),
        ),
        (
            "too few bytes",
            changed(|m| m.graph_proto_mut().initializer[0].raw_data = Some(Bytes::from_static(&[0; 7]))),
            invalid,
            "takes 432 bytes, but 7 are there",
            Some("w"),
        ),
        (
            "a negative axis",
            changed(|m| m.graph_proto_mut().initializer[0].dims[2] = -3),
            invalid,
            "axis 2 has the size -3",
            Some("w"),
        ),
        (
            "a huge shape",
            changed(|m| m.graph_proto_mut().initializer[0].dims = vec![i64::MAX, i64::MAX, i64::MAX]),
            invalid,
            "more than the",
            Some("w"),
        ),
        (
            "an unknown type",
            changed(|m| m.graph_proto_mut().initializer[0].data_type = Some(99)),
            invalid,
            "element type 99",
            Some("w"),
        ),
        (
            "a broken tensor in an attribute",
            changed(|m| {
                let short = TensorProto { dims: vec![4], data_type: Some(1), ..TensorProto::default() };
                let mut constant = node("Constant", &[], &["k"]);
                constant.set_attribute("value", Attribute::Tensor(short));
                m.graph_proto_mut().node.push(constant);
            }),
            invalid,
            "`Constant Constant at hand: value` is broken",
            Some("Constant Constant at hand: value"),
        ),
        (
            "external data",
            changed(|m| {
                let w = &mut m.graph_proto_mut().initializer[0];
                w.raw_data = None;
                w.data_location = Some(1);
                w.external_data.push(StringStringEntryProto {
                    key: Some("location".into()),
                    value: Some("../../etc/passwd".into()),
                });
            }),
            FailureCode::ExternalData,
            "send that file with the model",
            Some("w"),
        ),
        (
            "a declared size below −1",
            changed(|m| {
                m.graph_proto_mut().input[0] =
                    secateur::onnx::builder::value_info("x", DataType::Float, &[usize::MAX.wrapping_sub(4).into()]);
            }),
            invalid,
            "declared with the size -5",
            Some("x"),
        ),
        (
            "a node of the domain that bodies are laid out in",
            changed(|m| {
                let reserved = NodeProto { domain: Some("secateur.body".into()), ..node("If", &[], &["laid_out"]) };
                m.graph_proto_mut().node.insert(0, reserved);
            }),
            invalid,
            "has `secateur.body`, which is reserved",
            Some("If If at hand"),
        ),
        (
            "a node that is marked as one of a body",
            changed(|m| {
                let mark = StringStringEntryProto { key: Some("secateur.scope".into()), value: Some("/0.body".into()) };
                m.graph_proto_mut().node[0].metadata_props.push(mark);
            }),
            invalid,
            "has `secateur.scope`, which is reserved",
            Some(""),
        ),
        (
            "a function that calls itself",
            changed(|m| m.proto.functions = vec![function("f", "g"), function("g", "f")]),
            invalid,
            "calls itself",
            Some("f"),
        ),
    ];
    for (what, bytes, code, message, place) in rows {
        let failure = load(bytes).expect_err(what);
        assert_eq!(failure.code, code, "{what}: {failure:?}");
        assert!(failure.message.contains(message), "{what}: {}", failure.message);
        let found = failure.place.as_deref();
        let fits = match place {
            Some(place) => found.is_some_and(|found| found.starts_with(place)),
            None => found.is_none(),
        };
        assert!(fits, "{what}: {found:?} is not {place:?}");
    }
}

#[test]
fn a_graph_out_of_order_is_sorted_and_says_so() {
    let mut model = small();
    model.graph_proto_mut().node.reverse();
    let (sorted, notes) =
        Model::import(Bytes::from(model.to_bytes()), BTreeMap::new(), &ModelLimits::default()).unwrap();
    assert_eq!(notes.len(), 1);
    assert!(infer(&sorted).unknown().is_empty());
}

#[test]
fn limits_hold() {
    let few = ModelLimits { nodes: 3, ..ModelLimits::default() };
    let error = Model::from_bytes(Bytes::from(small().to_bytes()), &few).unwrap_err();
    assert!(error.to_string().contains("more than 3 nodes"), "{error}");
    let short = ModelLimits { string_bytes: 20, ..ModelLimits::default() };
    assert!(Model::from_bytes(Bytes::from(small().to_bytes()), &short).is_err());
    let light = ModelLimits { tensor_elements: 100, ..ModelLimits::default() };
    let failure = Failure::from(Model::from_bytes(Bytes::from(small().to_bytes()), &light).unwrap_err());
    assert_eq!(failure.place.as_deref(), Some("w"));
}

#[test]
fn millions_of_tiny_messages_are_refused_before_they_are_decoded() {
    // Two bytes each in the file, hundreds in memory: nodes, attributes of one node.
    let nodes = Writer([0x0a, 0x00].repeat(300_000));
    let attributes = Writer::default().message(1, Writer([0x2a, 0x00].repeat(300_000)));
    for graph in [nodes, attributes] {
        let bytes = Bytes::from(Writer::default().message(7, graph).0);
        let mut message = String::new();
        let held = peak(|| {
            message = Model::from_bytes(bytes.clone(), &ModelLimits::default())
                .map_or_else(|e| e.to_string(), |_| String::new());
        });
        assert!(message.contains("more than") && held < 1 << 20, "{held} bytes were held: {message}");
    }
}

#[test]
fn functions_that_call_functions_do_not_make_inference_endless() {
    let mut model = small();
    let calls = |name: String, inner: &str| FunctionProto {
        node: (0..10)
            .map(|i| NodeProto { domain: Some("own".into()), ..node(inner, &["a"], &[&format!("b{i}")]) })
            .collect(),
        output: vec!["b9".into()],
        ..function(&name, inner)
    };
    model.proto.functions = (0..12).map(|i| calls(format!("f{i}"), &format!("f{}", i + 1))).collect();
    model.proto.functions.push(function("f12", "f13"));
    model.proto.functions.push(FunctionProto { node: vec![node("Relu", &["a"], &["b"])], ..function("f13", "Relu") });
    model.graph_proto_mut().node.push(NodeProto { domain: Some("own".into()), ..node("f0", &["x"], &["z"]) });
    let _ = infer(&load(model.to_bytes()).unwrap());
}

/// Everything that is done to an upload before any engine sees it.
fn use_everything(bytes: Vec<u8>) {
    let Ok(model) = load(bytes) else { return };
    let inferred = infer(&model);
    let _ = summarize(&model, &inferred, Vec::new(), 0, Ok(0));
    let _ = raise(&model, TRAINING_OPSET);
    let _ = batch::free(&model);
    assert!(Model::from_bytes(Bytes::from(model.to_bytes()), &ModelLimits::default()).is_ok());
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6);
    edits.prop_map(|edits| {
        let mut model = small();
        // Weights are dull to mutate; what describes the graph is not.
        for tensor in &mut model.graph_proto_mut().initializer {
            if tensor.data_type == Some(DataType::Float.number()) {
                tensor.dims = vec![0, 1];
                tensor.raw_data = None;
            }
        }
        let mut bytes = model.to_bytes();
        for (place, value, kind) in edits {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => bytes.insert(at, value),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let held = peak(|| use_everything(bytes));
        prop_assert!(held < 32 << 20, "{held} bytes were held");
    }

    #[test]
    fn mutated_models_do_not_panic(bytes in mutated()) {
        let held = peak(|| use_everything(bytes));
        prop_assert!(held < 32 << 20, "{held} bytes were held");
    }

    #[test]
    fn numbers_in_graphs_do_not_panic(a in any::<i64>(), b in any::<i64>(), c in -3_i64..300, d in -3_i64..300) {
        let mut g = GraphBuilder::new("numbers");
        let x = g.input("x", DataType::Float, &["n".into(), 3.into(), 8.into(), "w".into()]);
        for (p, q) in [(a, b), (c, d), (a, d), (c, b)] {
            let list = g.constant(&Tensor::from_i64(&[2], &[p, q]));
            let four = g.constant(&Tensor::from_i64(&[4], &[p, q, c, d]));
            let one = g.constant(&Tensor::from_i64(&[], &[p]));
            let two = g.constant(&Tensor::from_i64(&[], &[q]));
            let shape = g.node("Shape", &[&x], &[("start", Attribute::Int(p))]);
            for op in ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Equal", "Less"] {
                g.node(op, &[&shape, &list], &[]);
                g.node(op, &[&list, &one], &[]);
            }
            g.node("Reshape", &[&x, &four], &[]);
            g.node("Reshape", &[&x, &list], &[("allowzero", Attribute::Int(p))]);
            g.node("Range", &[&one, &two, &one], &[]);
            g.node("Slice", &[&x, &list, &list], &[]);
            g.node("Slice", &[&four, &one, &two], &[]);
            g.node("Gather", &[&shape, &list], &[("axis", Attribute::Int(p))]);
            g.node("Tile", &[&x, &four], &[]);
            g.node("Expand", &[&x, &four], &[]);
            g.node("ConstantOfShape", &[&list], &[]);
            g.node("Split", &[&x, &list], &[("axis", Attribute::Int(q))]);
            g.node("Unsqueeze", &[&x, &list], &[]);
            g.node("Squeeze", &[&x, &list], &[]);
            g.node("ReduceSum", &[&x, &list], &[]);
            g.node("Resize", &[&x, "", "", &four], &[]);
            g.node("Flatten", &[&x], &[("axis", Attribute::Int(p))]);
            g.node("Transpose", &[&x], &[("perm", Attribute::Ints(vec![p, q, c, d]))]);
            g.node("TopK", &[&x, &one], &[("axis", Attribute::Int(p))]);
            g.node("DepthToSpace", &[&x], &[("blocksize", Attribute::Int(p))]);
            let w = g.initializer(&format!("w{p}{q}{}", g.clone().fresh("")), &Tensor::from_f32(&[1, 3, 1, 1], &[0.0; 3]));
            for op in ["Conv", "ConvTranspose", "MaxPool", "AveragePool"] {
                g.node(op, &[&x, &w], &[
                    ("kernel_shape", Attribute::Ints(vec![p, q])), ("strides", Attribute::Ints(vec![q, d])),
                    ("pads", Attribute::Ints(vec![p, q, c, d])), ("dilations", Attribute::Ints(vec![c, p])),
                    ("ceil_mode", Attribute::Int(d)), ("group", Attribute::Int(p)),
                ]);
            }
            g.node("Pad", &[&x, &four], &[]);
            g.node("Einsum", &[&x, &x], &[("equation", Attribute::String(format!("ab{}...,...->{}a", p % 10, q % 10)))]);
        }
        g.output(&x, DataType::Float, &[]);
        let model = g.build(18);
        prop_assert!(model.proto.encoded_len() > 0);
        let held = peak(|| { let _ = infer(&model); });
        prop_assert!(held < 32 << 20, "{held} bytes were held");
    }
}

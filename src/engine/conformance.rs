//! One suite that every engine passes, on graphs small enough to be worked by hand.

use super::{Engine, EngineError, Optimization, SessionOptions, onnx_runtime, tract};
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::GraphBuilder;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;

/// Runs a check on tract and, where its library is at hand, on ONNX Runtime.
fn on_every_engine(mut check: impl FnMut(&dyn Engine)) {
    check(&tract());
    match onnx_runtime() {
        Ok(runtime) => check(runtime),
        Err(error) => eprintln!("skipped on ONNX Runtime: {error}"),
    }
}

fn run(engine: &dyn Engine, model: &Model, feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError> {
    engine.load(model, &SessionOptions::default())?.run(feeds)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_f32().unwrap().into_owned()
}

/// `x · [[1, 2], [3, 4], [5, 6]]`, then its Relu as a second output.
fn dense() -> Model {
    let mut b = GraphBuilder::new("dense");
    let x = b.input("x", DataType::Float, &["n".into(), 3.into()]);
    let w = b.initializer("w", &Tensor::from_f32(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let y = b.node("MatMul", &[&x, &w], &[]);
    let z = b.node("Relu", &[&y], &[]);
    b.output(&y, DataType::Float, &["n".into(), 2.into()]);
    b.output(&z, DataType::Float, &["n".into(), 2.into()]);
    b.build(17)
}

#[test]
fn all_outputs_come_in_order_for_any_batch() {
    let model = dense();
    on_every_engine(|engine| {
        let mut session = engine.load(&model, &SessionOptions::default()).unwrap();
        let names: Vec<_> = model.graph_proto().output.iter().map(|output| output.name().to_owned()).collect();
        assert_eq!(session.output_names(), names);
        for batch in [1, 2, 1, 3, 4, 5, 6] {
            let x = Tensor::from_f32(&[batch, 3], &[1.0, 0.0, -1.0].repeat(batch));
            let outputs = session.run(&[("x", &x)]).unwrap();
            assert_eq!(outputs[0].shape, [batch, 2]);
            assert_eq!(floats(&outputs[0]), [-4.0, -4.0].repeat(batch), "{}", engine.name());
            assert_eq!(floats(&outputs[1]), [0.0, 0.0].repeat(batch), "{}", engine.name());
        }
    });
}

#[test]
fn outputs_outlive_their_session() {
    on_every_engine(|engine| {
        let mut b = GraphBuilder::new("constant");
        let x = b.input("x", DataType::Float, &[2.into()]);
        let y = b.node("Neg", &[&x], &[]);
        b.output(&y, DataType::Float, &[2.into()]);
        b.initializer("c", &Tensor::from_f32(&[2], &[7.0, 8.0]));
        b.output("c", DataType::Float, &[2.into()]);
        let outputs = run(engine, &b.build(17), &[("x", &Tensor::from_f32(&[2], &[1.0, 2.0]))]).unwrap();
        assert_eq!(floats(&outputs[0]), [-1.0, -2.0]);
        assert_eq!(floats(&outputs[1]), [7.0, 8.0]);
    });
}

#[test]
fn an_input_that_is_an_output_is_copied() {
    on_every_engine(|engine| {
        let mut b = GraphBuilder::new("through");
        let x = b.input("x", DataType::Float, &[3.into()]);
        let y = b.node("Identity", &[&x], &[]);
        b.output(&y, DataType::Float, &[3.into()]);
        let z = b.node("Neg", &[&x], &[]);
        b.output(&z, DataType::Float, &[3.into()]);
        b.output(&x, DataType::Float, &[3.into()]);
        let model = b.build(17);
        let outputs = {
            let x = Tensor::from_f32(&[3], &[1.0, 2.0, 3.0]);
            run(engine, &model, &[("x", &x)]).unwrap()
        };
        for output in [&outputs[0], &outputs[2]] {
            assert_eq!(floats(output), [1.0, 2.0, 3.0], "{}", engine.name());
        }
    });
}

#[test]
fn an_empty_batch_and_a_scalar_are_tensors_too() {
    on_every_engine(|engine| {
        let mut b = GraphBuilder::new("sum");
        let x = b.input("x", DataType::Float, &["n".into()]);
        let y = b.node("ReduceSum", &[&x], &[("keepdims", Attribute::Int(0))]);
        b.output(&y, DataType::Float, &[]);
        let sums = run(engine, &b.build(17), &[("x", &Tensor::from_f32(&[3], &[1.0, 2.0, 4.0]))]).unwrap();
        assert_eq!((sums[0].shape.as_slice(), floats(&sums[0])), (&[][..], vec![7.0]), "{}", engine.name());
    });
    if let Ok(runtime) = onnx_runtime() {
        let none = run(runtime, &dense(), &[("x", &Tensor::from_f32(&[0, 3], &[]))]).unwrap();
        assert_eq!((none[0].shape.as_slice(), none[0].data.len()), (&[0, 2][..], 0));
    }
}

#[test]
fn every_element_type_passes_unchanged() {
    use DataType::{Bfloat16, Bool, Double, Float, Float16, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};
    for dtype in [Float, Double, Float16, Bfloat16, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Bool] {
        let mut b = GraphBuilder::new("copy");
        let x = b.input("x", dtype, &["n".into()]);
        let y = b.node("Identity", &[&x], &[]);
        b.output(&y, dtype, &["n".into()]);
        let model = b.build(17);
        let width = dtype.bits() / 8;
        let bytes: Vec<u8> = (0..4 * width).map(|i| if dtype == Bool { (i % 2) as u8 } else { i as u8 + 1 }).collect();
        // One byte into a longer buffer, so that no wider element is aligned.
        let shifted: bytes::Bytes = [&[0_u8], bytes.as_slice()].concat().into();
        for data in [bytes::Bytes::from(bytes.clone()), shifted.slice(1..)] {
            let x = Tensor::from_bytes(dtype, &[4], data).unwrap();
            on_every_engine(|engine| match run(engine, &model, &[("x", &x)]) {
                Ok(outputs) => assert_eq!(outputs, std::slice::from_ref(&x), "{} {dtype}", engine.name()),
                Err(EngineError::InputType { .. } | EngineError::Declined { .. }) if engine.name() == "tract" => {
                    assert_eq!(dtype, Bfloat16);
                }
                Err(error) => panic!("{} {dtype}: {error}", engine.name()),
            });
        }
    }
}

#[test]
fn a_wrong_feed_is_an_error_that_names_it() {
    let model = dense();
    on_every_engine(|engine| {
        let x = Tensor::from_f32(&[1, 3], &[0.0; 3]);
        let error = run(engine, &model, &[("wrong", &x)]).unwrap_err();
        assert!(matches!(&error, EngineError::Run { message, .. } if message.contains("wrong")), "{error}");
        assert!(run(engine, &model, &[]).is_err());
        assert!(run(engine, &model, &[("x", &Tensor::from_f32(&[1, 4], &[0.0; 4]))]).is_err());
    });
}

#[test]
fn an_unknown_operator_is_refused_by_name() {
    let mut b = GraphBuilder::new("unknown");
    let x = b.input("x", DataType::Float, &[1.into()]);
    b.raw_node("", "Frobnicate", &[&x], &[], &["y".to_owned()]);
    b.output("y", DataType::Float, &[1.into()]);
    let model = b.build(17);
    on_every_engine(|engine| {
        let error = run(engine, &model, &[("x", &Tensor::from_f32(&[1], &[0.0]))]).unwrap_err();
        assert!(error.to_string().contains("Frobnicate"), "{}: {error}", engine.name());
    });
}

/// They say neither epsilon nor that the bias counts, and the variances are small.
#[test]
fn normalised_sums_are_the_same_on_every_engine() {
    let rows =
        |scale: f32| Tensor::from_f32(&[1, 2, 4], &[0.3, -1.0, 0.5, 0.1, 0.2, 0.7, -0.4, 0.9].map(|x| x * scale));
    let parameter = |values: [f32; 4]| Tensor::from_f32(&[4], &values);
    let model = |op_type: &str, has_shift: bool| {
        let mut b = GraphBuilder::new("sums");
        b.import("com.microsoft", 1);
        let [x, skip] = ["x", "skip"].map(|name| b.input(name, DataType::Float, &[1.into(), 2.into(), 4.into()]));
        let scale = b.initializer("scale", &parameter([0.5, 1.0, 1.5, 2.0]));
        let shift = b.initializer("shift", &parameter([0.1, 0.2, -0.1, 0.0]));
        let bias = b.initializer("bias", &parameter([1e-3, -2e-3, 3e-3, 0.0]));
        let inputs: Vec<&str> =
            if has_shift { vec![&x, &skip, &scale, &shift, &bias] } else { vec![&x, &skip, &scale, &bias] };
        b.raw_node("com.microsoft", op_type, &inputs, &[], &["y".to_owned()]);
        b.output("y", DataType::Float, &[1.into(), 2.into(), 4.into()]);
        b.build(17)
    };
    for (op_type, has_shift) in [("SkipLayerNormalization", true), ("SkipSimplifiedLayerNormalization", false)] {
        let model = model(op_type, has_shift);
        let mut all: Vec<Vec<f32>> = Vec::new();
        on_every_engine(|engine| {
            let outputs = run(engine, &model, &[("x", &rows(1e-3)), ("skip", &rows(-5e-4))]).unwrap();
            all.push(floats(&outputs[0]));
        });
        for other in &all[1..] {
            for (a, b) in all[0].iter().zip(other) {
                assert!((a - b).abs() < 1e-3, "{op_type}: {all:?}");
            }
        }
    }
}

#[test]
fn every_optimisation_level_computes_the_same() {
    let Ok(runtime) = onnx_runtime() else { return eprintln!("skipped: no ONNX Runtime") };
    let model = dense();
    let x = Tensor::from_f32(&[1, 3], &[1.0, 2.0, 3.0]);
    for optimization in [Optimization::Disabled, Optimization::Basic, Optimization::All] {
        let options = SessionOptions { optimization, threads: 2, ..SessionOptions::default() };
        let outputs = runtime.load(&model, &options).unwrap().run(&[("x", &x)]).unwrap();
        assert_eq!(floats(&outputs[0]), [22.0, 28.0]);
    }
    assert!(runtime.version().is_some_and(|version| version.starts_with("1.")), "{:?}", runtime.version());
}

/// The library takes bytes with `ORTM` at offset 4 for its own flatbuffer format unless it is told not to.
#[test]
fn a_model_that_looks_like_the_flatbuffer_format_is_read_as_protobuf() {
    let Ok(runtime) = onnx_runtime() else { return eprintln!("skipped: no ONNX Runtime") };
    let mut model = dense();
    model.proto.producer_name = Some("ORTM".into());
    assert_eq!(&model.to_bytes()[4..8], b"ORTM");
    let x = Tensor::from_f32(&[1, 3], &[1.0, 2.0, 3.0]);
    assert_eq!(floats(&run(runtime, &model, &[("x", &x)]).unwrap()[0]), [22.0, 28.0]);
}

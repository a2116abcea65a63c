//! Models whose weights lie in files of their own, through the real program: uploaded as a form, pruned, downloaded as a
//! file that runs.

use bytes::Bytes;
use prost::Message as _;
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use secateur::engine::{self, Engine as _, SessionOptions};
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::proto::StringStringEntryProto;
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::ModelLimits;
use serde_json::{Value, json};

use crate::support::app::{expect, problem};
use crate::support::service::Service;

/// A perceptron whose weights are the pieces of one file, `w.bin`, from byte 64 on; the model and the file.
fn perceptron(location: &str) -> (Bytes, Vec<u8>) {
    let mut b = GraphBuilder::new("perceptron");
    let mut value = b.input("x", DataType::Float, &["n".into(), 64.into()]);
    for (layer, (rows, columns)) in [(64, 128), (128, 64), (64, 10)].into_iter().enumerate() {
        let values: Vec<f32> = (0..rows * columns).map(|i| ((i * 31 + layer) % 97) as f32 / 300.0 - 0.16).collect();
        let w = b.initializer(&format!("w{layer}"), &Tensor::from_f32(&[rows, columns], &values));
        value = b.node("MatMul", &[&value, &w], &[]);
        if layer < 2 {
            value = b.node("Relu", &[&value], &[]);
        }
    }
    b.output(&value, DataType::Float, &["n".into(), 10.into()]);
    let mut model = b.build(17);
    let mut file = vec![0xee; 64];
    for tensor in &mut model.graph_proto_mut().initializer {
        let raw = tensor.raw_data.take().unwrap();
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.data_location = Some(1);
        tensor.external_data = vec![
            entry("location", location.into()),
            entry("offset", file.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        file.extend_from_slice(&raw);
    }
    (model.proto.encode_to_vec().into(), file)
}

fn form(model: &Bytes, data: &[(&str, &[u8])]) -> Form {
    let model = Part::bytes(model.to_vec()).file_name("perceptron.onnx");
    data.iter().fold(Form::new().part("file", model), |form, (name, bytes)| {
        form.part("data", Part::bytes(bytes.to_vec()).file_name((*name).to_owned()))
    })
}

fn outputs(model: &Model) -> Vec<Tensor> {
    let x: Vec<f32> = (0..192).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut session = engine::onnx_runtime().unwrap().load(model, &SessionOptions::default()).unwrap();
    session.run(&[("x", &Tensor::from_f32(&[3, 64], &x))]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_its_weights_in_another_file_is_kept_as_one_and_pruned() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, weights) = perceptron("w.bin");
    let response = service.post("/v1/models").multipart(form(&model, &[("w.bin", &weights)])).send().await.unwrap();
    let body = expect(response, StatusCode::CREATED).await;
    assert_eq!((&body["name"], &body["parameters"]), (&json!("perceptron.onnx"), &json!(64 * 128 + 128 * 64 + 640)));
    let id = body["id"].as_str().unwrap();
    let content = service.download(id).await;
    assert_eq!(json!(content.len()), body["size_bytes"]);
    let kept = Model::from_bytes(content, &ModelLimits::default()).unwrap();
    let original: Vec<u8> = kept.graph_proto().initializer.iter().flat_map(|t| t.raw_data.clone().unwrap()).collect();
    assert_eq!(original, weights[64..], "every weight stands in its tensor, byte for byte");

    let prune = json!({"kind": "prune", "model_id": id, "spec": {"target": {"params_kept": 0.5}}});
    let job = service.succeeded(&service.submit(&prune).await).await;
    let pruned = service.download(job["output_model_id"].as_str().unwrap()).await;
    let pruned = Model::from_bytes(pruned, &ModelLimits::default()).unwrap();
    assert!(pruned.size_bytes() < kept.size_bytes() * 6 / 10);
    assert_eq!(outputs(&pruned)[0].shape, outputs(&kept)[0].shape);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_files_that_do_not_fit_are_refused_and_leave_nothing() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, weights) = perceptron("w.bin");
    let (outside, _) = perceptron("../w.bin");
    let whole = weights.as_slice();
    let rows: Vec<(&str, Form, &str, Value)> = vec![
        ("no file", form(&model, &[]), "send that file with the model", json!("w0")),
        ("another name", form(&model, &[("v.bin", whole)]), "did not come with the model", json!("w0")),
        ("cut short", form(&model, &[("w.bin", &whole[..whole.len() - 1])]), "which has", json!("w2")),
        ("one too many", form(&model, &[("w.bin", whole), ("v.bin", b"x")]), "no tensor lies in", json!("v.bin")),
        ("twice", form(&model, &[("w.bin", whole), ("w.bin", whole)]), "two data files", json!("w.bin")),
        ("a path in the form", form(&model, &[("../w.bin", whole)]), "not the name of a file", json!("../w.bin")),
        ("an absolute path", form(&model, &[("/etc/passwd", whole)]), "not the name of a file", json!("/etc/passwd")),
        ("a path in the model", form(&outside, &[("w.bin", whole)]), "not the name of a file", json!("w0")),
    ];
    for (what, form, detail, place) in rows {
        let response = service.post("/v1/models").multipart(form).send().await.unwrap();
        let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "external_data").await;
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{what}: {problem:#}");
        assert_eq!(problem["place"], place, "{what}");
    }
    assert_eq!(service.read("/v1/models").await["items"], json!([]));
}

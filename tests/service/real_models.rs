//! Jobs on published ResNets and real images through the running program: accuracies that were measured elsewhere, cuts
//! that are read out of the downloaded files again, and a retraining held against PyTorch. Without the
//! folder of models and data these tests are skipped (`published`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use secateur::engine::{Engine, SessionOptions, onnx_runtime, tract};
use secateur::onnx::model::Model;
use secateur::onnx::proto::{ModelProto, TensorProto};
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::ModelLimits;
use serde_json::{Value, json};

use crate::support::service::Service;
use crate::{cifar, published};

/// The networks of `cifar_resnet/` with their accuracy on the decoded test images, from `index.json`.
const RESNETS: [(&str, f64); 6] = [
    ("cifar10_resnet20", 0.8098),
    ("cifar10_resnet20_bn", 0.8098),
    ("cifar10_resnet20_dynamo", 0.8098),
    ("cifar10_resnet56", 0.8280),
    ("cifar10_resnet56_adapted", 0.8866),
    ("cifar10_resnet56_adapted_bn", 0.8866),
];
/// Two of the 5,000 samples: other sums of 32-bit floats decide otherwise where two classes are as good as equal.
const ON_PIXELS: f64 = 0.0004;
/// Half a point: JPEG decoders differ by a few steps a pixel.
const ON_JPEGS: f64 = 0.005;

/// A service, and the folder of models and data that it is fed from.
struct RealWorld {
    service: Service,
    folder: PathBuf,
}

impl RealWorld {
    /// Starts a service; `None`, said on the error stream, where there is nothing to feed it with.
    async fn start() -> Option<Self> {
        let folder = published::folder()?;
        Some(Self { service: Service::start(&["--threads", "2"]).await, folder })
    }

    async fn model(&self, name: &str) -> String {
        self.service.upload_model(&self.folder.join(format!("cifar_resnet/{name}.onnx")), name).await
    }

    async fn images(&self, file: &str) -> String {
        let preprocess: Value = cifar::preprocess();
        self.service.upload_dataset(&self.folder.join("data").join(file), file, Some(preprocess)).await
    }

    /// Submits evaluations of all models, so that one follows the other without a pause; returns the accuracies.
    async fn accuracies(&self, models: &[(&str, f64)], dataset: &str) -> Vec<f64> {
        let dataset = self.images(dataset).await;
        let mut jobs = Vec::new();
        for (name, _) in models {
            let model = self.model(name).await;
            let spec = json!({"batch_size": 100, "latency": null});
            let request = json!({"kind": "evaluate", "model_id": model, "dataset_id": dataset, "spec": spec});
            jobs.push(self.service.submit(&request).await);
        }
        let mut accuracies = Vec::new();
        for job in jobs {
            self.service.succeeded(&job).await;
            let report = self.service.report(&job).await;
            assert_eq!(report["candidate"]["quality"]["samples"], 5000);
            accuracies.push(number(&report["candidate"]["quality"]["accuracy"]));
        }
        accuracies
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluations_reproduce_the_accuracies_of_published_resnets() {
    let Some(world) = RealWorld::start().await else { return };
    let found = world.accuracies(&RESNETS, "cifar10_jpeg_test5k.npz").await;
    for ((name, expected), found) in RESNETS.iter().zip(found) {
        assert!((found - expected).abs() <= ON_PIXELS + 1e-9, "{name}: {found} is not {expected}");
    }
    let several = [RESNETS[0], RESNETS[4]];
    let found = world.accuracies(&several, "cifar10-test5k.zip").await;
    for ((name, expected), found) in several.iter().zip(found) {
        assert!((found - expected).abs() <= ON_JPEGS, "{name}: {found} is not {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn published_resnets_are_cut_to_half_their_macs_with_proof_and_plan() {
    let Some(world) = RealWorld::start().await else { return };
    for name in ["cifar10_resnet20", "cifar10_resnet56_adapted", "cifar10_resnet56_adapted_bn"] {
        let model = world.model(name).await;
        let original = world.service.download(&model).await;
        let request = json!({"kind": "prune", "model_id": model, "spec": {"target": {"macs_kept": 0.5}}});
        let job = world.service.submit(&request).await;
        let job = world.service.succeeded(&job).await;

        let report = world.service.report(job["id"].as_str().unwrap()).await;
        let prune = &report["steps"][0]["prune"];
        certificate_passed(&prune["certificate"]);
        let macs = |model: &Value| number(&model["size"]["macs"]);
        assert!(macs(&report["candidate"]) <= 0.5 * macs(&report["baseline"]), "{name}: {report:#}");

        let output = job["output_model_id"].as_str().unwrap();
        let published = world.service.read(&format!("/v1/models/{output}")).await;
        assert_eq!(published["parent_id"], model);
        assert_eq!(published["macs"], report["candidate"]["size"]["macs"]);
        let cut = world.service.download(output).await;
        assert_eq!(report["candidate"]["size"]["bytes"], cut.len());
        let plan = world.service.read(job["links"]["plan"].as_str().unwrap()).await;
        file_is_what_the_plan_says(&original, &cut, &plan, prune);
        runs_on_both_engines(cut);
    }
}

/// Share of the MACs that is kept and the accuracy that is left at least, of 88.66 %.
const RECOVERED: [(f64, f64); 3] = [(1.0 / 1.5, 0.86), (1.0 / 2.0, 0.80), (1.0 / 2.5, 0.76)];

#[tokio::test(flavor = "multi_thread")]
async fn resnet56_is_cut_and_recovered_without_a_label() {
    let Some(world) = RealWorld::start().await else { return };
    let model = world.model("cifar10_resnet56_adapted").await;
    let training = world.images("cifar10-train20k.zip").await;
    let test = world.images("cifar10_jpeg_test5k.npz").await;
    for (share, least) in RECOVERED {
        let prune = json!({"target": {"macs_kept": share}, "round_to": 1});
        let steps = json!([
            {"kind": "prune", "dataset_id": training, "spec": prune},
            {"kind": "evaluate", "dataset_id": test, "spec": {"batch_size": 100, "latency": null}},
        ]);
        let job = world.service.submit(&json!({"kind": "pipeline", "model_id": model, "spec": {"steps": steps}})).await;
        world.service.succeeded(&job).await;
        let report = world.service.report(&job).await;
        let prune = &report["steps"][0]["prune"];
        certificate_passed(&prune["certificate"]);
        assert_eq!((&prune["criterion"], &prune["recovery"][0]["rung"]), (&json!("obs"), &json!("least_squares")));
        let macs = |model: &Value| number(&model["size"]["macs"]);
        assert!(macs(&report["candidate"]) <= share * macs(&report["baseline"]));
        let accuracy = number(&report["candidate"]["quality"]["accuracy"]);
        eprintln!("{share:.2} of the MACs: {accuracy}");
        assert!(accuracy >= least, "{accuracy} at {share:.2} of the MACs");
    }
}

/// Both engines agreed with the masked original, or the one that did not run says why.
fn certificate_passed(certificate: &Value) {
    assert_eq!((&certificate["kind"], &certificate["passed"]), (&json!("masked_equivalence"), &json!(true)));
    let checks = certificate["checks"].as_array().unwrap();
    for engine in ["onnxruntime", "tract"] {
        let of_engine: Vec<&Value> = checks.iter().filter(|check| check["engine"] == engine).collect();
        assert!(!of_engine.is_empty(), "{engine} is not in {certificate:#}");
        for check in of_engine {
            match check["declined"].as_str() {
                Some(reason) => assert!(engine == "tract" && !reason.is_empty(), "{check:#}"),
                None => assert!(number(&check["error"]) <= 1e-4, "{check:#}"),
            }
        }
    }
}

/// Cuts the original's initializers as the plan tells, byte by byte, and compares with those of the downloaded file.
fn file_is_what_the_plan_says(original: &Bytes, cut: &Bytes, plan: &Value, prune: &Value) {
    let (mut expected, found) = (initializers(original), initializers(cut));
    let cuts = plan["cuts"].as_array().unwrap();
    assert_eq!(cuts.len(), 1, "one step cuts");
    for tensor in cuts[0]["plan"]["tensors"].as_array().unwrap() {
        let (was, becomes) = (tensor["tensor"].as_str().unwrap(), tensor["becomes"].as_str().unwrap());
        let (mut dims, mut bytes) = expected[was].clone();
        for axis in tensor["axes"].as_array().unwrap() {
            let removed: Vec<u64> = axis["removed"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
            let at = axis["axis"].as_u64().unwrap() as usize;
            assert_eq!(axis["size"], dims[at], "{was}");
            bytes = without(&bytes, &dims, at, &removed);
            dims[at] -= removed.len() as i64;
        }
        expected.insert(becomes.to_owned(), (dims, bytes));
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    // Shape constants are told apart by the plan's `numbers`; every other tensor must be the cut one.
    let numbers = cuts[0]["plan"]["numbers"].as_array().unwrap();
    for (name, tensor) in &found {
        if numbers.iter().all(|rewrite| rewrite["becomes"] != *name) {
            assert_eq!(tensor.0, expected[name].0, "{name}");
            assert!(tensor.1 == expected[name].1, "the elements of `{name}` are others than those that were to stay");
        }
    }
    // An axis may have segments in several groups: behind an option-A shortcut some channels are the earlier stage's.
    let mut narrower: BTreeMap<(&str, usize), i64> = BTreeMap::new();
    for group in prune["groups"].as_array().unwrap() {
        let gone = group["width_before"].as_i64().unwrap() - group["width_after"].as_i64().unwrap();
        for member in group["members"].as_array().unwrap() {
            let (name, axis) = (member["initializer"].as_str().unwrap(), member["axis"].as_u64().unwrap() as usize);
            *narrower.entry((name, axis)).or_default() += gone;
        }
    }
    let original = initializers(original);
    for ((name, axis), gone) in narrower {
        assert_eq!(original[name].0[axis] - found[name].0[axis], gone, "{name} axis {axis}");
    }
}

/// Dimensions and bytes of each initializer, as the file has them.
fn initializers(file: &Bytes) -> BTreeMap<String, (Vec<i64>, Vec<u8>)> {
    let graph = ModelProto::decode(file.clone()).unwrap().graph.unwrap();
    let read = |tensor: TensorProto| {
        let bytes = tensor.raw_data.unwrap_or_else(|| panic!("{:?} has no raw data", tensor.name));
        (tensor.name.unwrap(), (tensor.dims, bytes.to_vec()))
    };
    graph.initializer.into_iter().map(read).collect()
}

/// Elements without the removed indices of an axis.
fn without(bytes: &[u8], dims: &[i64], axis: usize, removed: &[u64]) -> Vec<u8> {
    let (outer, size) = (dims[..axis].iter().product::<i64>() as usize, dims[axis] as usize);
    let run = bytes.len() / (outer * size);
    let stays = |at: &usize| !removed.contains(&((at % size) as u64));
    (0..outer * size).filter(stays).flat_map(|at| bytes[at * run..(at + 1) * run].iter().copied()).collect()
}

fn runs_on_both_engines(file: Bytes) {
    let model = Model::from_bytes(file, &ModelLimits::default()).unwrap();
    let pixels: Vec<f32> = (0..2 * 3 * 32 * 32).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let images = Tensor::from_f32(&[2, 3, 32, 32], &pixels);
    let logits = |engine: &dyn Engine| {
        let mut session = engine.load(&model, &SessionOptions::with_threads(1)).unwrap();
        let outputs = session.run(&[("input", &images)]).unwrap();
        assert_eq!(outputs[0].shape, [2, 10]);
        outputs[0].to_f32().unwrap().into_owned()
    };
    let (first, second) = (logits(onnx_runtime().unwrap()), logits(&tract()));
    let scale = first.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for (a, b) in first.iter().zip(&second) {
        assert!((a - b).abs() <= 1e-4 * scale, "{first:?} and {second:?}");
    }
}

/// What PyTorch 2.15 makes of the same cut model with the same images in the same order (`benches/compare_torch.py`).
const PYTORCH: f64 = 0.7152;

/// Takes about two minutes on two idle cores.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_resnet_retrained_for_two_epochs_is_as_good_as_pytorch_makes_it() {
    let Some(world) = RealWorld::start().await else { return };
    let (model, test) = (world.model("cifar10_resnet20_bn").await, world.images("cifar10_jpeg_test5k.npz").await);
    let train = world.images("cifar10-train20k.zip").await;
    let retrain = json!({
        "epochs": 2, "batch_size": 128, "validation_fraction": 0,
        "augment": {"horizontal_flip": true, "crop_padding": 4},
        "optimizer": {"kind": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
    });
    let steps = json!([
        {"kind": "prune", "spec": {"target": {"macs_kept": 0.5}}},
        {"kind": "retrain", "spec": retrain},
        {"kind": "evaluate", "dataset_id": test, "spec": {"batch_size": 100, "latency": null}},
    ]);
    let request = json!({"kind": "pipeline", "model_id": model, "dataset_id": train, "spec": {"steps": steps}});
    let job = world.service.submit(&request).await;
    world.service.succeeded(&job).await;

    let report = world.service.report(&job).await;
    assert_eq!(report["steps"][1]["retrain"]["steps"], 312);
    assert!((number(&report["baseline"]["quality"]["accuracy"]) - 0.8098).abs() <= ON_PIXELS + 1e-9);
    let accuracy = number(&report["candidate"]["quality"]["accuracy"]);
    assert!(accuracy >= PYTORCH - 0.01, "{accuracy} is more than a point below {PYTORCH}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

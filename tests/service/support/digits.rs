//! The handwritten digits of `examples/`: a small real model and its data, which lie in the repository.

use std::path::PathBuf;

use serde_json::json;

use super::service::Service;

/// One of the example's files.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/digits").join(name)
}

/// Uploads the model and its training set; returns their ids.
pub async fn upload(service: &Service) -> (String, String) {
    let model = service.upload_model(&file("digits.onnx"), "digits").await;
    let dataset = service.upload_dataset(&file("digits-train.npz"), "train", Some(json!({"divide_by": 16}))).await;
    (model, dataset)
}

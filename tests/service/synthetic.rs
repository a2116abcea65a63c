//! Prune jobs that make their samples, in the real program.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::problem;
use crate::support::digits;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_recovered_on_samples_that_the_job_makes() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, dataset) = digits::upload(&service).await;
    let input = service.read(&format!("/v1/models/{model}")).await["inputs"][0]["name"].as_str().unwrap().to_owned();
    let pixels = json!({"uniform": {"low": 0.0, "high": 1.0}});
    let spec = json!({
        "target": {"params_kept": 0.5}, "calibration_samples": 100, "seed": 7,
        "synthetic": {"inputs": {&input: pixels}, "match_batch_norm": true},
    });
    let steps = json!([{"kind": "prune", "spec": spec}, {"kind": "evaluate"}]);
    let request = json!({"kind": "pipeline", "model_id": model, "dataset_id": dataset, "spec": {"steps": steps}});
    let job = service.submit(&request).await;
    service.succeeded(&job).await;

    let report = service.report(&job).await;
    let prune = &report["steps"][0]["prune"];
    let made = &prune["synthetic"];
    assert_eq!((&made["samples"], &made["seed"]), (&json!(128), &json!(7)), "{made:#}");
    assert_eq!((&made["inputs"][0]["name"], &made["inputs"][0]["distribution"]), (&json!(input), &pixels));
    let matched = &made["batch_norm"];
    assert!(matched["after"].as_f64().unwrap() < matched["before"].as_f64().unwrap(), "{matched:#}");
    let rung = &prune["recovery"][0];
    assert_eq!((&rung["rung"], &rung["samples"]), (&json!("least_squares"), &json!(100)));
    let error = |at: &str| rung[at]["output_error"].as_f64().unwrap();
    assert!(error("after") < error("before"), "{rung:#}");
    assert_eq!(rung["after"]["accuracy"], Value::Null, "made samples have no labels");
    let page = service.get(&format!("/v1/jobs/{job}/report")).header("accept", "text/markdown").send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("There was no dataset: 128 samples were made with the seed 7"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_that_cannot_be_made_are_refused_with_their_place() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, dataset) = digits::upload(&service).await;
    let prune = |spec: Value| json!({"kind": "prune", "model_id": model, "spec": spec});
    let upside_down = json!({"inputs": {"x": {"uniform": {"low": 1, "high": 0}}}});
    let mut both = prune(json!({"synthetic": {}}));
    both["dataset_id"] = json!(dataset);
    for (request, pointer) in [
        (prune(json!({"synthetic": upside_down})), "/spec/synthetic"),
        (prune(json!({"synthetic": {"inputs": {"x": {"cauchy": {}}}}})), "/spec/synthetic/inputs/x"),
        (prune(json!({"synthetic": {"inputs": {"nobody": {"normal": {}}}}})), "/spec/synthetic/inputs/nobody"),
        (both, "/spec/synthetic"),
    ] {
        let refused = service.post("/v1/jobs").json(&request).send().await.unwrap();
        let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec").await;
        assert!(refused["errors"][0]["pointer"].as_str().unwrap().starts_with(pointer), "{refused}");
    }
}

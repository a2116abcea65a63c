//! Analyses in the real program.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::{expect, problem};
use crate::support::digits;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_tells_what_a_prune_job_could_do_and_makes_no_model() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, _) = digits::upload(&service).await;
    let job = service.submit(&json!({"kind": "analyze", "model_id": model})).await;
    let ended = service.succeeded(&job).await;
    assert_eq!((&ended["output_model_id"], &ended["models"]), (&Value::Null, &json!([])));

    let uploaded = service.read(&format!("/v1/models/{model}")).await;
    let report = service.report(&job).await;
    assert_eq!((&report["kind"], &report["baseline"]), (&json!("analyze"), &Value::Null));
    let analysis = &report["steps"][0]["analyze"];
    assert_eq!(
        (&analysis["size"]["parameters"], &analysis["size"]["macs"]),
        (&uploaded["parameters"], &uploaded["macs"])
    );
    assert_eq!(report["candidate"]["size"], analysis["size"]);
    assert!(analysis["coverage"]["parameters"].as_f64().unwrap() > 0.9, "{analysis:#}");

    // Every group that a prune job of the same wishes cuts is prunable here, with the same members and width.
    let cut = service.submit(&json!({"kind": "prune", "model_id": model})).await;
    service.succeeded(&cut).await;
    let cut = service.report(&cut).await;
    let groups = analysis["groups"].as_array().unwrap();
    let of_cut = cut["steps"][0]["prune"]["groups"].as_array().unwrap();
    assert_eq!(groups.iter().filter(|group| group["prunable"] == true).count(), of_cut.len());
    for group in of_cut {
        let found = groups.iter().find(|found| found["name"] == group["name"] && found["prunable"] == true);
        assert_eq!(found.unwrap_or_else(|| panic!("{group:#}"))["width"], group["width_before"]);
    }
    let classes = groups.iter().find(|group| group["width"] == 10 && group["prunable"] == false).unwrap();
    assert!(classes["frozen_by"]["hint"].as_str().unwrap().contains("the head keeps its classes"), "{classes:#}");

    let page = service.get(&format!("/v1/jobs/{job}/report")).header("accept", "text/markdown").send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.starts_with("### Secateur: analyze of `digits`"), "{page}");
    assert!(page.contains("Prunable groups hold") && page.contains("the head keeps its classes"), "{page}");
    assert!(!page.contains("baseline"), "there is nothing to compare with: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_as_a_step_hands_on_the_model_and_sees_what_earlier_steps_made() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, _) = digits::upload(&service).await;
    let steps = json!([
        {"kind": "analyze"},
        {"kind": "prune", "spec": {"target": {"params_kept": 0.5}}},
        {"kind": "analyze", "spec": {"exclude": ["*"]}},
    ]);
    let job = service.submit(&json!({"kind": "pipeline", "model_id": model, "spec": {"steps": steps}})).await;
    let ended = service.succeeded(&job).await;
    let report = service.report(&job).await;
    let parameters = |step: usize| report["steps"][step]["analyze"]["size"]["parameters"].as_u64().unwrap();
    assert!(parameters(2) * 2 <= parameters(0), "{report:#}");
    assert_eq!(report["steps"][2]["analyze"]["coverage"]["parameters"], 0.0);
    let output = ended["output_model_id"].as_str().unwrap();
    let output = service.read(&format!("/v1/models/{output}")).await;
    assert_eq!((&output["step"], &output["parameters"]), (&json!(1), &json!(parameters(2))));

    let wrong = json!({"kind": "analyze", "model_id": model, "spec": {"target": {"macs_kept": 0.5}}});
    let refused = service.post("/v1/jobs").json(&wrong).send().await.unwrap();
    problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec").await;
    let listed = service.get("/v1/jobs?kind=analyze").send().await.unwrap();
    assert_eq!(expect(listed, StatusCode::OK).await["items"], json!([]), "a pipeline is one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_with_a_dataset_tells_what_the_channels_do() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, dataset) = digits::upload(&service).await;
    let spec = json!({"calibration_samples": 100});
    let job = service.submit(&json!({"kind": "analyze", "model_id": model, "dataset_id": dataset, "spec": spec})).await;
    service.succeeded(&job).await;
    let report = service.report(&job).await;
    let analysis = &report["steps"][0]["analyze"];
    assert_eq!(analysis["activations"]["samples"], 100);
    let observed = analysis["activations"]["groups"].as_array().unwrap();
    let prunable = analysis["groups"].as_array().unwrap().iter().filter(|group| group["prunable"] == true).count();
    assert_eq!(observed.len(), prunable, "{analysis:#}");
    assert!(observed.iter().all(|group| group["contribution"].as_f64().is_some_and(|share| share > 0.0)));
}

//! Targets of measured time and measured rounding, in the real program. Nothing is said of how long anything takes.

use serde_json::{Value, json};

use crate::support::digits;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_time_is_met_by_what_was_measured_or_refused_with_the_best() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, _) = digits::upload(&service).await;
    let mut jobs = Vec::new();
    for target in [json!({"latency_kept": 0.95}), json!({"latency_ms": 1e-6})] {
        let spec = json!({"target": target, "round_to": 1});
        jobs.push(service.submit(&json!({"kind": "prune", "model_id": model, "spec": spec})).await);
    }
    let kept = service.finished(&jobs[0]).await;
    if kept["status"] == "succeeded" {
        let latency = service.report(&jobs[0]).await["steps"][0]["prune"]["latency"].clone();
        let number = |name: &str| latency[name].as_f64().unwrap();
        assert!(number("after_ms") <= number("target_ms"), "{latency:#}");
        assert!((number("target_ms") / number("before_ms") - 0.95).abs() < 1e-6, "{latency:#}");
        assert!(number("predicted_ms") > 0.0 && number("rounds") >= 1.0 && number("parts_timed") >= 1.0, "{latency:#}");
        assert!(latency["undisturbed"].is_boolean(), "{latency:#}");
    } else {
        // So small a network may take as long whatever is cut, which is what the refusal says.
        assert_eq!(kept["error"]["code"], "target_unreachable", "{kept:#}");
    }
    let never = service.finished(&jobs[1]).await;
    assert_eq!(never["error"]["code"], "target_unreachable", "{never:#}");
    let message = never["error"]["message"].as_str().unwrap();
    assert!(message.contains("latency_ms 0.000001") && message.contains("best"), "{message}");
    assert!(service.models_of(&jobs[1]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn widths_are_rounded_to_what_was_measured_and_the_report_says_so() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, _) = digits::upload(&service).await;
    let spec = json!({"target": {"macs_kept": 0.6}, "round_to": "measured"});
    let job = service.submit(&json!({"kind": "prune", "model_id": model, "spec": spec})).await;
    service.succeeded(&job).await;
    let notes = service.report(&job).await["steps"][0]["prune"]["notes"].clone();
    let said = |note: &Value| note.as_str().is_some_and(|note| note.starts_with("widths are multiples of"));
    assert!(notes.as_array().unwrap().iter().any(said), "{notes:#}");
    let refused = json!({"kind": "prune", "model_id": model, "spec": {"round_to": "fastest"}});
    let refused = service.post("/v1/jobs").json(&refused).send().await.unwrap();
    let text = refused.text().await.unwrap();
    assert!(text.contains("a number or `measured`") && text.contains("/spec/round_to"), "{text}");
}

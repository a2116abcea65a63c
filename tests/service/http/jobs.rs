//! `/v1/jobs`: submission and what it refuses, waiting, cancelling, reports.

use std::time::Duration;

use reqwest::StatusCode;
use secateur::queue;
use secateur::spec::failure::{Failure, FailureCode};
use secateur::spec::job::Stage;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::{App, classifier, expect, problem, report, samples};

#[tokio::test]
async fn a_job_is_accepted_and_read_as_it_was_asked_for() {
    let app = App::start().await;
    let (model, dataset) = (app.model(classifier()).await, app.dataset(samples()).await);
    let spec = json!({"steps": [{"kind": "prune"}, {"kind": "retrain", "spec": {"epochs": 2}}, {"kind": "evaluate"}]});
    let request = json!({
        "kind": "pipeline", "model_id": model, "dataset_id": dataset, "spec": spec, "name": "small", "deadline_seconds": 600,
    });
    let response = app.post("/v1/jobs").json(&request).send().await.unwrap();
    let path = response.headers()["location"].to_str().unwrap().to_owned();
    let job = expect(response, StatusCode::ACCEPTED).await;
    assert_eq!((&job["status"], &job["spec"], &job["deadline_seconds"]), (&json!("queued"), &spec, &json!(600)));
    assert_eq!((&job["progress"], &job["attempt"], &job["models"]), (&json!(0.0), &json!(0), &json!([])));
    assert_eq!(
        job["links"],
        json!({
            "self": path, "events": format!("{path}/events"), "cancel": format!("{path}/cancel"),
            "report": null, "plan": null, "output": null,
        })
    );
    assert_eq!(expect(app.get(&path).send().await.unwrap(), StatusCode::OK).await, job);
}

#[tokio::test]
async fn a_job_tells_where_it_stands_and_what_came_out() {
    let app = App::start().await;
    let model = app.model(classifier()).await;
    let job = app.job(json!({"kind": "prune", "model_id": model})).await;
    let path = format!("/v1/jobs/{job}");
    let claim = app.world.claim().await;
    let mut connection = app.world.conn().await;
    queue::set_stage(&mut connection, &claim.lease, Stage::Pruning, 0).await.unwrap();
    queue::set_progress(&mut connection, &claim.lease, 0.5).await.unwrap();
    let running = expect(app.get(&path).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        (&running["status"], &running["stage"], &running["progress"], &running["attempt"]),
        (&json!("running"), &json!("pruning"), &json!(0.5), &json!(1))
    );
    app.publish(&claim, &report(&job, &model), Some(classifier())).await;
    let ended = expect(app.get(&path).send().await.unwrap(), StatusCode::OK).await;
    let output = ended["output_model_id"].as_str().unwrap();
    assert_eq!((&ended["status"], &ended["links"]["cancel"]), (&json!("succeeded"), &Value::Null));
    assert_eq!(ended["models"], json!([{"step": 0, "model_id": output}]));
    assert_eq!(ended["links"]["output"], format!("/v1/models/{output}/content"));
    let made = expect(app.get(&format!("/v1/models/{output}")).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!((&made["parent_id"], &made["job_id"], &made["step"]), (&json!(model), &json!(job), &json!(0)));
    let listed = expect(app.get("/v1/jobs").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(listed["items"], json!([ended]));
}

#[tokio::test]
async fn a_failed_job_tells_why() {
    let app = App::start().await;
    let model = app.model(classifier()).await;
    let job = app.job(json!({"kind": "prune", "model_id": model})).await;
    let claim = app.world.claim().await;
    let failure = Failure::new(FailureCode::TargetUnreachable, "at best 0.61 of the MACs remain");
    queue::fail(&mut *app.world.conn().await, &claim.lease, &failure).await.unwrap();
    let path = format!("/v1/jobs/{job}");
    let ended = expect(app.get(&path).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(ended["error"], json!({"code": "target_unreachable", "message": "at best 0.61 of the MACs remain"}));
    let missing = app.get(&format!("{path}/report")).send().await.unwrap();
    problem(missing, StatusCode::NOT_FOUND, "report_not_available").await;
    let missing = app.get(&format!("{path}/plan")).send().await.unwrap();
    problem(missing, StatusCode::NOT_FOUND, "plan_not_available").await;
}

#[tokio::test]
async fn a_report_is_json_or_markdown_by_accept() {
    let app = App::start().await;
    let model = app.model(classifier()).await;
    let job = app.job(json!({"kind": "prune", "model_id": model})).await;
    let written = report(&job, &model);
    app.publish(&app.world.claim().await, &written, None).await;
    let get = |accept: &str| app.get(&format!("/v1/jobs/{job}/report")).header("accept", accept).send();
    assert_eq!(expect(get("*/*").await.unwrap(), StatusCode::OK).await, written);
    let markdown = get("text/markdown").await.unwrap();
    assert_eq!(markdown.headers()["content-type"], "text/markdown; charset=utf-8");
    assert!(markdown.headers().get_all("vary").iter().any(|vary| vary == "accept"));
    assert!(markdown.text().await.unwrap().starts_with("### Secateur: prune of `net`"));
    problem(get("image/png").await.unwrap(), StatusCode::NOT_ACCEPTABLE, "not_acceptable").await;
}

#[tokio::test]
async fn wrong_requests_are_refused_with_their_place() {
    let app = App::start().await;
    let model = app.model(classifier()).await;
    let with = |extra: Value| {
        let mut request = json!({"kind": "prune", "model_id": model});
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        request
    };
    for (request, code, pointer) in [
        (with(json!({"dataset": "x"})), "invalid_request", "/dataset"),
        (with(json!({"model_id": 7})), "invalid_request", "/model_id"),
        (with(json!({"kind": "shrink"})), "invalid_request", "/kind"),
        (with(json!({"name": ""})), "invalid_request", "/name"),
        (with(json!({"deadline_seconds": 0})), "invalid_request", "/deadline_seconds"),
        (with(json!({"spec": {"ratio": 0.5}})), "invalid_spec", "/spec/ratio"),
        (with(json!({"spec": {"target": {"macs_kept": 2}}})), "invalid_spec", "/spec/target"),
        (with(json!({"kind": "retrain"})), "dataset_required", "/dataset_id"),
        (with(json!({"spec": {"criterion": "wanda"}})), "dataset_required", "/dataset_id"),
        (
            with(json!({"kind": "pipeline", "spec": {"steps": [{"kind": "prune", "spec": {"recovery": ["bias"]}}]}})),
            "dataset_required",
            "/spec/steps/0/dataset_id",
        ),
        (
            with(json!({"kind": "pipeline", "spec": {"steps": [{"kind": "prune", "spec": {"seed": -1}}]}})),
            "invalid_spec",
            "/spec/steps/0/spec/seed",
        ),
        (with(json!({"model_id": Uuid::now_v7()})), "reference_not_found", "/model_id"),
        (with(json!({"dataset_id": Uuid::now_v7()})), "reference_not_found", "/dataset_id"),
        (
            with(json!({"kind": "evaluate", "spec": {"baseline_model_id": Uuid::now_v7()}})),
            "reference_not_found",
            "/spec/baseline_model_id",
        ),
    ] {
        let response = app.post("/v1/jobs").json(&request).send().await.unwrap();
        let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY, code).await;
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let jobs = expect(app.get("/v1/jobs").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(jobs["items"], json!([]));
}

#[tokio::test]
async fn a_dataset_that_does_not_fit_is_refused_at_once() {
    let app = App::start().await;
    let mut other = samples();
    other["arrays"][0]["sample_shape"] = json!([1, 28, 28]);
    other["classes"] = json!(12);
    let (model, dataset) = (app.model(classifier()).await, app.dataset(other).await);
    let request = json!({"kind": "evaluate", "model_id": model, "dataset_id": dataset});
    let response = app.post("/v1/jobs").json(&request).send().await.unwrap();
    let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "dataset_mismatch").await;
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{problem}");
    assert!(errors.iter().all(|error| error["pointer"] == "/dataset_id"), "{problem}");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_told_apart_from_one_that_is_not_ours() {
    let app = App::start_with(|settings| settings.json_bytes = 1000).await;
    let post = |kind: &'static str, body: String| app.post("/v1/jobs").header("content-type", kind).body(body).send();
    problem(post("application/json", "{".into()).await.unwrap(), StatusCode::BAD_REQUEST, "invalid_json").await;
    problem(
        post("text/plain", "{}".into()).await.unwrap(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
    )
    .await;
    problem(post("application/json", "[]".into()).await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY, "invalid_request")
        .await;
    let large = format!("\"{}\"", "x".repeat(2000));
    problem(post("application/json", large).await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE, "body_too_large").await;
}

#[tokio::test]
async fn a_repeated_submission_makes_one_job() {
    let app = App::start().await;
    let model = app.model(classifier()).await;
    let send = |seed: u32| {
        let request = json!({"kind": "prune", "model_id": model, "spec": {"seed": seed}});
        app.post("/v1/jobs").header("idempotency-key", "nightly-17").json(&request).send()
    };
    let first = send(1).await.unwrap();
    let location = first.headers()["location"].clone();
    let first = expect(first, StatusCode::ACCEPTED).await;
    let second = send(1).await.unwrap();
    assert_eq!(second.headers()["location"], location);
    assert_eq!(expect(second, StatusCode::ACCEPTED).await, first);
    problem(send(2).await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused").await;
    let jobs = expect(app.get("/v1/jobs").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wait_ends_with_the_job_or_with_its_time() {
    // Polling alone would take an hour: what wakes the request is the notification.
    let app = App::start_with(|settings| settings.poll_interval = Duration::from_hours(1)).await;
    let model = app.model(classifier()).await;
    let request = json!({"kind": "prune", "model_id": model});
    let short = app.post("/v1/jobs").header("prefer", "wait=0").json(&request).send().await.unwrap();
    assert_eq!(short.headers()["preference-applied"], "wait=0");
    let job = expect(short, StatusCode::ACCEPTED).await;
    let path = job["links"]["self"].as_str().unwrap().to_owned();
    let waiting = tokio::spawn(app.get(&path).header("prefer", "wait=3600").send());
    let claim = app.world.claim().await;
    app.publish(&claim, &report(job["id"].as_str().unwrap(), &model), None).await;
    let ended = waiting.await.unwrap().unwrap();
    assert_eq!(ended.headers()["preference-applied"], "wait=60");
    assert_eq!(expect(ended, StatusCode::OK).await["status"], "succeeded");
}

#[tokio::test]
async fn a_submission_that_waits_is_answered_with_200_once_the_job_has_ended() {
    // Without notifications, as where they are lost: the request looks for itself.
    let app = App::start_with(|settings| settings.poll_interval = Duration::from_millis(20)).await;
    let model = app.model(classifier()).await;
    let request = json!({"kind": "prune", "model_id": model});
    let waiting = tokio::spawn(app.post("/v1/jobs").header("prefer", "respond-async, wait=30").json(&request).send());
    let claim = loop {
        let mut connection = app.world.conn().await;
        if let Some(claim) = queue::claim(&mut connection, Uuid::now_v7(), Duration::from_mins(1)).await.unwrap() {
            break claim;
        }
        tokio::task::yield_now().await;
    };
    app.publish(&claim, &report(&claim.lease.job_id.to_string(), &model), None).await;
    let ended = waiting.await.unwrap().unwrap();
    assert_eq!(ended.headers()["location"], format!("/v1/jobs/{}", claim.lease.job_id));
    assert_eq!(ended.headers()["preference-applied"], "wait=30");
    assert_eq!(expect(ended, StatusCode::OK).await["status"], "succeeded");
}

#[tokio::test]
async fn a_cancel_can_be_repeated() {
    let app = App::start().await;
    let model = app.model(classifier()).await;
    let waiting = app.job(json!({"kind": "prune", "model_id": model})).await;
    for _ in 0..2 {
        let response = app.post(&format!("/v1/jobs/{waiting}/cancel")).send().await.unwrap();
        assert_eq!(expect(response, StatusCode::ACCEPTED).await["status"], "cancelled");
    }
    let running = app.job(json!({"kind": "prune", "model_id": model})).await;
    app.world.claim().await;
    for _ in 0..2 {
        let response = app.post(&format!("/v1/jobs/{running}/cancel")).send().await.unwrap();
        assert_eq!(expect(response, StatusCode::ACCEPTED).await["status"], "cancelling");
    }
    let unknown = app.post(&format!("/v1/jobs/{}/cancel", Uuid::now_v7())).send().await.unwrap();
    problem(unknown, StatusCode::NOT_FOUND, "not_found").await;
}

#[tokio::test]
async fn a_list_is_filtered_by_status_kind_and_model() {
    let app = App::start().await;
    let (one, two) = (app.model(classifier()).await, app.model(classifier()).await);
    let cancelled = app.job(json!({"kind": "prune", "model_id": one})).await;
    app.post(&format!("/v1/jobs/{cancelled}/cancel")).send().await.unwrap();
    let pruning = app.job(json!({"kind": "prune", "model_id": two})).await;
    let measuring = app.job(json!({"kind": "evaluate", "model_id": one})).await;
    for (query, expected) in [
        ("status=queued", vec![&measuring, &pruning]),
        ("kind=prune", vec![&pruning, &cancelled]),
        (&format!("model_id={one}"), vec![&measuring, &cancelled]),
        (&format!("model_id={one}&status=queued&kind=evaluate"), vec![&measuring]),
        ("status=failed", vec![]),
    ] {
        let page = expect(app.get(&format!("/v1/jobs?{query}")).send().await.unwrap(), StatusCode::OK).await;
        let ids: Vec<&str> = page["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
}

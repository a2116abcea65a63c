//! What holds for every path: problems, request ids, health, tenants.

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::Executor;
use uuid::Uuid;

use crate::support::app::{App, classifier, expect, problem, samples};

#[tokio::test]
async fn unknown_paths_methods_and_ids_are_problems() {
    let app = App::start().await;
    problem(app.get("/v2/models").send().await.unwrap(), StatusCode::NOT_FOUND, "route_not_found").await;
    let wrong = app.client.request(Method::PATCH, app.at("/v1/models")).send().await.unwrap();
    assert_eq!(wrong.headers()["allow"], "GET,HEAD,POST");
    problem(wrong, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").await;
    for path in ["/v1/models/", "/v1/datasets/", "/v1/jobs/"] {
        for id in [Uuid::now_v7().to_string(), "no-id".into(), "%00".into()] {
            let response = app.get(&format!("{path}{id}")).send().await.unwrap();
            problem(response, StatusCode::NOT_FOUND, "not_found").await;
        }
    }
}

#[tokio::test]
async fn another_tenants_rows_are_not_there() {
    let app = App::start().await;
    let (model, dataset) = (app.model(classifier()).await, app.dataset(samples()).await);
    let job = app.job(json!({"kind": "evaluate", "model_id": model, "dataset_id": dataset})).await;
    app.post(&format!("/v1/jobs/{job}/cancel")).send().await.unwrap();
    // The rows as they would be had somebody else made them.
    app.world
        .database()
        .pool()
        .execute(
            "insert into tenants (id, name) values ('018f0000-0000-7000-8000-0000000000ff', 'other');
             alter table jobs disable trigger jobs_transition;
             delete from job_inputs;
             delete from job_events;
             update jobs set tenant_id = '018f0000-0000-7000-8000-0000000000ff';
             update datasets set tenant_id = '018f0000-0000-7000-8000-0000000000ff';
             update models set tenant_id = '018f0000-0000-7000-8000-0000000000ff';",
        )
        .await
        .unwrap();
    let foreign = [
        app.get(&format!("/v1/models/{model}")),
        app.get(&format!("/v1/models/{model}/content")),
        app.delete(&format!("/v1/models/{model}")),
        app.get(&format!("/v1/datasets/{dataset}")),
        app.delete(&format!("/v1/datasets/{dataset}")),
        app.get(&format!("/v1/jobs/{job}")),
        app.post(&format!("/v1/jobs/{job}/cancel")),
        app.get(&format!("/v1/jobs/{job}/events")),
        app.get(&format!("/v1/jobs/{job}/events")).header("accept", "text/event-stream"),
        app.get(&format!("/v1/jobs/{job}/report")),
        app.get(&format!("/v1/jobs/{job}/plan")),
    ];
    for request in foreign {
        problem(request.send().await.unwrap(), StatusCode::NOT_FOUND, "not_found").await;
    }
    for path in ["/v1/models", "/v1/datasets", "/v1/jobs"] {
        let page = expect(app.get(path).send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(page["items"], json!([]));
    }
    let request = json!({"kind": "evaluate", "model_id": model, "dataset_id": dataset});
    let response = app.post("/v1/jobs").json(&request).send().await.unwrap();
    let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "reference_not_found").await;
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn parameters_that_cannot_be_are_named() {
    let app = App::start().await;
    for (path, parameter) in [
        ("/v1/models?limit=0", "limit"),
        ("/v1/models?limit=many", "limit"),
        ("/v1/models?cursor=zz", "cursor"),
        ("/v1/models?page=2", "page"),
        ("/v1/jobs?status=done", "status"),
        ("/v1/jobs?model_id=7", "model_id"),
        ("/v1/datasets?limit=101", "limit"),
    ] {
        let response = app.get(path).send().await.unwrap();
        let problem = problem(response, StatusCode::BAD_REQUEST, "invalid_parameter").await;
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{path}: {problem}");
    }
    for name in [String::new(), "x".repeat(201), "a%0Ab".into()] {
        let response = app.post(&format!("/v1/models?name={name}")).body("{}").send().await.unwrap();
        problem(response, StatusCode::BAD_REQUEST, "invalid_parameter").await;
    }
    let long = "k".repeat(256);
    for key in ["\"\"", &long] {
        let response = app.post("/v1/models").header("idempotency-key", key).body("{}").send().await.unwrap();
        problem(response, StatusCode::BAD_REQUEST, "invalid_header").await;
    }
}

#[tokio::test]
async fn a_nul_character_is_refused_wherever_it_stands() {
    let app = App::start().await;
    let request = json!({"kind": "evaluate", "model_id": Uuid::now_v7(), "spec": {"a/b": ["ok", "x\0"]}});
    let response = app.post("/v1/jobs").json(&request).send().await.unwrap();
    let refused = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "invalid_request").await;
    assert_eq!(refused["errors"][0]["pointer"], "/spec/a~1b/1");
    let response = app.post("/v1/models?name=x%00").body("{}").send().await.unwrap();
    problem(response, StatusCode::BAD_REQUEST, "invalid_parameter").await;
}

#[tokio::test]
async fn a_type_of_body_that_is_not_taken_is_refused() {
    let app = App::start().await;
    let response = app.post("/v1/models").header("content-type", "text/csv").body("a,b").send().await.unwrap();
    problem(response, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type").await;
}

#[tokio::test]
async fn a_request_too_many_is_told_to_come_back_while_health_answers() {
    let app = App::start_with(|settings| settings.concurrent_requests = 0).await;
    let response = app.get("/v1/models").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    problem(response, StatusCode::SERVICE_UNAVAILABLE, "overloaded").await;
    expect(app.get("/readyz").send().await.unwrap(), StatusCode::OK).await;
}

#[tokio::test]
async fn health_tells_what_is_missing() {
    let app = App::start().await;
    expect(app.get("/livez").send().await.unwrap(), StatusCode::OK).await;
    expect(app.get("/readyz").send().await.unwrap(), StatusCode::OK).await;
    app.world.database().pool().execute("delete from _sqlx_migrations").await.unwrap();
    let response = app.get("/readyz").send().await.unwrap();
    let behind = problem(response, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    assert!(behind["detail"].as_str().unwrap().contains("secateur migrate"), "{behind}");
    app.world.database().close().await;
    problem(app.get("/readyz").send().await.unwrap(), StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    problem(app.get("/v1/models").send().await.unwrap(), StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    expect(app.get("/livez").send().await.unwrap(), StatusCode::OK).await;
}

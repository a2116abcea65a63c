//! `/v1/datasets`: uploads with preprocessing, lists, deletion.

use reqwest::StatusCode;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use crate::support::app::{App, classifier, expect, inspected, problem, samples};

#[tokio::test]
async fn an_upload_is_listed_read_and_deleted() {
    let app = App::start().await;
    let response =
        app.post("/v1/datasets?name=test%20set").body(inspected("dataset", &samples())).send().await.unwrap();
    let path = response.headers()["location"].to_str().unwrap().to_owned();
    let dataset = expect(response, StatusCode::CREATED).await;
    assert_eq!(
        (&dataset["name"], &dataset["classes"], &dataset["format"]),
        (&json!("test set"), &json!(10), &json!("npz"))
    );
    assert_eq!(expect(app.get(&path).send().await.unwrap(), StatusCode::OK).await, dataset);
    let list = expect(app.get("/v1/datasets").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(list["items"], json!([dataset]));
    assert_eq!(app.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(app.get(&path).send().await.unwrap(), StatusCode::NOT_FOUND, "not_found").await;
}

#[tokio::test]
async fn preprocessing_comes_in_the_query_or_in_a_form_field() {
    let app = App::start().await;
    let upload = inspected("dataset", &samples());
    let preprocess = json!({"size": [32, 32], "mean": [0.5, 0.5, 0.5]}).to_string();
    let in_query =
        app.post("/v1/datasets").query(&[("preprocess", &preprocess)]).body(upload.clone()).send().await.unwrap();
    expect(in_query, StatusCode::CREATED).await;
    let form = || Form::new().text("file", upload.clone()).text("preprocess", preprocess.clone());
    expect(app.post("/v1/datasets").multipart(form()).send().await.unwrap(), StatusCode::CREATED).await;
    let twice = app.post("/v1/datasets").query(&[("preprocess", &preprocess)]).multipart(form()).send().await.unwrap();
    problem(twice, StatusCode::BAD_REQUEST, "invalid_parameter").await;
}

#[tokio::test]
async fn preprocessing_that_cannot_be_is_refused_with_the_field() {
    let app = App::start().await;
    for (preprocess, place) in [
        (json!({"sise": [32, 32]}), "preprocess/sise"),
        (json!({"size": [0, 32]}), "preprocess/size"),
        (json!({"std": [0.0]}), "preprocess/std"),
        (Value::String("{".into()), "preprocess"),
    ] {
        let text = preprocess.as_str().map_or_else(|| preprocess.to_string(), str::to_owned);
        let request = app.post("/v1/datasets").query(&[("preprocess", text)]).body(inspected("dataset", &samples()));
        let problem = problem(request.send().await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY, "invalid_request").await;
        assert_eq!(problem["errors"][0]["parameter"], place, "{problem}");
    }
}

#[tokio::test]
async fn another_preprocessing_under_the_same_key_is_another_request() {
    let app = App::start().await;
    let send = |size: u32| {
        let preprocess = json!({"size": [size, size]}).to_string();
        let request = app.post("/v1/datasets").query(&[("preprocess", preprocess)]).header("idempotency-key", "k");
        request.body(inspected("dataset", &samples())).send()
    };
    let first = expect(send(32).await.unwrap(), StatusCode::CREATED).await;
    assert_eq!(expect(send(32).await.unwrap(), StatusCode::CREATED).await, first);
    problem(send(64).await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused").await;
}

#[tokio::test]
async fn a_dataset_in_use_stays() {
    let app = App::start().await;
    let (model, dataset) = (app.model(classifier()).await, app.dataset(samples()).await);
    app.job(json!({"kind": "evaluate", "model_id": model, "dataset_id": dataset})).await;
    let refused = app.delete(&format!("/v1/datasets/{dataset}")).send().await.unwrap();
    problem(refused, StatusCode::CONFLICT, "in_use").await;
}

//! `/v1/models`: uploads, downloads, lists, deletion.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use secateur::http::Pace;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{App, classifier, expect, gated, inspected, problem, refused};
use crate::support::eventually;

fn sha256(content: &str) -> String {
    hex::encode(Sha256::digest(content))
}

#[tokio::test]
async fn an_upload_is_found_again_byte_for_byte() {
    let app = App::start().await;
    let upload = inspected("model", &classifier());
    let response = app.post("/v1/models?name=resnet").body(upload.clone()).send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let model = expect(response, StatusCode::CREATED).await;
    assert_eq!(location, model["links"]["self"].as_str().unwrap());
    assert_eq!(model["name"], "resnet");
    assert_eq!(model["sha256"], sha256(&upload));
    assert_eq!(model["size_bytes"], upload.len());
    assert_eq!((&model["macs"], &model["inputs"][0]["shape"][1]), (&json!(1000), &json!(3)));
    assert_eq!((&model["parent_id"], &model["job_id"]), (&Value::Null, &Value::Null));
    let read = app.get(&location).send().await.unwrap();
    assert_eq!(expect(read, StatusCode::OK).await, model);
    let content = app.get(model["links"]["content"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(content.headers()["etag"], format!("\"{}\"", sha256(&upload)));
    assert_eq!(content.headers()["content-disposition"], "attachment; filename=\"resnet.onnx\"");
    assert_eq!(content.text().await.unwrap(), upload);
}

#[tokio::test]
async fn a_form_gives_the_file_its_name() {
    let app = App::start().await;
    let part = Part::text(inspected("model", &classifier())).file_name("C:\\nets\\vgg.onnx");
    let response = app.post("/v1/models").multipart(Form::new().part("file", part)).send().await.unwrap();
    assert_eq!(expect(response, StatusCode::CREATED).await["name"], "vgg.onnx");
}

#[tokio::test]
async fn a_form_with_another_field_or_without_a_file_is_refused() {
    let app = App::start().await;
    let upload = inspected("model", &classifier());
    for form in [
        Form::new().text("note", "x"),
        Form::new().text("file", upload.clone()).text("weights.bin", "x"),
        Form::new().text("file", upload.clone()).text("file", upload.clone()),
    ] {
        let response = app.post("/v1/models").multipart(form).send().await.unwrap();
        problem(response, StatusCode::BAD_REQUEST, "invalid_body").await;
    }
    assert_eq!(app.files("spool").len() + app.files("blobs").len(), 0);
}

#[tokio::test]
async fn the_same_content_twice_is_two_models_and_one_blob() {
    let app = App::start().await;
    let (first, second) = (app.model(classifier()).await, app.model(classifier()).await);
    assert_ne!(first, second);
    assert_eq!(app.files("blobs").len(), 1);
}

#[tokio::test]
async fn what_the_inspection_refuses_leaves_nothing_and_names_the_place() {
    let app = App::start().await;
    let upload = refused("invalid_model", "node `conv1` takes `w`, which nothing makes", "node conv1");
    let response = app.post("/v1/models").body(upload).send().await.unwrap();
    let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "invalid_model").await;
    assert_eq!(
        (&problem["place"], &problem["detail"]),
        (&json!("node conv1"), &json!("node `conv1` takes `w`, which nothing makes"))
    );
    assert_eq!(app.files("spool").len() + app.files("blobs").len(), 0);
    let list = expect(app.get("/v1/models").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(list, json!({"items": [], "next_cursor": null}));
}

#[tokio::test]
async fn an_inspection_that_ran_out_of_memory_blames_the_upload_and_a_defect_tells_nothing() {
    let app = App::start().await;
    let hungry = app.post("/v1/models").body(refused("out_of_memory", "too much", "")).send().await.unwrap();
    problem(hungry, StatusCode::UNPROCESSABLE_ENTITY, "inspection_failed").await;
    let defect = app.post("/v1/models").body(refused("internal", "secret path", "")).send().await.unwrap();
    let problem = problem(defect, StatusCode::INTERNAL_SERVER_ERROR, "internal").await;
    assert!(!problem.to_string().contains("secret"), "{problem}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_declared_or_not() {
    let app = App::start_with(|settings| settings.model_bytes = 1000).await;
    let large = vec![b'x'; 1001];
    let declared = app.post("/v1/models").body(large.clone()).send().await.unwrap();
    problem(declared, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large").await;
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(large.clone())]);
    let streamed = app.post("/v1/models").body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    problem(streamed, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large").await;
    let form = Form::new().part("file", Part::bytes(large));
    let form = app.post("/v1/models").multipart(form).send().await.unwrap();
    problem(form, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large").await;
    assert_eq!(app.files("spool").len(), 0);
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_nothing_behind() {
    let app = App::start().await;
    let mut socket = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    socket.write_all(b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf").await.unwrap();
    eventually("the upload has begun", || app.files("spool").len() == 1).await;
    drop(socket);
    eventually("the spool file is gone", || app.files("spool").is_empty()).await;
    assert_eq!(app.files("blobs").len(), 0);
}

#[tokio::test]
async fn a_client_that_disconnects_during_the_inspection_leaves_nothing_behind() {
    let app = App::start().await;
    let gate = app.gate();
    let upload = gated(&inspected("model", &classifier()), &gate);
    let request =
        app.post("/v1/models").header("idempotency-key", "k").body(upload.clone()).timeout(Duration::from_millis(300));
    assert!(request.send().await.unwrap_err().is_timeout());
    eventually("the spool file is gone", || app.files("spool").is_empty()).await;
    assert_eq!(app.files("blobs").len(), 0);
    // The key was given back: the repetition is carried out.
    let opened = tokio::task::spawn_blocking(move || std::fs::write(gate, "\n"));
    loop {
        let response = app.post("/v1/models").header("idempotency-key", "k").body(upload.clone()).send().await.unwrap();
        if response.status() == StatusCode::CREATED {
            break;
        }
        problem(response, StatusCode::CONFLICT, "idempotency_key_in_flight").await;
    }
    opened.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_type_that_curl_names_by_default_is_the_file_itself() {
    let app = App::start().await;
    let response = app
        .post("/v1/models")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(inspected("model", &classifier()))
        .send()
        .await
        .unwrap();
    expect(response, StatusCode::CREATED).await;
}

#[tokio::test]
async fn a_form_without_end_is_refused_before_it_fills_the_memory() {
    let app = App::start().await;
    let endless = [
        "no boundary anywhere ".to_owned(),
        "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"".to_owned(),
    ];
    for beginning in endless {
        let mut socket = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
        let head = "POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\
                    content-type: multipart/form-data; boundary=b\r\n\r\n";
        // The refusal may come before everything is written.
        let _ = socket.write_all(format!("{head}{beginning}{}", "x".repeat(256 << 10)).as_bytes()).await;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 400");
    }
    assert_eq!(app.files("spool").len(), 0);
}

#[tokio::test]
async fn a_large_file_in_a_form_arrives_whole() {
    let app = App::start().await;
    let mut upload = inspected("model", &classifier());
    upload.push_str(&"\r\n \r".repeat(1 << 20));
    let part = Part::text(upload.clone()).file_name("large");
    let response = app.post("/v1/models").multipart(Form::new().part("file", part)).send().await.unwrap();
    assert_eq!(expect(response, StatusCode::CREATED).await["sha256"], sha256(&upload));
}

#[tokio::test]
async fn an_upload_that_trickles_is_ended() {
    let app = App::start_with(|settings| {
        settings.upload_pace = Pace { bytes: 1000, window: Duration::from_millis(100) };
    })
    .await;
    let trickle = futures_util::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some((Ok::<_, std::io::Error>(vec![b'x']), ()))
    });
    let response = app.post("/v1/models").body(reqwest::Body::wrap_stream(trickle)).send().await.unwrap();
    problem(response, StatusCode::REQUEST_TIMEOUT, "upload_timed_out").await;
    assert_eq!(app.files("spool").len(), 0);
}

#[tokio::test]
async fn an_upload_that_stalls_is_ended() {
    let app = App::start_with(|settings| settings.upload_idle_time = Duration::from_millis(50)).await;
    let stalled = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let response = app.post("/v1/models").body(reqwest::Body::wrap_stream(stalled)).send().await.unwrap();
    problem(response, StatusCode::REQUEST_TIMEOUT, "upload_timed_out").await;
}

#[tokio::test]
async fn one_upload_too_many_is_told_to_come_back() {
    let app = App::start_with(|settings| {
        settings.concurrent_uploads = 1;
        settings.upload_queue_time = Duration::from_millis(50);
    })
    .await;
    let gate = app.gate();
    let upload = gated(&inspected("model", &classifier()), &gate);
    let first = tokio::spawn(app.post("/v1/models").body(upload).send());
    eventually("the first upload is being inspected", || app.files("spool").len() == 1).await;
    let second = app.post("/v1/models").body(inspected("model", &classifier())).send().await.unwrap();
    assert_eq!(second.headers()["retry-after"], "5");
    problem(second, StatusCode::SERVICE_UNAVAILABLE, "overloaded").await;
    tokio::task::spawn_blocking(move || std::fs::write(gate, "\n")).await.unwrap().unwrap();
    expect(first.await.unwrap().unwrap(), StatusCode::CREATED).await;
}

#[tokio::test]
async fn a_repeated_upload_is_answered_as_the_first() {
    let app = App::start().await;
    let upload = inspected("model", &classifier());
    let send = || app.post("/v1/models?name=a").header("idempotency-key", "\"key-1\"").body(upload.clone()).send();
    let first = send().await.unwrap();
    let location = first.headers()["location"].clone();
    let first = expect(first, StatusCode::CREATED).await;
    let second = send().await.unwrap();
    assert_eq!(
        (&second.headers()["location"], &second.headers()["idempotent-replayed"]),
        (&location, &"true".parse().unwrap())
    );
    assert_eq!(expect(second, StatusCode::CREATED).await, first);
    for (path, body) in [("/v1/models?name=b", upload.clone()), ("/v1/models?name=a", format!("{upload} "))] {
        let other = app.post(path).header("idempotency-key", "key-1").body(body).send().await.unwrap();
        problem(other, StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused").await;
    }
    let list = expect(app.get("/v1/models").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repetition_in_flight_is_a_conflict() {
    let app = App::start().await;
    let gate = app.gate();
    let upload = gated(&inspected("model", &classifier()), &gate);
    let send = || app.post("/v1/models").header("idempotency-key", "k").body(upload.clone()).send();
    let first = tokio::spawn(send());
    eventually("the first is being inspected", || {
        app.files("../scratch").iter().any(|file| file.ends_with("job.json"))
    })
    .await;
    problem(send().await.unwrap(), StatusCode::CONFLICT, "idempotency_key_in_flight").await;
    tokio::task::spawn_blocking(move || std::fs::write(gate, "\n")).await.unwrap().unwrap();
    let first = expect(first.await.unwrap().unwrap(), StatusCode::CREATED).await;
    assert_eq!(expect(send().await.unwrap(), StatusCode::CREATED).await, first);
}

#[tokio::test]
async fn a_refused_upload_gives_its_key_back() {
    let app = App::start().await;
    let send = |body: String| app.post("/v1/models").header("idempotency-key", "k").body(body).send();
    let refusal = send(refused("invalid_model", "no graph", "")).await.unwrap();
    problem(refusal, StatusCode::UNPROCESSABLE_ENTITY, "invalid_model").await;
    // Giving back happens after the answer.
    loop {
        let response = send(inspected("model", &classifier())).await.unwrap();
        if response.status() == StatusCode::CREATED {
            break;
        }
        assert!(matches!(response.status(), StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY));
    }
}

#[tokio::test]
async fn a_download_can_be_taken_up_again() {
    let app = App::start().await;
    let upload = inspected("model", &classifier());
    let path = format!("/v1/models/{}/content", app.model(classifier()).await);
    let etag = format!("\"{}\"", sha256(&upload));
    let part = app.get(&path).header("range", "bytes=10-19").header("if-range", &etag).send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 10-19/{}", upload.len()));
    assert_eq!(
        (&part.headers()["etag"], &part.headers()["accept-ranges"]),
        (&etag.parse().unwrap(), &"bytes".parse().unwrap())
    );
    assert_eq!(part.text().await.unwrap(), upload[10..20]);
    let other = app.get(&path).header("range", "bytes=10-19").header("if-range", "\"other\"").send().await.unwrap();
    assert_eq!((other.status(), other.text().await.unwrap()), (StatusCode::OK, upload.clone()));
    let beyond = app.get(&path).header("range", "bytes=100000-").send().await.unwrap();
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{}", upload.len()));
    problem(beyond, StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable").await;
    let known = app.get(&path).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!((known.status(), known.headers()["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, etag.as_str()));
    let head = app.client.head(app.at(&path)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], upload.len().to_string());
    assert_eq!((head.status(), head.headers()["etag"].to_str().unwrap()), (StatusCode::OK, etag.as_str()));
}

#[tokio::test]
async fn pages_lead_through_the_whole_list_newest_first() {
    let app = App::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(app.model(classifier()).await);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/models?limit=2".to_owned();
    loop {
        let page = expect(app.get(&path).send().await.unwrap(), StatusCode::OK).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/models?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_deleted_model_is_gone_and_one_in_use_stays() {
    let app = App::start().await;
    let (used, unused) = (app.model(classifier()).await, app.model(classifier()).await);
    app.job(json!({"kind": "prune", "model_id": used})).await;
    let refused = app.delete(&format!("/v1/models/{used}")).send().await.unwrap();
    problem(refused, StatusCode::CONFLICT, "in_use").await;
    let path = format!("/v1/models/{unused}");
    assert_eq!(app.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    for gone in [app.get(&path), app.delete(&path), app.get(&format!("{path}/content"))] {
        problem(gone.send().await.unwrap(), StatusCode::NOT_FOUND, "not_found").await;
    }
}

#[tokio::test]
async fn many_uploads_at_once_are_all_kept() {
    let app = App::start().await;
    let ids = join_all((0..12).map(|_| app.model(classifier()))).await;
    let page = expect(app.get("/v1/models").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(page["items"].as_array().unwrap().len(), ids.len());
}

#[tokio::test]
async fn a_whole_model_comes_compressed_where_the_client_asks_and_a_part_never_does() {
    let app = App::start().await;
    let upload = format!("{}{}", inspected("model", &classifier()), " ".repeat(4000));
    let response = app.post("/v1/models").body(upload.clone()).send().await.unwrap();
    let model = expect(response, StatusCode::CREATED).await;
    let content = model["links"]["content"].as_str().unwrap();
    let plain = format!("\"{}\"", sha256(&upload));
    let ask = |encoding: &'static str| app.get(content).header("accept-encoding", encoding);

    let zstd = ask("zstd").send().await.unwrap();
    let tag = zstd.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(tag, format!("\"{}-zstd\"", sha256(&upload)));
    assert_eq!(
        (&zstd.headers()["content-encoding"], &zstd.headers()["vary"]),
        (&"zstd".parse().unwrap(), &"accept-encoding".parse().unwrap())
    );
    assert!(!zstd.headers().contains_key("accept-ranges") && !zstd.headers().contains_key("content-length"));
    let body = zstd.bytes().await.unwrap();
    assert!(body.len() < upload.len() / 2);
    assert_eq!(zstd::decode_all(&body[..]).unwrap(), upload.as_bytes());
    let gzip = ask("gzip").send().await.unwrap();
    assert_eq!(gzip.headers()["etag"], format!("\"{}-gzip\"", sha256(&upload)));
    assert_eq!(&gzip.bytes().await.unwrap()[..2], b"\x1f\x8b");

    // Who has it in either form is not sent it again.
    for known in [&tag, &plain] {
        let response = ask("zstd").header("if-none-match", known).send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["etag"]),
            (StatusCode::NOT_MODIFIED, &known.parse().unwrap())
        );
    }
    let part = ask("zstd").header("range", "bytes=1-3").header("if-range", &plain).send().await.unwrap();
    assert_eq!((part.status(), &part.headers()["etag"]), (StatusCode::PARTIAL_CONTENT, &plain.parse().unwrap()));
    assert_eq!(part.bytes().await.unwrap(), upload.as_bytes()[1..4]);
    // A range of the compressed form cannot be had: all of it comes.
    let broken = ask("zstd").header("range", "bytes=1-3").header("if-range", &tag).send().await.unwrap();
    assert_eq!((broken.status(), &broken.headers()["content-encoding"]), (StatusCode::OK, &"zstd".parse().unwrap()));
    let identity = app.get(content).send().await.unwrap();
    assert_eq!(identity.headers()["etag"], plain);
    assert_eq!(identity.text().await.unwrap(), upload);
}

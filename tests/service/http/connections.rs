//! Clients that do not say what they want, or say it slowly.

use std::time::Duration;

use secateur::http::HttpSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{App, classifier, inspected};
use crate::support::eventually;

/// How long anything may take that a test waits for; only a defect gets there.
const PATIENCE: Duration = Duration::from_mins(1);

async fn connect(app: &App) -> TcpStream {
    TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap()
}

/// Everything that the server says until it closes the connection.
async fn until_closed(mut socket: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset ends it as well as a shutdown does.
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut said)).await.expect("the server closes it");
    String::from_utf8_lossy(&said).into_owned()
}

fn hasty(settings: &mut HttpSettings) {
    settings.header_time = Duration::from_millis(200);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let app = App::start_with(hasty).await;
    let request = "GET /livez HTTP/1.1\r\nhost: x\r\n";
    let beginnings = [
        // Nobody knows yet which version of HTTP this is to be.
        "",
        "PRI * HTTP",
        "GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ",
        request,
        // The greeting of HTTP/2 with empty settings, and no request.
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    for beginning in beginnings {
        let mut socket = connect(&app).await;
        socket.write_all(beginning.as_bytes()).await.unwrap();
        let said = until_closed(socket).await;
        assert!(!said.contains(" 200 "), "{beginning:?} was answered: {said}");
    }
    // The second request of a connection has no more time than the first.
    let mut socket = connect(&app).await;
    socket.write_all(format!("{request}\r\n{request}").as_bytes()).await.unwrap();
    assert_eq!(until_closed(socket).await.matches("HTTP/1.1 200 OK").count(), 1);
}

#[tokio::test]
async fn a_head_that_trickles_gets_no_more_time() {
    let app = App::start_with(hasty).await;
    let (mut reading, mut writing) = connect(&app).await.into_split();
    writing.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
    let trickle = async {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut said = Vec::new();
    tokio::select! {
        () = trickle => {}
        ended = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut said)) => {
            let _ = ended.expect("the server closes it");
        }
    }
}

#[tokio::test]
async fn a_slow_body_outlives_the_time_for_heads() {
    let app = App::start_with(hasty).await;
    let upload = inspected("model", &classifier());
    let (beginning, end) = upload.split_at(upload.len() / 2);
    let mut slow = connect(&app).await;
    let head =
        format!("POST /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", upload.len());
    slow.write_all(format!("{head}{beginning}").as_bytes()).await.unwrap();
    // Whoever came later and says nothing is gone: the time has run out twice over.
    for _ in 0..2 {
        until_closed(connect(&app).await).await;
    }
    slow.write_all(end.as_bytes()).await.unwrap();
    let answer = until_closed(slow).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
}

#[tokio::test]
async fn a_service_that_stops_answers_what_it_was_asked_before() {
    let app = App::start().await;
    let upload = inspected("model", &classifier());
    let (beginning, end) = upload.split_at(upload.len() / 2);
    let mut slow = connect(&app).await;
    let head = format!("POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", upload.len());
    slow.write_all(format!("{head}{beginning}").as_bytes()).await.unwrap();
    eventually("the upload has begun", || app.files("spool").len() == 1).await;
    let idle = connect(&app).await;
    app.shutdown.cancel();
    assert_eq!(until_closed(idle).await, "");
    let address = app.url.trim_start_matches("http://");
    eventually("nobody new is let in", || std::net::TcpStream::connect(address).is_err()).await;
    slow.write_all(end.as_bytes()).await.unwrap();
    let answer = until_closed(slow).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
}

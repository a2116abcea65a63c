//! Accepts connections and answers them until the service stops. Knows of sockets and how long a client may take to say
//! what it wants; what is answered is the router's.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use super::state::AppState;

/// How long open requests may take to end once the service stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted: most often no descriptor is left, and one has to come free first.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until the state's `shutdown`, then gives open requests a while to end.
pub async fn serve(state: AppState, listener: TcpListener) {
    let shutdown = state.shutdown.clone();
    let header_time = state.settings.header_time;
    let router = super::router(state);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            stream = accept(&listener) => {
                connections.spawn(answer(stream, router.clone(), header_time, shutdown.clone()));
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("Open requests are broken off: they did not end within {} s", DRAIN.as_secs());
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The client's doing.
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
            Err(error) => {
                tracing::error!("Cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one connection to its end. A client has `header_time` for the head of a request, the wait for the first one
/// included.
async fn answer(stream: TcpStream, router: Router, header_time: Duration, shutdown: CancellationToken) {
    let begun = CancellationToken::new();
    let tell = begun.clone();
    let service = MapRequest::new(router, move |request: Request<Incoming>| {
        tell.cancel();
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_time);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(header_time);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    // The builder's own time begins only once it has found out which version of HTTP the client speaks.
    let silent = async {
        if tokio::time::timeout(header_time, begun.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    // How a connection ends is told by its requests, each of which has its line in the log.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = silent => {}
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

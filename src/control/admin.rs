//! The admin pages: plain HTTP for people, orchestrators and Prometheus. They only read.

use super::accept::Bounded;
use super::{jobs, metrics};
use crate::command::Host;
use crate::doctor::Examination;
use crate::server::Shared;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::sync::Arc;

/// Serves until the listener fails.
pub async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = Bounded::new(tokio::net::TcpListener::from_std(listener)?);
    axum::serve(listener, router(shared)).await
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics_page))
        .route("/info", get(info))
        .route("/doctor", get(doctor_page))
        .route("/doctor.json", get(doctor_json))
        .with_state(shared)
}

async fn index() -> impl IntoResponse {
    let text = concat!(
        "<!doctype html><title>KV-Cache</title><h1>KV-Cache ",
        env!("CARGO_PKG_VERSION"),
        "</h1><ul>",
        "<li><a href=\"/metrics\">/metrics</a> for Prometheus</li>",
        "<li><a href=\"/info\">/info</a> as INFO writes it</li>",
        "<li><a href=\"/doctor\">/doctor</a> what would make this machine better for it, also as <a href=\"/doctor.json\">JSON</a></li>",
        "<li><a href=\"/healthz\">/healthz</a> 200, or 503 while it ends or a worker is stuck</li>",
        "<li><a href=\"/readyz\">/readyz</a> 200 once all workers serve</li></ul>\n"
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text)
}

/// Alive and meant to stay so. Waits for no lock that a request may hold.
async fn health(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    // Who answers, moves.
    shared.heartbeats.beat_control();
    if shared.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_string())
    } else if let Some(stuck) = shared.stuck() {
        (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {stuck}\n"))
    } else {
        (StatusCode::OK, "ok\n".to_string())
    }
}

/// Taking clients.
async fn readiness(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if !shared.is_ready() {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics_page(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let text = metrics::render(&shared, &shared.figures());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn info(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let text = shared.info(&["all".to_string()], &mut |partition| shared.store.lock(partition).stats());
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}

async fn doctor_page(State(shared): State<Arc<Shared>>) -> Response {
    examined(&shared, "text/html; charset=utf-8", Examination::html).await
}

async fn doctor_json(State(shared): State<Arc<Shared>>) -> Response {
    examined(&shared, "application/json", Examination::json).await
}

/// What the doctor found, not older than a few seconds.
async fn examined(shared: &Arc<Shared>, kind: &'static str, show: fn(&Examination) -> String) -> Response {
    // Being asked is what makes it due sooner.
    let _ = shared.doctor.latest();
    jobs::examine_if_due(shared).await;
    match shared.doctor.latest() {
        Some(found) => ([(header::CONTENT_TYPE, kind)], show(&found)).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Ring;
    use crate::server::testing;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    /// The server on a thread of its own, for as long as the test process lives.
    fn start(shared: &Arc<Shared>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, shared))
        });
        address
    }

    fn fetch(address: SocketAddr, path: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: kv\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn pages() {
        let shared = Arc::new(testing::shared(""));
        let address = start(&shared);
        assert!(fetch(address, "/readyz").starts_with("HTTP/1.1 503"), "no worker serves yet");
        shared.set_ready();
        for (path, part) in [
            ("/", "/metrics"),
            ("/healthz", "ok\n"),
            ("/readyz", "ready\n"),
            ("/metrics", "# TYPE kv_requests_total counter"),
            ("/info", "redis_version:"),
        ] {
            let reply = fetch(address, path);
            assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains(part), "{path}: {reply}");
        }
        assert!(fetch(address, "/doctor").starts_with("HTTP/1.1 503"), "no worker has an engine");
        shared.doctor.set_ring(Ring::InUse { workers: 4 });
        for (path, kind) in [("/doctor", "text/html; charset=utf-8"), ("/doctor.json", "application/json")] {
            let reply = fetch(address, path);
            assert!(
                reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains("in use by 4 workers"),
                "{reply}"
            );
            assert!(reply.contains(&format!("content-type: {kind}\r\n")), "{reply}");
        }
        assert!(fetch(address, "/nothing").starts_with("HTTP/1.1 404"));
        // No worker has ever moved, and now that is too long.
        shared.heartbeats.set_watchdog(std::time::Duration::from_micros(2));
        let reply = fetch(address, "/healthz");
        assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("stuck: worker "), "{reply}");
        shared.begin_drain();
        for path in ["/healthz", "/readyz"] {
            let reply = fetch(address, path);
            assert!(reply.starts_with("HTTP/1.1 503") && reply.ends_with("draining\n"), "{path}: {reply}");
        }
    }
}

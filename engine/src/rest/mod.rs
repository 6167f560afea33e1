//! The REST API of Kafka Connect, on axum: one module per resource.

mod answer;
mod connectors;
mod plugins;

use std::future::Future;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::json;
use tokio::net::TcpListener;

use crate::herder::Herder;
use answer::{Answer, json_answer};

/// The version of Kafka Connect whose API this is; clients and user interfaces read it.
pub const CONNECT_VERSION: &str = "4.3.1";
/// Shown where Kafka Connect shows the commit of its build.
const BUILD: &str = concat!("aqueduct-", env!("CARGO_PKG_VERSION"));
/// A request body beyond this is refused.
const MAX_BODY: usize = 4 << 20;
/// How long requests under way may take to end at shutdown.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// What the requests share.
#[derive(Clone)]
pub struct Api {
    /// The herder that answers.
    pub herder: Herder,
    /// The worker's `host:port` in every status.
    pub worker_id: std::sync::Arc<str>,
}

/// Serves the API on a bound listener until `stopped` resolves.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (drain, mut draining) = tokio::sync::watch::channel(false);
    let graceful = async move {
        stopped.await;
        let _ = drain.send(true);
    };
    let served = axum::serve(listener, router(api)).with_graceful_shutdown(graceful);
    tokio::select! {
        result = async { served.await } => result,
        () = async { let _ = draining.wait_for(|draining| *draining).await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

fn router(api: Api) -> Router {
    let router = Router::new().route("/", get(root));
    let router = both(router, "/health", get(health));
    let router = plugins::routes(connectors::routes(router));
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}

/// The path with and without a trailing slash: clients use either.
fn both(router: Router<Api>, path: &str, methods: MethodRouter<Api>) -> Router<Api> {
    router.route(path, methods.clone()).route(&format!("{path}/"), methods)
}

async fn root(State(api): State<Api>) -> Answer {
    let cluster = api.herder.worker().kafka_cluster_id().await;
    Ok(json_answer(
        StatusCode::OK,
        &json!({"version": CONNECT_VERSION, "commit": BUILD, "kafka_cluster_id": cluster}),
    ))
}

async fn health(State(api): State<Api>) -> Answer {
    api.herder.ping().await?;
    let message = "Worker has completed startup and is ready to handle requests.";
    Ok(json_answer(StatusCode::OK, &json!({"status": "healthy", "message": message})))
}

async fn not_found() -> Response {
    bare(StatusCode::NOT_FOUND)
}

async fn method_not_allowed(method: Method) -> Response {
    bare(if method == Method::OPTIONS { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED })
}

/// An error of the HTTP layer itself: JSON without a content type, as the JVM gives it.
fn bare(status: StatusCode) -> Response {
    if status.is_success() {
        return status.into_response();
    }
    let message = format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let body = json!({"error_code": status.as_u16(), "message": message}).to_string();
    let mut response = (status, body).into_response();
    response.headers_mut().remove(axum::http::header::CONTENT_TYPE);
    response
}

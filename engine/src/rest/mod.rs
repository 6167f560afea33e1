//! The REST API of Kafka Connect, on axum: one module per resource.

mod answer;
mod connectors;
mod forward;
mod plugins;

use std::future::Future;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::json;
use tokio::net::TcpListener;

use crate::herder::{Health, Herder};
use answer::{Answer, json_answer};
pub(crate) use forward::percent_encode;

/// The version of Kafka Connect whose API this is; clients and user interfaces read it.
pub const CONNECT_VERSION: &str = "4.3.1";
/// Shown where Kafka Connect shows the commit of its build.
const BUILD: &str = concat!("aqueduct-", env!("CARGO_PKG_VERSION"));
/// A request body beyond this is refused.
const MAX_BODY: usize = 4 << 20;
/// How long the herder may take to show that it is alive.
const HEALTH_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
/// How long requests under way may take to end at shutdown.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// What the requests share.
#[derive(Clone)]
pub struct Api {
    /// The herder that answers.
    pub herder: std::sync::Arc<dyn Herder>,
    /// The worker's `host:port` in every status.
    pub worker_id: std::sync::Arc<str>,
    /// Whether clients come by https.
    pub secure: bool,
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
    let (status, name, message) = match tokio::time::timeout(HEALTH_LIMIT, api.herder.health()).await {
        Ok(Ok(Health::Healthy)) => (
            StatusCode::OK,
            "healthy",
            "Worker has completed startup and is ready to handle requests.".to_owned(),
        ),
        Ok(Ok(Health::Starting)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting", "Worker is still starting up.".to_owned())
        }
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, "unhealthy", error.message),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "unhealthy",
            "Worker was unable to handle this request and may be unable to handle other requests.".to_owned(),
        ),
    };
    Ok(json_answer(status, &json!({"status": name, "message": message})))
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

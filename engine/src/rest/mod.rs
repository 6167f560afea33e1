//! The REST API of Kafka Connect, on axum: one module per resource.

mod answer;
mod connectors;
mod forward;
mod guard;
mod loggers;
mod offsets;
mod patience;
mod plugins;
mod server;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::json;

use crate::herder::{Health, Herder, HerderError};
use answer::{Answer, json_answer};
pub(crate) use forward::percent_encode;
pub use guard::{Guard, RestConfigError};
pub use server::{Listener, Scope};

/// The version of Kafka Connect whose API this is; clients and user interfaces read it.
pub const CONNECT_VERSION: &str = "4.3.1";
/// Shown where Kafka Connect shows the commit of its build.
const BUILD: &str = concat!("aqueduct-", env!("CARGO_PKG_VERSION"));
/// A request body beyond this is refused.
const MAX_BODY: usize = 4 << 20;
/// How long a request may take; that is what the JVM allows.
const REQUEST_LIMIT: std::time::Duration = std::time::Duration::from_secs(90);
/// How long the herder may take to show that it is alive.
const HEALTH_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// What the requests share.
#[derive(Clone)]
pub struct Api {
    /// The herder that answers.
    pub herder: Arc<dyn Herder>,
    /// The worker's `host:port` in every status.
    pub worker_id: Arc<str>,
    /// Whether clients come by https.
    pub secure: bool,
    /// What stands before every request.
    pub guard: Arc<Guard>,
}

/// Serves the API on a bound listener until `stopped` resolves.
pub async fn serve(listener: Listener, api: Api, stopped: impl Future<Output = ()> + Send) {
    let router = router(api, listener.scope);
    server::run(listener, router, stopped).await;
}

fn router(api: Api, scope: Scope) -> Router {
    let guard = Arc::clone(&api.guard);
    let mut router = Router::new();
    if scope != Scope::Admin {
        router = both(router.route("/", get(root)), "/health", get(health));
        router = both(router, "/metrics", get(metrics_text));
        router = plugins::routes(offsets::routes(connectors::routes(router)));
    }
    if scope != Scope::Public {
        router = loggers::routes(router);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn(outermost))
        .layer(axum::middleware::from_fn_with_state(guard, guard::guard))
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

/// Prometheus' text format; not of Connect, where the JMX exporter gives it on a port of its own.
async fn metrics_text(State(api): State<Api>) -> Response {
    let text = crate::metrics::text(&*api.herder, &api.worker_id);
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn not_found() -> Response {
    bare(StatusCode::NOT_FOUND)
}

async fn method_not_allowed() -> Response {
    bare(StatusCode::METHOD_NOT_ALLOWED)
}

/// OPTIONS tells what is allowed; a path that no server can take apart safely is refused; everything has its time limit.
async fn outermost(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.contains("//") || path.to_ascii_lowercase().contains("%2f") {
        let text = "<html><body><h2>HTTP ERROR 400 Ambiguous URI</h2></body></html>";
        return (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/html")], text).into_response();
    }
    let options = request.method() == Method::OPTIONS;
    let (method, asked) = (request.method().clone(), path.to_owned());
    let answer = match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => HerderError::new(
            500,
            "Request timed out. The worker is currently busy with another request, a rebalance or a connector that takes its time.",
        )
        .into_response(),
    };
    tracing::debug!(%method, path = asked, status = answer.status().as_u16(), "REST");
    if options && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = answer.headers().get(header::ALLOW).and_then(|allowed| allowed.to_str().ok());
        let mut allowed = allowed.unwrap_or_default().replace(',', ", ");
        allowed.push_str(", OPTIONS");
        let headers = [(header::ALLOW, allowed.clone()), (header::CONTENT_TYPE, "text/plain".to_owned())];
        return (StatusCode::OK, headers, allowed).into_response();
    }
    answer
}

/// An error of the HTTP layer itself: JSON without a content type, as the JVM gives it.
fn bare(status: StatusCode) -> Response {
    let message = format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let body = json!({"error_code": status.as_u16(), "message": message}).to_string();
    let mut response = (status, body).into_response();
    response.headers_mut().remove(axum::http::header::CONTENT_TYPE);
    response
}

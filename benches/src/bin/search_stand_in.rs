//! A stand-in for a search cluster, for benches only: it takes bulk requests, counts their documents, keeps nothing and answers at
//! once that all is well. `search_stand_in PORT`

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Documents of the largest bulk that is answered with an item for each.
const MOST: usize = 1 << 20;
const ITEM: &str = "{\"index\":{\"status\":201}},";
/// Of Elasticsearch, as far as clients look.
const ROOT: &str = "{\"version\":{\"number\":\"8.0.0\"},\"tagline\":\"You Know, for Search\"}";

/// The answer to a bulk of so many documents, a slice of one that was made before.
fn answer(items: &Bytes, documents: usize) -> Bytes {
    let mut body = Vec::with_capacity(documents * ITEM.len() + 32);
    body.extend_from_slice(b"{\"errors\":false,\"items\":[");
    body.extend_from_slice(&items[..documents.min(MOST) * ITEM.len()]);
    body.pop();
    body.extend_from_slice(b"]}");
    body.into()
}

async fn serve(request: Request<Incoming>, items: Arc<Bytes>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_bulk = request.uri().path().ends_with("_bulk");
    let is_root = request.method() == Method::GET && request.uri().path() == "/";
    let mut lines = 0;
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref().filter(|_| is_bulk) {
            lines += memchr::memchr_iter(b'\n', data).count();
        }
    }
    let body = match (is_bulk, is_root) {
        (true, _) => answer(&items, lines / 2),
        (false, true) => Bytes::from_static(ROOT.as_bytes()),
        (false, false) => Bytes::from_static(b"{}"),
    };
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("x-elastic-product", "Elasticsearch")
        .body(Full::new(body));
    Ok(response.unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("search_stand_in PORT")?.parse::<u16>()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let items = Arc::new(Bytes::from(ITEM.repeat(MOST)));
    loop {
        let (stream, _) = listener.accept().await?;
        let items = Arc::clone(&items);
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(request, Arc::clone(&items)));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

//! A bare bulk loader: posts bodies that were made before from memory, on several connections, and checks that nothing failed.
//! Prints the seconds that it took. `search_load PORT INDEX FILE DOCUMENTS-OF-A-BULK CONNECTIONS`; the file has a document a line.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The same actions as the connector's, with identity and version.
fn bodies(index: &str, file: &str, documents: usize) -> std::io::Result<Vec<Bytes>> {
    let text = std::fs::read_to_string(file)?;
    let mut bodies = vec![String::new()];
    for (offset, line) in text.lines().enumerate() {
        if offset > 0 && offset % documents == 0 {
            bodies.push(String::new());
        }
        let body = bodies.last_mut().into_iter();
        for body in body {
            body.push_str(&format!(
                "{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{index}+0+{offset}\",\"version\":{offset},\"version_type\":\"external\"}}}}\n{line}\n"
            ));
        }
    }
    Ok(bodies.into_iter().map(Bytes::from).collect())
}

async fn post(port: u16, bodies: Arc<Vec<Bytes>>, first: usize, step: usize) -> Result<(), Failure> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    for body in bodies.iter().skip(first).step_by(step) {
        let request = Request::post("/_bulk?filter_path=errors")
            .header("host", "127.0.0.1")
            .header("content-type", "application/x-ndjson")
            .body(Full::new(body.clone()))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let answer = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() || !answer.starts_with(b"{\"errors\":false") {
            return Err(
                format!("{status}: {}", String::from_utf8_lossy(&answer[..answer.len().min(500)])).into()
            );
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, index, file, documents, connections] = &arguments[..] else {
        return Err("search_load PORT INDEX FILE DOCUMENTS-OF-A-BULK CONNECTIONS".into());
    };
    let (port, connections) = (port.parse()?, connections.parse::<usize>()?);
    let bodies = Arc::new(bodies(index, file, documents.parse()?)?);
    let began = Instant::now();
    let mut posting = JoinSet::new();
    for first in 0..connections {
        posting.spawn(post(port, Arc::clone(&bodies), first, connections));
    }
    while let Some(posted) = posting.join_next().await {
        posted??;
    }
    println!("{}", began.elapsed().as_secs_f64());
    Ok(())
}

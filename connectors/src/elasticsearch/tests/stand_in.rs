//! A stand-in for a search node: it answers as it is told, badly mostly.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came in, its body unpacked.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// An operation of a bulk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) action: String,
    pub(super) line: Json,
    pub(super) document: Option<Json>,
}

impl Asked {
    /// The operations of a bulk.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let text = std::str::from_utf8(&self.body).unwrap();
        assert!(text.ends_with('\n'), "a bulk ends with a line end");
        let mut lines = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        let mut operations = Vec::new();
        while let Some(line) = lines.next() {
            let (action, line) = line.as_object().unwrap().iter().next().unwrap();
            let document = (action != "delete").then(|| lines.next().unwrap());
            operations.push(Operation { action: action.clone(), line: line.clone(), document });
        }
        operations
    }
}

/// What it does about a request.
pub(super) enum Reply {
    Status(u16, String),
    /// The answer's first bytes, and the end of the connection.
    Half(String),
    Hang,
}

impl Reply {
    /// All went well.
    pub(super) fn done() -> Reply {
        Reply::Status(200, "{\"errors\":false,\"items\":[]}".to_owned())
    }

    /// Items by status; a failed one has this type of error.
    pub(super) fn items(items: &[(u16, &str)]) -> Reply {
        let item = |(status, kind): &(u16, &str)| match kind.is_empty() {
            true => serde_json::json!({"index": {"status": status}}),
            false => {
                serde_json::json!({"index": {"status": status, "error": {"type": kind, "reason": "told so"}}})
            }
        };
        let items: Vec<Json> = items.iter().map(item).collect();
        Reply::Status(200, serde_json::json!({"errors": true, "items": items}).to_string())
    }
}

type Answer = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

/// The node.
pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    /// Bulks as they came in.
    pub(super) bulks: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    /// Bulks are answered by the function, which gets their number; everything else is there and well.
    pub(super) async fn start(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, bulks, count): (Arc<Answer>, _, _) =
            (Arc::new(answer), Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&bulks);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, bulks, count) = (Arc::clone(&answer), Arc::clone(&seen), Arc::clone(&count));
                tokio::spawn(async move { serve(stream, &*answer, &bulks, &count).await });
            }
        });
        StandIn { address, bulks, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(
    stream: TcpStream,
    answer: &Answer,
    bulks: &Mutex<Vec<Asked>>,
    count: &AtomicUsize,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let asked = read(&mut stream).await?;
        let is_head = asked.method == "HEAD";
        let reply = if asked.path.contains("/_bulk") {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let reply = answer(number, &asked);
            bulks.lock().push(asked);
            reply
        } else {
            Reply::Status(200, "{}".to_owned())
        };
        let head = |status: u16, length: usize| {
            format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            )
        };
        match reply {
            Reply::Status(status, body) => {
                // an answer to HEAD has no body
                let body = if is_head { String::new() } else { body };
                stream.write_all(format!("{}{body}", head(status, body.len())).as_bytes()).await.ok()?;
            }
            Reply::Half(body) => {
                stream.write_all(format!("{}{body}", head(200, body.len() * 2)).as_bytes()).await.ok()?;
                return None;
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length").and_then(|length| length.parse::<usize>().ok()) {
        body.resize(length, 0);
        stream.read_exact(&mut body).await.ok()?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let start = body.len();
            body.resize(start + length + 2, 0);
            stream.read_exact(&mut body[start..]).await.ok()?;
            body.truncate(start + length);
            if length == 0 {
                break;
            }
        }
    }
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).ok()?;
        body = plain;
    }
    Some(Asked { method, path, headers, body })
}

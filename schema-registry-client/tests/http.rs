//! The client against a server that answers as it is told: retries, fail-over, tokens, bounds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_schema_registry::{Auth, Client, Config, ErrorKind, OAuth, Schema, SchemaType, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Answers in turn, the last one again and again; keeps what was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    count: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answers: &[&str]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: VecDeque<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let answers = Arc::new(Mutex::new(answers));
        let (asked, count) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let server = Server { url, asked: Arc::clone(&asked), count: Arc::clone(&count) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answers, asked, count) = (Arc::clone(&answers), Arc::clone(&asked), Arc::clone(&count));
                tokio::spawn(async move { serve(socket, &answers, &asked, &count).await });
            }
        });
        server
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut socket: TcpStream,
    answers: &Mutex<VecDeque<String>>,
    asked: &Mutex<Vec<String>>,
    count: &AtomicUsize,
) {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = socket.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        received.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&received).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        received.clear();
        asked.lock().unwrap().push(text);
        count.fetch_add(1, Ordering::SeqCst);
        let answer = {
            let mut answers = answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
        };
        // whoever asks at the same time shall find it under way
        tokio::time::sleep(Duration::from_millis(20)).await;
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn config(urls: &[&str]) -> Config {
    Config {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        retry_wait: Duration::from_millis(5),
        retry_max_wait: Duration::from_millis(50),
        read_timeout: Duration::from_secs(5),
        ..Config::default()
    }
}

const LONG: &str = r#"{"schema":"\"long\""}"#;
const MISSING: &str = r#"{"error_code":40403,"message":"Schema 7 not found"}"#;

#[tokio::test]
async fn trouble_is_tried_again_and_refusals_are_not() {
    let busy = answer("429 Too Many Requests", "Retry-After: 0\r\n", "{}");
    let broken = answer("500 Internal Server Error", "", "oops");
    let server = Server::start(&[&busy, &broken, &answer("200 OK", "", LONG)]).await;
    let client = Client::new(config(&[&server.url])).unwrap();
    assert_eq!(&*client.schema_by_id(1, "").await.unwrap().text, "\"long\"");
    assert_eq!(server.count.load(Ordering::SeqCst), 3);

    let server = Server::start(&[&answer("404 Not Found", "", MISSING)]).await;
    let client = Client::new(config(&[&server.url])).unwrap();
    for _ in 0..3 {
        let error = client.schema_by_id(7, "").await.unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::NotFound, Some(40403)));
    }
    assert_eq!(server.count.load(Ordering::SeqCst), 1, "that there is none is remembered");

    let server = Server::start(&[&broken]).await;
    let client = Client::new(Config { max_retries: 2, ..config(&[&server.url]) }).unwrap();
    let error = client.schema_by_id(1, "").await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    assert_eq!(server.count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_next_url_answers_for_one_that_is_down() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server::start(&[&answer("200 OK", "", LONG)]).await;
    let client =
        Client::new(Config { max_retries: 0, ..config(&[&format!("http://{closed}"), &server.url]) })
            .unwrap();
    assert!(client.schema_by_id(1, "").await.is_ok());
    assert!(client.schema_by_id(2, ":.other:x").await.is_ok());
    let asked = server.asked();
    assert!(asked[0].starts_with("GET /schemas/ids/1 HTTP"), "{}", asked[0]);
    assert!(asked[1].starts_with("GET /schemas/ids/2?subject=%3A.other%3Ax HTTP"), "{}", asked[1]);
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_request() {
    let server = Server::start(&[&answer("200 OK", "", LONG)]).await;
    let client = Arc::new(Client::new(config(&[&server.url])).unwrap());
    let ask = || {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.schema_by_id(1, "").await.map(drop) })
    };
    let tasks: Vec<_> = (0..50).map(|_| ask()).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(server.count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_we_are_is_said() {
    let ok = answer("200 OK", "", r#"{"id":3}"#);
    let schema = Arc::new(Schema::new(SchemaType::Json, "{}"));
    let server = Server::start(&[&ok]).await;
    let with_user = server.url.replace("http://", "http://me:secret@");
    let client = Client::new(config(&[&with_user])).unwrap();
    assert_eq!(client.register("t-value", &schema, true).await.unwrap().id, 3);
    let asked = &server.asked()[0];
    assert!(asked.starts_with("POST /subjects/t-value/versions?normalize=true HTTP"), "{asked}");
    assert!(asked.contains("Basic bWU6c2VjcmV0") && asked.contains(r#""schemaType":"JSON""#), "{asked}");

    let token = answer("200 OK", "", r#"{"access_token":"abc","expires_in":3600}"#);
    let issuer = Server::start(&[&token]).await;
    let oauth = OAuth {
        endpoint: format!("{}/token", issuer.url),
        client_id: "us".to_owned(),
        client_secret: Secret::new("hush"),
        scope: Some("schemas read".to_owned()),
        renew_before: Duration::from_secs(300),
    };
    let server = Server::start(&[&ok]).await;
    let headers = vec![("target-sr-cluster".to_owned(), "lsrc-1".to_owned())];
    let client = Client::new(Config { auth: Auth::OAuth(oauth), headers, ..config(&[&server.url]) }).unwrap();
    client.register("a", &schema, false).await.unwrap();
    client.register("b", &schema, false).await.unwrap();
    assert!(
        issuer.asked()[0].ends_with("grant_type=client_credentials&scope=schemas%20read"),
        "{:?}",
        issuer.asked()
    );
    assert_eq!(issuer.count.load(Ordering::SeqCst), 1, "one token for both");
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.contains("Bearer abc") && asked.contains("lsrc-1")), "{asked:?}");
}

#[tokio::test]
async fn answers_that_are_none() {
    for (body, expected) in
        [("<html>", "not JSON"), ("{}", "schema"), (r#"{"schema":"x","schemaType":"XML"}"#, "XML")]
    {
        let server = Server::start(&[&answer("200 OK", "", body)]).await;
        let client = Client::new(config(&[&server.url])).unwrap();
        let error = client.schema_by_id(1, "").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx";
    let server = Server::start(&[endless]).await;
    let client = Client::new(config(&[&server.url])).unwrap();
    assert_eq!(client.schema_by_id(1, "").await.unwrap_err().kind, ErrorKind::Malformed);
}

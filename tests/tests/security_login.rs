//! Logins that end: tokens from an end point, and sessions that the broker wants renewed (KIP-368).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aqueduct_protocol::ErrorKind;
use aqueduct_protocol::client::{Client, ClientConfig, Properties, tls_server_config};
use aqueduct_tests::{OwnBroker, env};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// Logins of PLAIN end after three seconds; tokens may be unsecured ones.
const SETTINGS: &str = "listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN,OAUTHBEARER\n\
     listener.name.sasl_plaintext.plain.connections.max.reauth.ms=3000\n\
     listener.name.sasl_plaintext.oauthbearer.connections.max.reauth.ms=3600000\n\
     listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"admin\";";

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"app\" password=\"app-secret\";";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";

async fn client(bootstrap: &str, pairs: &[(&str, &str)]) -> Client {
    let base = [
        ("bootstrap.servers", bootstrap),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("default.api.timeout.ms", "4000"),
    ];
    let all: Properties =
        base.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Client::connect(ClientConfig::from_properties(&all).unwrap()).await.unwrap()
}

/// Asks again and again without a pause in which a connection could be closed unseen: one that the broker closes is an error.
async fn ask_for(client: &Client, time: Duration) {
    let began = Instant::now();
    let request = kafka_protocol::messages::ListGroupsRequest::default;
    while began.elapsed() < time {
        let answer = client.send(aqueduct_protocol::client::NodeTarget::Any, request(), None).await;
        let answer = answer.unwrap_or_else(|error| panic!("after {:?}: {error}", began.elapsed()));
        assert_eq!(answer.error_code, 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A token end point that gives tokens of this life. It refuses the first `refusals` requests with 503.
async fn token_end_point(
    scheme: &str,
    life: Duration,
    refusals: u32,
) -> (String, Arc<AtomicU32>, Arc<parking::Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}/oauth/token", listener.local_addr().unwrap());
    let (given, heard) = (Arc::new(AtomicU32::new(0)), Arc::new(parking::Heard::default()));
    let acceptor = (scheme == "https").then(|| {
        let tls = |file: &str| format!("{}/{file}", env("AQ_TLS_DIR"));
        let text = |file: &str| std::fs::read_to_string(tls(file)).unwrap();
        let own = [
            ("ssl.keystore.certificate.chain", text("server.pem")),
            ("ssl.keystore.key", text("server.key")),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        tokio_rustls::TlsAcceptor::from(tls_server_config(&own).unwrap())
    });
    let (counts, hears) = (Arc::clone(&given), Arc::clone(&heard));
    tokio::spawn(async move {
        let mut refused = 0;
        while let Ok((socket, _)) = listener.accept().await {
            let refuses = refused < refusals;
            refused += 1;
            let (counts, hears) = (&counts, &hears);
            let done = match &acceptor {
                Some(acceptor) => match acceptor.accept(socket).await {
                    Ok(stream) => answer(stream, life, refuses, counts, hears).await,
                    Err(_) => None,
                },
                None => answer(socket, life, refuses, counts, hears).await,
            };
            let _ = done;
        }
    });
    (url, given, heard)
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    life: Duration,
    refuses: bool,
    given: &AtomicU32,
    heard: &parking::Heard,
) -> Option<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") || !request.ends_with(b"all") {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    heard.set(String::from_utf8_lossy(&request).into_owned());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64();
    let claims = format!(r#"{{"sub":"app","iat":{now},"exp":{}}}"#, now + life.as_secs_f64());
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims));
    let body =
        format!(r#"{{"access_token":"{token}","token_type":"bearer","expires_in":{}}}"#, life.as_secs());
    let answer = if refuses {
        "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_owned()
    } else {
        given.fetch_add(1, Ordering::Relaxed);
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// The last request that an end point heard.
mod parking {
    use std::sync::Mutex;

    #[derive(Default)]
    pub(super) struct Heard(Mutex<String>);

    impl Heard {
        pub(super) fn set(&self, text: String) {
            *self.0.lock().unwrap() = text;
        }

        pub(super) fn get(&self) -> String {
            self.0.lock().unwrap().clone()
        }
    }
}

fn bearer(options: &str) -> String {
    format!("{BEARER} {options};")
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_renewed_before_they_end() {
    let broker = OwnBroker::start_with(SETTINGS);
    let plain = client(&broker.sasl(), &[("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", PLAIN)]).await;
    let (url, given, heard) = token_end_point("http", Duration::from_secs(4), 2).await;
    let jaas = bearer("clientId=\"me\" clientSecret=\"s3cret\" scope=\"read all\" extension_team=\"a\"");
    let login = [
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.jaas.config", jaas.as_str()),
        ("sasl.oauthbearer.token.endpoint.url", url.as_str()),
    ];
    let token = client(&broker.sasl(), &login).await;
    let time = Duration::from_secs(9);
    tokio::join!(ask_for(&plain, time), ask_for(&token, time));
    let count = given.load(Ordering::Relaxed);
    assert!((2..=6).contains(&count), "{count} tokens in nine seconds, each good for four");
    let request = heard.get().to_ascii_lowercase();
    assert!(request.starts_with("post /oauth/token "), "{request}");
    assert!(request.contains("grant_type=client_credentials&scope=read+all"), "{request}");
    let credentials = BASE64_STANDARD.encode("me:s3cret").to_ascii_lowercase();
    assert!(request.contains(&format!("authorization: basic {credentials}")), "{request}");

    // https, whose stores are named among the login module's options; credentials in settings of their own (KIP-1139)
    let (url, given, _) = token_end_point("https", Duration::from_secs(3600), 0).await;
    let stores =
        format!("ssl.truststore.type=\"PEM\" ssl.truststore.location=\"{}/ca.pem\"", env("AQ_TLS_DIR"));
    let jaas = bearer(&stores);
    let login = [
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.jaas.config", jaas.as_str()),
        ("sasl.oauthbearer.token.endpoint.url", url.as_str()),
        ("sasl.oauthbearer.client.credentials.client.id", "me"),
        ("sasl.oauthbearer.client.credentials.client.secret", "s3cret"),
        ("sasl.oauthbearer.scope", "all"),
    ];
    let (one, alike) = (client(&broker.sasl(), &login).await, client(&broker.sasl(), &login).await);
    let short = Duration::from_millis(200);
    tokio::join!(ask_for(&one, short), ask_for(&alike, short));
    let count = given.load(Ordering::Relaxed);
    assert_eq!(count, 1, "one token for all connections of all clients that are configured alike");

    // unsecured tokens, and what is said of tokens that are not taken
    let unsecured = bearer("unsecuredLoginStringClaim_sub=\"app\"");
    let login = [("sasl.mechanism", "OAUTHBEARER"), ("sasl.jaas.config", unsecured.as_str())];
    ask_for(&client(&broker.sasl(), &login).await, Duration::from_millis(100)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "not.a.token").unwrap();
    let (file, jaas) = (format!("file:{}", file.display()), bearer(""));
    let nowhere = "http://127.0.0.1:9/token";
    // who tries again until its time is over may have a timeout for its last try
    let cases = [
        (file.as_str(), &[ErrorKind::Authentication][..], "refused the token"),
        ("file:/there/is/none", &[ErrorKind::Config], "sasl.oauthbearer.token.endpoint.url"),
        (nowhere, &[ErrorKind::Network, ErrorKind::Timeout], "sasl.oauthbearer.token.endpoint.url"),
    ];
    for (url, kinds, words) in cases {
        let login = [
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.jaas.config", jaas.as_str()),
            ("sasl.oauthbearer.token.endpoint.url", url),
            ("sasl.oauthbearer.client.credentials.client.id", "me"),
            ("sasl.oauthbearer.client.credentials.client.secret", "s3cret"),
            ("sasl.login.retry.backoff.max.ms", "500"),
        ];
        let error = client(&broker.sasl(), &login).await.all_topics().await.unwrap_err();
        assert!(kinds.contains(&error.kind()), "{:?}: {error}", error.kind());
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

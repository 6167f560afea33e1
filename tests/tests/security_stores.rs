//! Key stores of every kind, and what is said of certificates that are wrong.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aqueduct_protocol::ErrorKind;
use aqueduct_protocol::client::{Client, ClientConfig, Properties};
use aqueduct_tests::{OwnBroker, env, free_port, run, wait_for};

const STORE: &str = "lab-secret";

fn tls(file: &str) -> String {
    format!("{}/{file}", env("AQ_TLS_DIR"))
}

async fn cluster(bootstrap: &str, pairs: &[(&str, &str)]) -> Result<String, aqueduct_protocol::Error> {
    let base = [
        ("bootstrap.servers", bootstrap),
        ("security.protocol", "SSL"),
        ("default.api.timeout.ms", "3000"),
        ("request.timeout.ms", "1500"),
        ("socket.connection.setup.timeout.ms", "1500"),
    ];
    let all: Properties =
        base.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let client = Client::connect(ClientConfig::from_properties(&all)?).await?;
    Ok(client.all_topics().await?.cluster_id.clone().unwrap_or_default())
}

fn keytool(arguments: &[&str]) {
    run(Command::new("keytool").args(arguments), b"");
}

fn openssl(arguments: &[&str]) {
    run(Command::new("openssl").args(arguments), b"");
}

/// A certificate of a subject, signed by the tests' CA, valid for so many days; `NAME.pem` and `NAME.key`.
fn certificate(folder: &Path, name: &str, days: &str) -> (String, String) {
    let path = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
    let (key, request, certificate, names) = (path("key"), path("csr"), path("pem"), path("ext"));
    std::fs::write(&names, "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    let subject = format!("/CN={name}");
    openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request]);
    let (ca, ca_key) = (tls("ca.pem"), tls("ca.key"));
    let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-set_serial", "7"];
    openssl(&[&sign[..], &["-days", days, "-out", &certificate, "-extfile", &names]].concat());
    (certificate, key)
}

/// Asks the broker that wants a client's certificate.
async fn with_store(broker: &OwnBroker, pairs: &[(&str, &str)]) -> Result<String, aqueduct_protocol::Error> {
    let ca = tls("ca.pem");
    let mut all = vec![("ssl.truststore.location", ca.as_str())];
    all.extend(pairs);
    cluster(&broker.ssl(), &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_and_client_certificates() {
    let broker = OwnBroker::start_with("listener.name.ssl.ssl.client.auth=required");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (jks, trust, encrypted) = (path("client.jks"), path("trust.jks"), path("client-encrypted.pem"));
    let (client, ca) = (tls("client.p12"), tls("ca.pem"));
    keytool(&[
        "-importkeystore",
        "-noprompt",
        "-srckeystore",
        &client,
        "-srcstorepass",
        STORE,
        "-destkeystore",
        &jks,
        "-deststoretype",
        "JKS",
        "-deststorepass",
        "of-the-store",
        "-destkeypass",
        "of-the-key",
        "-srcalias",
        "client",
    ]);
    let import = ["-importcert", "-noprompt", "-alias", "ca", "-file", &ca, "-keystore", &trust];
    keytool(&[&import[..], &["-storetype", "JKS", "-storepass", STORE]].concat());
    let (pem, plain_key, encrypted_key) =
        (tls("client.pem"), tls("client.key"), path("client-encrypted.key"));
    let encrypt = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:of-the-key"];
    openssl(&[&encrypt[..], &["-in", &plain_key, "-out", &encrypted_key]].concat());
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    std::fs::write(&encrypted, text(&encrypted_key) + &text(&pem)).unwrap();
    // as a properties file has it: one line, blanks for line ends
    let (one_line_key, one_line_chain) =
        (text(&encrypted_key).replace('\n', " "), text(&pem).replace('\n', " "));

    let of_jks = [("ssl.keystore.location", jks.as_str()), ("ssl.keystore.password", "of-the-store")];
    let jks_with = |more: &[(&'static str, &'static str)]| [&of_jks[..], more].concat();
    let key = ("ssl.key.password", "of-the-key");
    let ways = [
        jks_with(&[key]),
        jks_with(&[key, ("ssl.keystore.type", "PKCS12")]),
        [
            &jks_with(&[key, ("ssl.truststore.type", "JKS")])[..],
            &[("ssl.truststore.location", &trust), ("ssl.truststore.password", STORE)],
        ]
        .concat(),
        vec![
            ("ssl.keystore.location", &client),
            ("ssl.keystore.password", STORE),
            ("ssl.keystore.type", "JKS"),
        ],
        vec![("ssl.keystore.location", &encrypted), ("ssl.keystore.type", "PEM"), key],
        vec![
            ("ssl.keystore.key", &one_line_key),
            ("ssl.keystore.certificate.chain", &one_line_chain),
            key,
            ("ssl.protocol", "TLSv1.2"),
        ],
        jks_with(&[
            key,
            ("ssl.enabled.protocols", "TLSv1.3"),
            ("ssl.cipher.suites", "TLS_AES_128_GCM_SHA256"),
        ]),
    ];
    for way in &ways {
        let id = with_store(&broker, way).await.unwrap_or_else(|error| panic!("{way:?}: {error}"));
        assert!(!id.is_empty());
    }

    let wrong = [
        (jks_with(&[]), "ssl.key.password"),
        (jks_with(&[("ssl.key.password", "guessed")]), "ssl.key.password"),
        (
            vec![("ssl.keystore.location", &jks), ("ssl.keystore.password", "guessed")],
            "ssl.keystore.password",
        ),
        (
            vec![("ssl.keystore.location", &client), ("ssl.keystore.password", "guessed")],
            "ssl.keystore.password",
        ),
        (vec![("ssl.keystore.location", &encrypted)], "ssl.key.password is not set"),
        (
            vec![("ssl.keystore.location", &encrypted), ("ssl.key.password", "guessed")],
            "is ssl.key.password right?",
        ),
        (vec![("ssl.keystore.location", &pem), ("ssl.keystore.type", "JKS")], "ssl.keystore.type=PEM"),
        (
            vec![("ssl.truststore.location", &trust), ("ssl.truststore.password", "guessed")],
            "ssl.truststore.password",
        ),
        (vec![("ssl.cipher.suites", "TLS_NULL")], "TLS_AES_256_GCM_SHA384"),
        (vec![("ssl.protocol", "TLSv1.1")], "ssl.protocol"),
    ];
    for (way, words) in &wrong {
        let error = with_store(&broker, way).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("guessed"), "{error}");
    }

    // what the broker refuses: nothing with both versions of TLS, and what has expired
    for version in ["TLSv1.3", "TLSv1.2"] {
        let error = with_store(&broker, &[("ssl.protocol", version)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{version}: {error}");
        assert!(error.to_string().contains("ssl.keystore.location"), "{version}: {error}");
        let (old, old_key) = certificate(folder.path(), "old-client", "-1");
        let (old, old_key) = (text(&old), text(&old_key));
        let expired = [
            ("ssl.keystore.certificate.chain", old.as_str()),
            ("ssl.keystore.key", old_key.as_str()),
            ("ssl.protocol", version),
        ];
        let error = with_store(&broker, &expired).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{version}: {error}");
        assert!(error.to_string().contains("ssl.keystore.location"), "{version}: {error}");
    }
}

/// `openssl s_server`; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(certificate: &str, key: &str) -> (Server, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", &address, "-cert", certificate, "-key", key]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().unwrap());
    wait_for("openssl s_server", Duration::from_secs(10), || std::net::TcpStream::connect(&address).is_ok());
    (server, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let ca = tls("ca.pem");
    let trust = [("ssl.truststore.location", ca.as_str())];
    let (old, old_key) = certificate(folder.path(), "old-server", "-1");
    let (_server, address) = serve(&old, &old_key);
    let error = cluster(&address, &trust).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(error.to_string().contains("expired"), "{error}");

    // signed by itself, as CA and not: good for whoever has it in the trust store, for nobody else
    for (name, constraints) in
        [("own", "basicConstraints=critical,CA:FALSE"), ("own-ca", "basicConstraints=critical,CA:TRUE")]
    {
        let path = |end: &str| folder.path().join(format!("{name}.{end}")).display().to_string();
        let (own, own_key) = (path("pem"), path("key"));
        let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
        let more = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", constraints];
        openssl(&[&made[..], &more, &["-keyout", &own_key, "-out", &own]].concat());
        let (_server, address) = serve(&own, &own_key);
        let error = cluster(&address, &trust).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
        if name == "own" {
            assert!(error.to_string().contains("ssl.truststore.location"), "{error}");
        }
        // the handshake is done; what answers is no broker
        let error = cluster(&address, &[("ssl.truststore.location", &own)]).await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Authentication, "{error}");
    }
}

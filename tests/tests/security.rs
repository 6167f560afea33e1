//! Every way into Apache Kafka: TLS, client certificates, each SASL mechanism; and what is said when it is refused.

use aqueduct_protocol::ErrorKind;
use aqueduct_protocol::client::{Client, ClientConfig, Properties};

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run"))
}

fn tls(file: &str) -> String {
    format!("{}/{file}", env("AQ_TLS_DIR"))
}

fn properties(listener: &str, pairs: &[(&str, &str)]) -> Properties {
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".into(), env(listener));
    properties.insert("default.api.timeout.ms".into(), "5000".into());
    properties.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    properties
}

async fn cluster(properties: &Properties) -> Result<String, aqueduct_protocol::Error> {
    let client = Client::connect(ClientConfig::from_properties(properties)?).await?;
    let metadata = client.all_topics().await?;
    Ok(metadata.cluster_id.clone().unwrap_or_default())
}

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"app\" password=\"app-secret\";";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"app\" password=\"app-secret\";";

#[tokio::test]
async fn tls_with_pem_and_pkcs12_stores_and_a_client_certificate() {
    let (ca, trust, client) = (tls("ca.pem"), tls("trust.p12"), tls("client.p12"));
    let inline = std::fs::read_to_string(&ca).unwrap();
    let (chain, key) = (
        std::fs::read_to_string(tls("client.pem")).unwrap(),
        std::fs::read_to_string(tls("client.key")).unwrap(),
    );
    let ways: [&[(&str, &str)]; 4] = [
        &[("ssl.truststore.location", &ca), ("ssl.truststore.type", "PEM")],
        &[("ssl.truststore.certificates", &inline), ("ssl.truststore.type", "PEM")],
        &[
            ("ssl.truststore.location", &trust),
            ("ssl.truststore.password", "lab-secret"),
            ("ssl.keystore.location", &client),
            ("ssl.keystore.password", "lab-secret"),
        ],
        &[
            ("ssl.truststore.certificates", &inline),
            ("ssl.keystore.certificate.chain", &chain),
            ("ssl.keystore.key", &key),
        ],
    ];
    for way in ways {
        let mut properties = properties("AQ_KAFKA_SSL", way);
        properties.insert("security.protocol".into(), "SSL".into());
        assert!(!cluster(&properties).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn each_sasl_mechanism_with_and_without_tls() {
    let ca = tls("ca.pem");
    for (mechanism, jaas) in [("PLAIN", PLAIN), ("SCRAM-SHA-256", SCRAM), ("SCRAM-SHA-512", SCRAM)] {
        let sasl =
            [("sasl.mechanism", mechanism), ("sasl.jaas.config", jaas), ("ssl.truststore.location", &ca)];
        for (listener, protocol) in [("AQ_KAFKA_SASL", "SASL_PLAINTEXT"), ("AQ_KAFKA_SASL_SSL", "SASL_SSL")] {
            let mut properties = properties(listener, &sasl);
            properties.insert("security.protocol".into(), protocol.into());
            assert!(!cluster(&properties).await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_refusal_names_the_key_and_never_the_password() {
    let ca = tls("ca.pem");
    let wrong = SCRAM.replace("app-secret", "not-the-secret");
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], ErrorKind, &'a str);
    let cases: [Case<'_>; 5] = [
        (
            "AQ_KAFKA_SASL",
            &[
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.jaas.config", &wrong),
            ],
            ErrorKind::Authentication,
            "sasl.jaas.config",
        ),
        (
            "AQ_KAFKA_SSL",
            &[("security.protocol", "SSL")],
            ErrorKind::Authentication,
            "ssl.truststore.location",
        ),
        (
            "AQ_KAFKA_SSL",
            &[("security.protocol", "SSL"), ("ssl.truststore.location", "/there/is/no.pem")],
            ErrorKind::Config,
            "ssl.truststore.location",
        ),
        (
            "AQ_KAFKA",
            &[("security.protocol", "SSL"), ("ssl.truststore.location", &ca)],
            ErrorKind::Network,
            "TLS",
        ),
        (
            "AQ_KAFKA",
            &[("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "GSSAPI")],
            ErrorKind::Config,
            "sasl.mechanism",
        ),
    ];
    for (listener, pairs, kind, words) in cases {
        let error = cluster(&properties(listener, pairs)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("not-the-secret"));
    }
}

#[tokio::test]
async fn a_host_name_that_the_certificate_lacks_is_refused_unless_that_is_switched_off() {
    let ca = tls("ca.pem");
    // The certificate is for localhost and 127.0.0.1; 127.0.0.2 is the same machine.
    let port = env("AQ_KAFKA_SSL").rsplit_once(':').unwrap().1.to_owned();
    let proxy = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = proxy.accept().await {
            let port: u16 = port.parse().unwrap();
            tokio::spawn(async move {
                let mut outside = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    let mut properties =
        properties("AQ_KAFKA_SSL", &[("security.protocol", "SSL"), ("ssl.truststore.location", &ca)]);
    properties.insert("bootstrap.servers".into(), address.to_string());
    let error = cluster(&properties).await.unwrap_err();
    assert!(error.to_string().contains("ssl.endpoint.identification.algorithm"), "{error}");
    properties.insert("ssl.endpoint.identification.algorithm".into(), String::new());
    assert!(!cluster(&properties).await.unwrap().is_empty());
}

//! The fuzz targets of `fuzz/` on seeds mutated a bounded number of times: what stable Rust and a minute can find.

#[path = "../../fuzz/smoke.rs"]
mod smoke;
#[path = "../../fuzz/targets.rs"]
mod targets;

use aqueduct_protocol::wire::assignor::{Assignor, TopicPartition};
use aqueduct_protocol::wire::compression::{Compression, CompressionLevel, Compressor};
use bytes::BytesMut;
use kafka_protocol::messages::fetch_response as fetch;
use kafka_protocol::messages::{FetchResponse, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use smoke::smoke;

fn golden() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let names = ["none", "gzip", "snappy", "lz4", "zstd", "transactions"];
    names.map(|name| std::fs::read(format!("{folder}/{name}.log")).expect("a golden file")).to_vec()
}

#[test]
fn record_batch() {
    smoke(&golden(), targets::record_batch);
}

#[test]
fn decompression() {
    let plain = b"some text that is long enough to be worth it, text that is long enough ".repeat(20);
    let packed = Compression::ALL.map(|codec| {
        let mut compressor = Compressor::new();
        let packed = compressor.compress(codec, CompressionLevel::DEFAULT, &plain).expect("compresses");
        [&[codec.id() as u8], packed].concat()
    });
    smoke(&packed, targets::decompression);
}

#[test]
fn fetch_response() {
    let seeds: Vec<_> = [4i16, 7, 11, 12, 16, 18]
        .into_iter()
        .map(|version| {
            let partition = fetch::PartitionData::default()
                .with_high_watermark(9)
                .with_aborted_transactions(Some(vec![fetch::AbortedTransaction::default()]))
                .with_records(Some(golden().swap_remove(0).into()));
            let mut topic = fetch::FetchableTopicResponse::default().with_partitions(vec![partition; 2]);
            if version < 13 {
                topic.topic = TopicName(StrBytes::from_static_str("orders"));
            }
            let mut bytes = BytesMut::from(&[(version - 4) as u8][..]);
            let response = FetchResponse::default().with_responses(vec![topic]);
            response.encode(&mut bytes, version).expect("encodes");
            bytes.to_vec()
        })
        .collect();
    smoke(&seeds, targets::fetch_response);
}

#[test]
fn scram() {
    let seeds = [
        "n,,n=user,r=nonce",
        "n,,n=us=3Der,r=nonce,tokenauth=true",
        "r=nonceXYZ,s=c2FsdA==,i=40",
        "c=biws,r=noncemore,p=AAAA",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        "e=invalid-proof",
    ];
    smoke(&seeds.map(|seed| seed.as_bytes().to_vec()), targets::scram);
}

#[test]
fn assignor() {
    let owned = [TopicPartition::new("a", 0), TopicPartition::new("a", 7), TopicPartition::new("b", 1)];
    let subscription = |assignor: Assignor| {
        assignor.subscription(&["a".into(), "b".into()], &owned, &owned, 3, Some("rack")).encode().to_vec()
    };
    smoke(&Assignor::ALL.map(subscription), targets::assignor);
}

#[test]
fn control_response() {
    use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
    use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, JoinGroupResponse, MetadataResponse};
    let seed = |api: ApiKey, version: u8, answer: &dyn Fn(&mut BytesMut)| {
        let mut bytes = BytesMut::from(&[api as i16 as u8, version][..]);
        answer(&mut bytes);
        bytes.to_vec()
    };
    let metadata =
        MetadataResponse::default().with_brokers(vec![MetadataResponseBroker::default()]).with_topics(vec![
            MetadataResponseTopic::default().with_name(Some(TopicName(StrBytes::from_static_str("t")))),
        ]);
    let versions = ApiVersionsResponse::default().with_finalized_features_epoch(3);
    let seeds = [
        seed(ApiKey::Metadata, 9, &|bytes| metadata.encode(bytes, 9).expect("it encodes")),
        seed(ApiKey::Metadata, 1, &|bytes| metadata.encode(bytes, 1).expect("it encodes")),
        seed(ApiKey::ApiVersions, 3, &|bytes| versions.encode(bytes, 3).expect("it encodes")),
        seed(ApiKey::JoinGroup, 5, &|bytes| {
            JoinGroupResponse::default().encode(bytes, 5).expect("it encodes")
        }),
    ];
    smoke(&seeds, targets::control_response);
}

/// Stores with the password "password" and one round of key derivation, made by OpenSSL 3: of a key that was made for them.
#[test]
fn key_store() {
    use base64::Engine as _;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let read = |name: &str| std::fs::read(format!("{folder}/{name}")).expect("a golden file");
    let stores = ["pbes1.p12", "pbes2.p12", "no-mac.p12", "encrypted.pem", "scrypt.pem"];
    let stores = stores.map(|name| (name, read(&format!("stores/{name}"))));
    for (name, bytes) in &stores {
        let content = aqueduct_protocol::client::inspect_store(bytes, "password").expect(name);
        assert!(content.private_key && content.certificates == 1, "{name}");
    }
    let mut seeds: Vec<_> = stores.iter().map(|(_, bytes)| [&[0][..], bytes].concat()).collect();
    seeds.push([&[0][..], &read("client.jks")].concat());
    for (_, text) in stores.iter().filter(|(name, _)| name.ends_with(".pem")) {
        let text = String::from_utf8_lossy(text);
        let key =
            text.split_once("KEY-----").and_then(|(_, rest)| rest.split_once("-----END")).expect("a key").0;
        let der = base64::engine::general_purpose::STANDARD.decode(key.replace('\n', "")).expect("base64");
        seeds.push([&[1][..], &der].concat());
    }
    smoke(&seeds, targets::key_store);
}

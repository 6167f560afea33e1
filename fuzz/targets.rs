//! What each fuzz target does with its bytes. Shared with the smoke test of `aqueduct-protocol`, so nothing here needs
//! nightly. A target panics when a promise is broken; an error from the code under test is fine.
#![allow(dead_code)]

use aqueduct_protocol::wire::assignor::{Assignment, Subscription};
use aqueduct_protocol::wire::compression::{Compression, CompressionLevel, Compressor, Decompressor};
use aqueduct_protocol::wire::fetch::{MAX_FETCH_VERSION, MIN_FETCH_VERSION, decode_fetch_response};
use aqueduct_protocol::wire::records::{
    BatchBuilder, BatchHeader, BatchOptions, HEADER_LEN, NO_PRODUCER, RawBatch, RecordSet, batches,
    control_record,
};
use aqueduct_protocol::wire::scram::{
    ClientFirst, MIN_ITERATIONS, ScramClient, ScramCredential, ScramMechanism, ScramServer,
};
use bytes::Bytes;

/// Small, so that the fuzzer finds the limit.
const LIMIT: usize = 1 << 20;

/// The bytes as a run of batches, then once more with the first header's length made right, so that mutations reach the
/// records behind it.
pub(crate) fn record_batch(data: &[u8]) {
    let whole = Bytes::copy_from_slice(data);
    let mut iter = batches(whole);
    let mut seen = 0;
    for batch in iter.by_ref().flatten() {
        seen += batch.bytes.len();
        one_batch(&batch);
    }
    assert!(seen + iter.remainder() <= data.len());
    if data.len() >= HEADER_LEN {
        let mut fixed = data.to_vec();
        fixed[8..12].copy_from_slice(&((data.len() - 12) as i32).to_be_bytes());
        fixed[16] = 2;
        if let Ok(batch) = RawBatch::parse(fixed.into()) {
            one_batch(&batch);
        }
    }
}

fn one_batch(batch: &RawBatch) {
    let _ = batch.verify_crc();
    assert_eq!(BatchHeader::parse(&batch.header.to_bytes()).as_ref(), Ok(&batch.header));
    let Ok(mut set) = batch.records(&mut Decompressor::new(LIMIT)) else { return };
    assert_eq!(set.len(), batch.header.record_count as usize);
    let mut previous = None;
    for record in &set {
        assert!(previous < Some(record.offset()) && record.offset() <= batch.header.last_offset());
        previous = Some(record.offset());
        let headers: Vec<_> = record.headers().collect();
        assert_eq!(headers.len(), record.header_count());
        for header in headers {
            let _ = (header.key(), header.value());
        }
        assert_eq!(record.key(), record.key_range().map(|range| &set.body()[range]));
        assert_eq!(record.value(), record.value_range().map(|range| &set.body()[range]));
        let _ = (record.timestamp(), control_record(&record));
    }
    rewrite(&set);
    let count = set.len();
    set.advance_to(batch.header.base_offset.saturating_add(1));
    let head = set.split_to(count / 2);
    assert!(head.len() + set.len() <= count);
}

/// What was read, written again, reads the same.
fn rewrite(set: &RecordSet) {
    let options = BatchOptions { batch_size: 1 << 24, max_record_size: 1 << 24, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for record in set {
        let headers: Vec<_> = record.headers().collect();
        let headers: Vec<_> = headers.iter().map(|of| (of.key_bytes(), of.value())).collect();
        builder.append(record.timestamp(), record.key(), record.value(), &headers).expect("fits");
    }
    if builder.is_empty() {
        return;
    }
    let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).expect("finishes");
    let raw = RawBatch::parse(batch).expect("our own batch");
    raw.verify_crc().expect("our own checksum");
    let again = raw.records(&mut Decompressor::default()).expect("our own records");
    assert_eq!(again.len(), set.len());
    for (one, other) in set.iter().zip(&again) {
        assert_eq!(
            (one.timestamp(), one.key(), one.value()),
            (other.timestamp(), other.key(), other.value())
        );
        let headers = |record: aqueduct_protocol::wire::records::RecordView<'_>| {
            record
                .headers()
                .map(|of| (of.key_bytes().to_vec(), of.value().map(<[u8]>::to_vec)))
                .collect::<Vec<_>>()
        };
        assert_eq!(headers(one), headers(other));
    }
}

/// The first byte chooses the codec. What it makes of the rest stays within the limit, and what comes out survives a
/// round trip.
pub(crate) fn decompression(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let codec = Compression::ALL[usize::from(first) % Compression::ALL.len()];
    let mut decompressor = Decompressor::new(LIMIT);
    if let Ok(plain) = decompressor.decompress(codec, rest) {
        assert!(plain.len() <= LIMIT);
        let mut compressor = Compressor::new();
        let packed = compressor.compress(codec, CompressionLevel::DEFAULT, &plain).expect("compresses");
        assert_eq!(decompressor.decompress(codec, packed).as_ref(), Ok(&plain));
    }
}

/// The first byte chooses the version.
pub(crate) fn fetch_response(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let versions = (MAX_FETCH_VERSION - MIN_FETCH_VERSION + 1) as u8;
    let version = MIN_FETCH_VERSION + i16::from(first % versions);
    if let Ok(response) = decode_fetch_response(version, Bytes::copy_from_slice(rest)) {
        let records: usize = response.partitions.iter().map(|partition| partition.records.len()).sum();
        assert!(records <= rest.len());
    }
}

/// The bytes as each message of the exchange. The credential is made with few iterations where that is possible.
pub(crate) fn scram(data: &[u8]) {
    for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
        let mut client = ScramClient::new(mechanism, "user", "password", "nonce", false);
        // A mutated count would make this slow, not wrong.
        let many = data.windows(7).any(|of| of.starts_with(b"i=") && of[2..].iter().all(u8::is_ascii_digit));
        if !many && client.respond(data).is_ok() {
            let _ = client.verify(data);
        }
        let first = ClientFirst::parse(data)
            .or_else(|_| ClientFirst::parse(b"n,,n=user,r=nonce"))
            .expect("a message of ours");
        let credential = ScramCredential {
            salt: b"salt".to_vec(),
            iterations: MIN_ITERATIONS,
            stored_key: vec![1; 32],
            server_key: vec![2; 32],
        };
        let server = ScramServer::new(mechanism, credential, &first, "more");
        assert!(server.finish(data).is_err(), "nobody can guess a proof");
    }
}

/// The bytes as another member's subscription and as an assignment.
pub(crate) fn assignor(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(subscription) = Subscription::decode(bytes.clone()) {
        let again = Subscription::decode(subscription.encode()).expect("our own bytes");
        assert_eq!(again.generation_id, subscription.generation_id);
        assert_eq!(again.topics.len(), subscription.topics.len());
    }
    if let Ok(assignment) = Assignment::decode(bytes) {
        let again = Assignment::decode(assignment.encode()).expect("our own bytes");
        assert_eq!(again.partitions.len(), assignment.partitions.len());
    }
}

/// The answer to an API and version named by the first bytes: what the guard lets through, the decoder takes without reserving more
/// than a small multiple of its bytes; the decoder itself never panics.
pub(crate) fn control_response(data: &[u8]) {
    use kafka_protocol::messages::{ApiKey, ResponseKind};
    let Some(([api, version], body)) = data.split_first_chunk() else { return };
    let Ok(api) = ApiKey::try_from(i16::from(*api)) else { return };
    let version = i16::from(*version % 16);
    if aqueduct_protocol::guard::is_backed(aqueduct_protocol::guard::Direction::Response, api, version, body)
    {
        let _ = ResponseKind::decode(api, &mut Bytes::copy_from_slice(body), version);
    }
}

/// The bytes behind the first as a key store, or as what a PEM of an encrypted key or of a certificate wraps. The password is right, so that
/// mutations reach what it opens.
pub(crate) fn key_store(data: &[u8]) {
    use aqueduct_protocol::client::inspect_store;
    use base64::Engine as _;
    let Some((first, rest)) = data.split_first() else { return };
    let wrapped = |label: &str| {
        let body = base64::engine::general_purpose::STANDARD.encode(rest);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
    };
    let bytes = match first % 3 {
        0 => rest.to_vec(),
        1 => wrapped("ENCRYPTED PRIVATE KEY"),
        _ => wrapped("CERTIFICATE"),
    };
    for password in ["password", ""] {
        if let Ok(content) = inspect_store(&bytes, password) {
            assert!(content.certificates <= data.len());
        }
    }
}

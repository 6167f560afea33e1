//! Batches that the JVM's producer (`golden/Golden.java` tells how) and librdkafka wrote and a real broker stored.

use aqueduct_protocol::wire::compression::{Compression, CompressionLevel, Compressor, Decompressor};
use aqueduct_protocol::wire::records::{
    AbortedTransaction, AbortedTransactions, BatchBuilder, BatchOptions, ControlRecord, ControlType,
    NO_PRODUCER, RawBatch, RecordSet, TimestampType, batches, control_record, set_leader_epoch,
};
use bytes::Bytes;

const TIME: i64 = 1_700_000_000_000;

fn golden(name: &str) -> Vec<RawBatch> {
    let path = format!("{}/tests/golden/{name}.log", env!("CARGO_MANIFEST_DIR"));
    let bytes = Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")));
    let mut iter = batches(bytes);
    let all: Vec<_> = iter.by_ref().collect::<Result<_, _>>().expect("batches");
    iter.finish().expect("whole batches");
    for batch in &all {
        batch.verify_crc().expect("the JVM's checksum");
    }
    all
}

fn large() -> Vec<u8> {
    (0..100_000).map(|index| b'a' + ((index / 10 + index % 7) % 26) as u8).collect()
}

type Expected = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(&'static str, Option<&'static [u8]>)>);

/// What `Golden.java` sent, in order.
fn expected(codec: Compression) -> Vec<Expected> {
    let headers: Vec<(_, Option<&'static [u8]>)> =
        vec![("h", Some(b"1")), ("h", None), ("пример", Some(b""))];
    let mut records = vec![
        (TIME, None, None, vec![]),
        (TIME + 5, Some(b"k".to_vec()), Some(b"v".to_vec()), headers),
        (TIME - 3, Some(b"large".to_vec()), Some(large()), vec![]),
        (TIME + 1, Some(vec![]), Some(vec![]), vec![]),
    ];
    if codec == Compression::None {
        records.remove(2);
    }
    records
}

fn records(batch: &RawBatch) -> RecordSet {
    batch.records(&mut Decompressor::default()).expect("records")
}

#[test]
fn every_codec_of_the_jvm_is_read() {
    for codec in Compression::ALL {
        let all = golden(codec.name());
        let [batch] = &all[..] else { panic!("{codec}: {} batches", all.len()) };
        assert_eq!(batch.header.attributes.compression(), Some(codec));
        assert_eq!(batch.header.max_timestamp, TIME + 5);
        let set = records(batch);
        let expected = expected(codec);
        assert_eq!(set.len(), expected.len());
        for ((index, record), (timestamp, key, value, headers)) in (0..).zip(&set).zip(expected) {
            assert_eq!((record.offset(), record.timestamp()), (index, timestamp));
            assert_eq!(record.timestamp_type(), TimestampType::CreateTime);
            assert_eq!(record.key(), key.as_deref(), "{codec}, record {index}");
            assert!(record.value() == value.as_deref(), "{codec}, value of record {index}");
            let read: Vec<_> = record.headers().map(|of| (of.key().into_owned(), of.value())).collect();
            let headers: Vec<_> = headers.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
            assert_eq!(read, headers);
        }
    }
}

/// `kcat -P -z CODEC -X linger.ms=2000` (librdkafka 2.0.2) wrote 600 lines. Its snappy is bare, its LZ4 is the C library's.
#[test]
fn every_codec_of_librdkafka_is_read() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut line = 0;
        for batch in golden(&format!("librdkafka/{codec}")) {
            assert_eq!(batch.header.attributes.compression(), Some(codec));
            for record in &records(&batch) {
                let text =
                    format!("librdkafka line {line} of {} {}", line * 7919 % 1000, "x".repeat(line % 50));
                assert_eq!(record.value(), Some(text.as_bytes()), "{codec}");
                assert_eq!((record.offset(), record.key()), (line as i64, None));
                line += 1;
            }
        }
        assert_eq!(line, 600, "{codec}");
    }
}

fn rebuild(codec: Compression) -> Bytes {
    let options = BatchOptions {
        compression: codec,
        level: CompressionLevel::DEFAULT,
        batch_size: 1 << 20,
        max_record_size: 1 << 20,
    };
    let mut builder = BatchBuilder::new(options);
    for (timestamp, key, value, headers) in expected(codec) {
        let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_bytes(), *value)).collect();
        builder.append(timestamp, key.as_deref(), value.as_deref(), &headers).expect("room");
    }
    let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).expect("compresses");
    let mut batch = batch.try_into_mut().expect("not shared");
    set_leader_epoch(&mut batch, 0);
    batch.freeze()
}

#[test]
fn our_bytes_are_the_jvms_bytes() {
    assert_eq!(rebuild(Compression::None), golden("none")[0].bytes);
    for codec in Compression::ALL {
        let (jvm, ours) = (&golden(codec.name())[0], RawBatch::parse(rebuild(codec)).expect("a batch"));
        assert!(records(jvm).body() == records(&ours).body(), "{codec}: uncompressed records differ");
        let same = |mut of: aqueduct_protocol::wire::records::BatchHeader| {
            (of.batch_length, of.crc) = (0, 0);
            of
        };
        assert_eq!(same(ours.header), same(jvm.header), "{codec}");
        assert!(ours.bytes.len() <= jvm.bytes.len() * 3 / 2, "{codec}: {} bytes", ours.bytes.len());
    }
}

#[test]
fn transactions_of_the_jvm() {
    let all = golden("transactions");
    let aborted = AbortedTransaction { producer_id: all[0].header.producer_id, first_offset: 2 };
    let mut filter = AbortedTransactions::new(vec![aborted]);
    let (mut shown, mut markers) = (Vec::new(), Vec::new());
    for batch in &all {
        let set = records(batch);
        let first = set.get(0).expect("a record");
        let control = if batch.header.attributes.is_control() { control_record(&first) } else { None };
        if let Some(ControlRecord { kind, coordinator_epoch }) = control {
            assert!(coordinator_epoch.is_some());
            markers.push((batch.header.base_offset, kind));
        }
        if !filter.hides(&batch.header, control.map(|of| of.kind)) && control.is_none() {
            shown.push(String::from_utf8_lossy(first.value().expect("a value")).into_owned());
        }
    }
    assert_eq!(shown, ["committed", "again"]);
    assert_eq!(markers, [(1, ControlType::Commit), (3, ControlType::Abort), (5, ControlType::Commit)]);
}

/// Every byte of a batch with real compressed data, changed in turn, with the checksum made right again: an error or a
/// batch with as many records as it states, never a panic.
#[test]
fn damaged_batches_of_the_jvm() {
    for codec in Compression::ALL {
        let batch = &golden(codec.name())[0];
        let mut decompressor = Decompressor::new(1 << 20);
        let step = (batch.bytes.len() / 600).max(1);
        for at in (21..batch.bytes.len()).step_by(step) {
            for mask in [0x01, 0xff] {
                let mut bytes = batch.bytes.to_vec();
                bytes[at] ^= mask;
                let Ok(raw) = RawBatch::parse(bytes.into()) else { continue };
                assert!(raw.verify_crc().is_err(), "{codec}: byte {at}");
                if let Ok(set) = raw.records(&mut decompressor) {
                    assert_eq!(set.len(), raw.header.record_count as usize);
                }
            }
        }
    }
}

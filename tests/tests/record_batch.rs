//! Our batches, read by Kafka's own `DumpLogSegments` from a log segment: its checksum, its decompressors, its records.

use std::path::Path;
use std::process::Command;

use aqueduct_protocol::wire::compression::{Compression, CompressionLevel, Compressor};
use aqueduct_protocol::wire::records::{
    BatchBuilder, BatchOptions, ControlType, NO_PRODUCER, ProducerStamp, control_batch, set_base_offset,
    set_leader_epoch,
};
use bytes::BytesMut;

const TIME: i64 = 1_700_000_000_000;
const RECORDS: i64 = 2000;

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the tests with tests/run"))
}

/// Longer in all than the blocks of every codec; the last one alone is longer than a block.
fn value(index: i64) -> String {
    let long = if index == RECORDS - 1 { 20_000 } else { 1 };
    format!("value {index} of {}; ", index * 7919 % 1000).repeat((index as usize % 7 + 1) * long)
}

fn batch(codec: Compression, level: CompressionLevel, base_offset: i64) -> BytesMut {
    let options = BatchOptions { compression: codec, level, batch_size: 16 << 20, max_record_size: 16 << 20 };
    let mut builder = BatchBuilder::new(options);
    for index in 0..RECORDS {
        let key = format!("{codec}-{index}");
        let headers: &[(&[u8], Option<&[u8]>)] =
            if index % 3 == 0 { &[(b"trace", Some(b"abc")), (b"trace", None)] } else { &[] };
        let key = (index % 5 != 0).then_some(key.as_bytes());
        builder.append(TIME + index % 100 - 10, key, Some(value(index).as_bytes()), headers).expect("room");
    }
    let stamp = ProducerStamp { producer_id: 7, producer_epoch: 1, base_sequence: 3, transactional: true };
    let batch = builder.finish(&mut Compressor::new(), stamp).expect("compresses");
    let mut batch = batch.try_into_mut().expect("not shared");
    set_base_offset(&mut batch, base_offset);
    set_leader_epoch(&mut batch, 5);
    batch
}

fn dump(folder: &Path, log: &[u8]) -> String {
    let segment = folder.join("00000000000000000000.log");
    std::fs::write(&segment, log).expect("the segment");
    let output = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.level=error", "-cp"])
        .arg(format!("{}/*", env("AQ_KAFKA_JARS")))
        .args(["org.apache.kafka.tools.DumpLogSegments", "--print-data-log", "--files"])
        .arg(&segment)
        .output()
        .expect("java");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

#[test]
fn the_jvm_reads_every_codec_and_level() {
    let mut codecs: Vec<_> =
        Compression::ALL.into_iter().map(|codec| (codec, CompressionLevel::DEFAULT)).collect();
    for (codec, level) in [(Compression::Gzip, 1), (Compression::Zstd, 9), (Compression::Zstd, -7)] {
        codecs.push((codec, CompressionLevel::new(codec, level).expect("a level")));
    }
    let mut log = BytesMut::new();
    for (index, (codec, level)) in (0..).zip(&codecs) {
        log.extend_from_slice(&batch(*codec, *level, index * RECORDS));
    }
    let end = RECORDS * codecs.len() as i64;
    log.extend_from_slice(&control_batch(7, 1, ControlType::Commit, 9, TIME, end));
    let folder = tempfile::tempdir().expect("a folder");
    let text = dump(folder.path(), &log);

    let mut lines =
        text.lines().filter(|line| line.starts_with("baseOffset:") || line.starts_with("| offset:"));
    for (index, (codec, _)) in (0..).zip(&codecs) {
        let base = index * RECORDS;
        let header = lines.next().expect("a batch");
        for part in [
            format!("baseOffset: {base} lastOffset: {} count: {RECORDS} baseSequence: 3", base + RECORDS - 1),
            "producerId: 7 producerEpoch: 1 partitionLeaderEpoch: 5 isTransactional: true isControl: false"
                .into(),
            format!("compresscodec: {codec}"),
            "isvalid: true".into(),
        ] {
            assert!(header.contains(&part), "no {part:?} in {header}");
        }
        for record in 0..RECORDS {
            let line = lines.next().expect("a record");
            let start = format!("| offset: {} CreateTime: {} ", base + record, TIME + record % 100 - 10);
            assert!(line.starts_with(&start), "{start:?}: {line:.200}");
            let headers = if record % 3 == 0 { "headerKeys: [trace,trace]" } else { "headerKeys: []" };
            assert!(line.contains(headers), "{line:.200}");
            let key = if record % 5 == 0 { String::new() } else { format!("key: {codec}-{record} ") };
            assert!(line.ends_with(&format!("{key}payload: {}", value(record))), "{line:.200}");
        }
    }
    let marker = lines.next().expect("the control batch");
    assert!(marker.contains("isControl: true") && marker.contains("isvalid: true"), "{marker}");
    let commit = lines.next().expect("its record");
    assert!(commit.contains("endTxnMarker: COMMIT coordinatorEpoch: 9"), "{commit}");
    assert_eq!(lines.next(), None);
}

/// The check above would notice: one changed byte, and the JVM calls the batch invalid.
#[test]
fn the_jvm_refuses_a_damaged_batch() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(TIME, None, Some(b"value"), &[]).expect("room");
    let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).expect("finishes");
    let mut damaged = batch.to_vec();
    // The last byte of the value: all else stays well-formed.
    damaged[batch.len() - 2] ^= 1;
    let folder = tempfile::tempdir().expect("a folder");
    assert!(dump(folder.path(), &batch).contains("isvalid: true"));
    assert!(dump(folder.path(), &damaged).contains("isvalid: false"));
}

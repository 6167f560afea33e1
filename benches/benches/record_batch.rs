//! The record batch codec: 1000 records of 100 bytes or 1 KiB, every compression, checksum included.
//!
//! `cargo bench -p aqueduct-benches --bench record_batch`; the figures to hold are 10 ns to index and 20 ns to write an
//! uncompressed record of 100 bytes.

use std::hint::black_box;

use aqueduct_protocol::wire::compression::{Compression, CompressionLevel, Compressor, Decompressor};
use aqueduct_protocol::wire::records::{BatchBuilder, BatchOptions, NO_PRODUCER, RawBatch, RecordSet};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: usize = 1000;
const TIMESTAMP: i64 = 1_760_000_000_000;

/// Values as log lines have them: words and numbers, some repetition, not the same twice.
fn values(size: usize) -> Vec<Vec<u8>> {
    const WORDS: [&str; 16] = [
        "order",
        "payment",
        "accepted",
        "customer",
        "shipped",
        "GET",
        "POST",
        "/api/v1/items",
        "status=200",
        "status=404",
        "region=eu-west",
        "region=us-east",
        "latency_ms=",
        "user_id=",
        "INFO",
        "WARN",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let value = |_| {
        let mut value = Vec::with_capacity(size + 32);
        while value.len() < size {
            value.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
            value.extend_from_slice(random.u32(..100_000).to_string().as_bytes());
            value.push(b' ');
        }
        value.truncate(size);
        value
    };
    (0..RECORDS).map(value).collect()
}

fn options(compression: Compression) -> BatchOptions {
    BatchOptions {
        compression,
        level: CompressionLevel::DEFAULT,
        batch_size: 4 << 20,
        max_record_size: 4 << 20,
    }
}

fn write(builder: &mut BatchBuilder, compressor: &mut Compressor, values: &[Vec<u8>]) -> Bytes {
    for (index, value) in values.iter().enumerate() {
        let appended = builder.append(TIMESTAMP + index as i64 / 8, None, Some(value), &[]);
        appended.expect("the batch has room");
    }
    builder.finish(compressor, NO_PRODUCER).expect("compresses")
}

fn record_batch(criterion: &mut Criterion) {
    for size in [100, 1024] {
        let values = values(size);
        let mut group = criterion.benchmark_group(format!("write/{size}B"));
        group.throughput(Throughput::Elements(RECORDS as u64));
        for codec in Compression::ALL {
            let (mut builder, mut compressor) = (BatchBuilder::new(options(codec)), Compressor::new());
            group.bench_function(BenchmarkId::from_parameter(codec), |bencher| {
                bencher.iter(|| {
                    let batch = write(&mut builder, &mut compressor, &values);
                    builder.reclaim(black_box(batch));
                });
            });
        }
        group.finish();

        let mut group = criterion.benchmark_group(format!("index/{size}B"));
        group.throughput(Throughput::Elements(RECORDS as u64));
        for codec in Compression::ALL {
            let batch = write(&mut BatchBuilder::new(options(codec)), &mut Compressor::new(), &values);
            let (mut decompressor, mut set) = (Decompressor::default(), RecordSet::empty());
            group.bench_function(BenchmarkId::from_parameter(codec), |bencher| {
                bencher.iter(|| {
                    let raw = RawBatch::parse(batch.clone()).expect("a batch");
                    raw.verify_crc().expect("its checksum");
                    raw.records_into(&mut decompressor, &mut set).expect("its records");
                    black_box(set.len())
                });
            });
        }
        group.finish();
    }

    let values = values(100);
    let batch = write(&mut BatchBuilder::new(options(Compression::None)), &mut Compressor::new(), &values);
    let set =
        RawBatch::parse(batch).and_then(|raw| raw.records(&mut Decompressor::default())).expect("records");
    let mut group = criterion.benchmark_group("read/100B");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("views", |bencher| {
        bencher.iter(|| {
            set.iter().map(|of| of.offset() as usize + of.value().map_or(0, <[u8]>::len)).sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, record_batch);
criterion_main!(benches);

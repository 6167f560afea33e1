//! Memory on the hot paths, counted: nothing is allocated per record, neither when a batch is indexed nor when one is
//! written, and a hostile batch makes nobody reserve more than its limit.

use aqueduct_protocol::wire::compression::{Compression, CompressionLevel, Compressor, Decompressor};
use aqueduct_protocol::wire::records::{
    BatchBuilder, BatchHeader, BatchOptions, HEADER_LEN, NO_PRODUCER, RawBatch, RecordError, RecordSet,
};
use bytes::Bytes;

const RECORDS: usize = 1000;
const HEADERS: [(&[u8], Option<&[u8]>); 2] = [(b"trace", Some(b"0123456789")), (b"empty", None)];

fn builder(compression: Compression) -> BatchBuilder {
    let options = BatchOptions {
        compression,
        level: CompressionLevel::DEFAULT,
        batch_size: 1 << 20,
        max_record_size: 1 << 20,
    };
    let mut builder = BatchBuilder::new(options);
    builder.reserve();
    builder
}

fn fill(builder: &mut BatchBuilder) {
    for index in 0..RECORDS as i64 {
        let value = [index as u8; 100];
        builder.append(1_760_000_000_000 + index, Some(&value[..8]), Some(&value), &HEADERS).expect("room");
    }
}

fn batch(compression: Compression) -> Bytes {
    let mut builder = builder(compression);
    fill(&mut builder);
    builder.finish(&mut Compressor::new(), NO_PRODUCER).expect("compresses")
}

/// What indexing one batch allocates once the set and the decompressor are warm.
fn index(compression: Compression) -> allocation_counter::AllocationInfo {
    let raw = RawBatch::parse(batch(compression)).expect("a batch");
    let (mut decompressor, mut set) = (Decompressor::default(), RecordSet::empty());
    raw.records_into(&mut decompressor, &mut set).expect("its records");
    allocation_counter::measure(|| {
        raw.verify_crc().expect("its checksum");
        raw.records_into(&mut decompressor, &mut set).expect("its records");
        let bytes: usize = set
            .iter()
            .map(|record| {
                let headers: usize = record
                    .headers()
                    .map(|header| header.key().len() + header.value().map_or(0, <[u8]>::len))
                    .sum();
                headers + record.value().map_or(0, <[u8]>::len)
            })
            .sum();
        assert_eq!(bytes, RECORDS * 120);
    })
}

#[test]
fn indexing_and_reading_allocates_nothing() {
    assert_eq!(index(Compression::None).count_total, 0);
}

#[test]
fn decompressing_allocates_per_batch_not_per_record() {
    for codec in Compression::ALL {
        let info = index(codec);
        // The output and its reference count; a few more where its size has to be found out.
        assert!(info.count_total <= 8, "{codec}: {info:?}");
        assert!(info.bytes_max < 1 << 20, "{codec}: {info:?}");
    }
}

#[test]
fn writing_into_a_warm_builder_allocates_nothing() {
    for codec in Compression::ALL {
        let mut builder = builder(codec);
        let info = allocation_counter::measure(|| fill(&mut builder));
        assert_eq!(info.count_total, 0, "{codec}");
        assert_eq!(builder.record_count(), RECORDS);
    }
}

#[test]
fn finishing_allocates_per_batch_not_per_record() {
    for codec in Compression::ALL {
        let (mut builder, mut compressor) = (builder(codec), Compressor::new());
        fill(&mut builder);
        builder.finish(&mut compressor, NO_PRODUCER).expect("compresses");
        builder.reserve();
        fill(&mut builder);
        let info = allocation_counter::measure(|| {
            builder.finish(&mut compressor, NO_PRODUCER).expect("compresses");
        });
        assert!(info.count_total <= 2, "{codec}: {info:?}");
    }
}

#[test]
fn a_builder_gets_its_memory_back() {
    let (mut builder, mut compressor) = (builder(Compression::None), Compressor::new());
    fill(&mut builder);
    let batch = builder.finish(&mut compressor, NO_PRODUCER).expect("finishes");
    builder.reclaim(batch);
    let info = allocation_counter::measure(|| fill(&mut builder));
    assert_eq!(info.count_total, 0);
}

/// A few hundred bytes that inflate to 64 MiB stop at the limit, whatever they declare.
#[test]
fn bombs_stop_at_the_limit() {
    const LIMIT: usize = 1 << 20;
    let zeros = vec![0; 64 << 20];
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut compressor = Compressor::new();
        let packed = compressor.compress(codec, CompressionLevel::DEFAULT, &zeros).expect("compresses");
        let mut decompressor = Decompressor::new(LIMIT);
        let info = allocation_counter::measure(|| {
            let error = decompressor.decompress(codec, packed).expect_err("too large");
            assert!(error.to_string().contains("limit of 1048576 bytes"), "{error}");
        });
        // Zstandard's context and window come on top of the output.
        assert!(info.bytes_max < 4 * LIMIT as u64, "{codec}: {info:?}");
    }
}

/// A count that the bytes can't hold reserves nothing.
#[test]
fn counts_reserve_nothing_they_can_not_fill() {
    let mut header = BatchHeader::parse(&batch(Compression::None)).expect("a header");
    header.record_count = i32::MAX;
    header.last_offset_delta = i32::MAX - 1;
    header.batch_length = (HEADER_LEN - 12 + 70) as i32;
    let bytes = [&header.to_bytes()[..], &[0; 70]].concat();
    let raw = RawBatch::parse(bytes.into()).expect("a header that agrees with its length");
    let info = allocation_counter::measure(|| {
        let result = raw.records(&mut Decompressor::default());
        assert!(matches!(result, Err(RecordError::InvalidCount { limit: 10, .. })), "{result:?}");
    });
    // The reference count of the slice.
    assert!(info.bytes_total < 100, "{info:?}");
}

//! Round trips and damage: what the builder writes is what the index reads, and nothing else is taken for it.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::compression::{Compression, CompressionLevel, Compressor, Decompressor};

type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

const STAMP: ProducerStamp =
    ProducerStamp { producer_id: 4711, producer_epoch: 3, base_sequence: 17, transactional: true };

pub(super) fn build(compression: Compression, records: &[Owned], stamp: ProducerStamp) -> Bytes {
    let options = BatchOptions {
        compression,
        batch_size: 64 << 20,
        max_record_size: 64 << 20,
        level: CompressionLevel::DEFAULT,
    };
    let mut builder = BatchBuilder::new(options);
    for (index, (timestamp, key, value, headers)) in records.iter().enumerate() {
        let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
        let delta = builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers).unwrap();
        assert_eq!(delta as usize, index);
    }
    builder.finish(&mut Compressor::new(), stamp).unwrap()
}

fn read(batch: Bytes) -> Result<(BatchHeader, Vec<Owned>), RecordError> {
    let raw = RawBatch::parse(batch)?;
    raw.verify_crc()?;
    let set = raw.records(&mut Decompressor::default())?;
    let mut records = Vec::new();
    for (index, record) in set.iter().enumerate() {
        assert_eq!(record.offset(), raw.header.base_offset + index as i64);
        let headers: Vec<_> = record
            .headers()
            .map(|header| (header.key().into_owned(), header.value().map(<[u8]>::to_vec)))
            .collect();
        assert_eq!(headers.len(), record.header_count());
        records.push((
            record.timestamp(),
            record.key().map(<[u8]>::to_vec),
            record.value().map(<[u8]>::to_vec),
            headers,
        ));
    }
    Ok((raw.header, records))
}

fn sample(count: usize) -> Vec<Owned> {
    (0..count)
        .map(|index| {
            let headers = match index % 3 {
                0 => vec![],
                1 => vec![("trace".to_owned(), Some(b"abc".to_vec())), ("trace".to_owned(), None)],
                _ => vec![(String::new(), Some(vec![])), ("ключ".to_owned(), Some(vec![0xff]))],
            };
            (
                1_700_000_000_000 + index as i64 * 7 % 50 - 20,
                (index % 4 != 0).then(|| format!("key-{index}").into_bytes()),
                (index % 5 != 0).then(|| format!("value {index} ").repeat(index % 11).into_bytes()),
                headers,
            )
        })
        .collect()
}

#[test]
fn round_trip_with_every_codec() {
    for codec in Compression::ALL {
        for count in [1, 2, 100, 3000] {
            let records = sample(count);
            let (header, back) = read(build(codec, &records, STAMP)).unwrap();
            assert_eq!(back, records, "{codec} {count}");
            assert_eq!(header.attributes.compression(), Some(codec));
            assert!(header.attributes.is_transactional() && !header.attributes.is_control());
            assert_eq!(
                (header.producer_id, header.producer_epoch, header.base_sequence),
                (STAMP.producer_id, STAMP.producer_epoch, STAMP.base_sequence)
            );
            assert_eq!(header.record_count as usize, count);
            assert_eq!(header.max_timestamp, records.iter().map(|record| record.0).max().unwrap());
        }
    }
}

#[test]
fn every_flipped_byte_is_an_error_or_the_same_data() {
    for codec in Compression::ALL {
        let records = sample(12);
        let batch = build(codec, &records, STAMP);
        for at in 0..batch.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = batch.to_vec();
                bytes[at] ^= mask;
                match read(Bytes::from(bytes)) {
                    Err(_) => {}
                    // Base offset and leader epoch lie outside the checksum: brokers rewrite them.
                    Ok((_, back)) => {
                        assert!(matches!(at, 0..8 | 12..16), "{codec}: byte {at} passed");
                        assert_eq!(back, records);
                    }
                }
            }
        }
    }
}

#[test]
fn flips_that_a_wrong_checksum_does_not_hide_never_panic() {
    for codec in Compression::ALL {
        let batch = build(codec, &sample(12), STAMP);
        let mut decompressor = Decompressor::new(1 << 20);
        for at in 0..batch.len() {
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 0x7f, 0xff] {
                let mut bytes = batch.to_vec();
                bytes[at] ^= mask;
                let Ok(raw) = RawBatch::parse(Bytes::from(bytes)) else { continue };
                if let Ok(set) = raw.records(&mut decompressor) {
                    assert_eq!(set.len(), raw.header.record_count as usize);
                    for record in &set {
                        let read: Vec<_> = record.headers().map(|header| header.key()).collect();
                        assert_eq!(read.len(), record.header_count());
                    }
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    for codec in Compression::ALL {
        let batch = build(codec, &sample(12), STAMP);
        for len in 0..batch.len() {
            let cut = batch.slice(..len);
            assert!(matches!(RawBatch::parse(cut.clone()), Err(RecordError::Truncated { .. })));
            let mut iter = batches(cut);
            assert!(iter.next().is_none());
            assert_eq!(iter.remainder(), len);
            assert_eq!(iter.finish().is_err(), len > 0);
            // The same cut with a header that agrees to it and a right checksum.
            if len >= HEADER_LEN {
                let mut bytes = batch[..len].to_vec();
                let mut header = BatchHeader::parse(&bytes).unwrap();
                header.batch_length = (len - LENGTH_END) as i32;
                builder::seal(&mut bytes, &header);
                read(Bytes::from(bytes)).expect_err("a batch that lost its end");
            }
        }
    }
}

#[test]
fn iteration_gives_whole_batches_and_keeps_the_rest() {
    let first = build(Compression::None, &sample(3), NO_PRODUCER);
    let second = build(Compression::Zstd, &sample(5), NO_PRODUCER);
    let all = Bytes::from([&first[..], &second[..], &first[..20]].concat());
    let mut iter = batches(all);
    assert_eq!(iter.next().unwrap().unwrap().bytes, first);
    assert_eq!(iter.next().unwrap().unwrap().header.record_count, 5);
    assert!(iter.next().is_none());
    assert_eq!(iter.remainder(), 20);
    let needed = first.len();
    assert_eq!(iter.finish(), Err(RecordError::Truncated { offset: 0, needed, available: 20 }));
}

#[test]
fn counts_are_bounded_before_memory_is_reserved() {
    let mut bytes = build(Compression::None, &sample(3), NO_PRODUCER).to_vec();
    for count in [i32::MAX, -1, 1_000_000, 4] {
        let mut header = BatchHeader::parse(&bytes).unwrap();
        header.record_count = count;
        builder::seal(&mut bytes, &header);
        let result = read(Bytes::from(bytes.clone()));
        assert!(result.is_err(), "{count}: {result:?}");
    }
}

#[test]
fn impossible_offsets_are_refused() {
    let bytes = build(Compression::None, &sample(3), NO_PRODUCER);
    let header = BatchHeader::parse(&bytes).unwrap();
    for (offset, delta) in [(-1, 2), (i64::MIN, 2), (0, -1), (i64::MAX - 2, 2), (i64::MAX, 0)] {
        let changed = BatchHeader { base_offset: offset, last_offset_delta: delta, ..header };
        let error = RecordError::InvalidOffset { offset, delta };
        assert_eq!(BatchHeader::parse(&changed.to_bytes()), Err(error));
    }
    let highest = BatchHeader { base_offset: i64::MAX - 3, ..header };
    assert_eq!(BatchHeader::parse(&highest.to_bytes()).unwrap().next_offset(), i64::MAX);
}

#[test]
fn older_formats_are_named() {
    let mut bytes = build(Compression::None, &sample(1), NO_PRODUCER).to_vec();
    bytes[16] = 1;
    let error = batches(Bytes::from(bytes)).next().unwrap().unwrap_err();
    assert_eq!(error, RecordError::UnsupportedMagic { offset: 0, magic: 1 });
    let text = error.at("orders", 3).to_string();
    assert!(text.starts_with("orders-3: the batch at offset 0 has message format 1"), "{text}");
}

#[test]
fn limits_of_the_builder() {
    let options = BatchOptions { batch_size: 200, max_record_size: 500, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    assert_eq!(
        builder.append(0, None, Some(&[0; 500]), &[]),
        Err(AppendError::TooLarge { size: HEADER_LEN + 500 + 9, limit: 500 })
    );
    assert!(builder.is_empty());
    // The first record is taken even if it is larger than the batch should be.
    builder.append(0, None, Some(&[0; 300]), &[]).unwrap();
    assert!(builder.is_full());
    assert_eq!(builder.append(0, None, None, &[]), Err(AppendError::Full));
    let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).unwrap();
    assert_eq!(read(batch).unwrap().1.len(), 1);
    assert!(builder.is_empty());
    builder.append(5, None, None, &[]).unwrap();
    let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).unwrap();
    assert_eq!(read(batch).unwrap().1, [(5, None, None, vec![])]);
}

/// Around every length at which a number takes one byte more, where the builder also changes its way of writing.
#[test]
fn lengths_at_the_edges() {
    let sizes = [0, 1, 63, 64, 8191, 8192, (1 << 18) - 1, 1 << 18, (1 << 20) - 1, 1 << 20];
    let deltas = [0, 63, 64, -64, -65, 8191, 8192, (1 << 18) - 1, 1 << 18, 1 << 40, i64::MAX, i64::MIN];
    let some = |size: usize| Some(vec![size as u8; size]);
    let mut shapes = vec![(0, None, None)];
    for size in sizes {
        shapes.extend([(1, some(size), None), (2, None, some(size)), (3, some(size), some(64))]);
        shapes.push((4, some(3), some(size)));
    }
    shapes.extend(deltas.map(|delta| (delta, some(70), some(9000))));
    let options = BatchOptions { batch_size: 64 << 20, max_record_size: 64 << 20, ..BatchOptions::default() };
    for count in [1, 64, 8192] {
        for (delta, key, value) in &shapes {
            let mut builder = BatchBuilder::new(options);
            for _ in 0..count {
                builder.append(0, None, None, &[]).unwrap();
            }
            let before = builder.len();
            builder.append(*delta, key.as_deref(), value.as_deref(), &[]).unwrap();
            let size = record_size(*delta, count, key.as_deref(), value.as_deref(), &[]);
            assert_eq!(builder.len() - before, size);
            let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).unwrap();
            let last = read(batch).unwrap().1.pop();
            assert!(last == Some((*delta, key.clone(), value.clone(), vec![])), "{delta} {count}");
        }
    }
}

#[test]
fn restamp_changes_the_producer_and_nothing_else() {
    let records = sample(4);
    let shared = build(Compression::Lz4, &records, STAMP);
    let keep = shared.clone();
    let stamp = ProducerStamp { producer_id: 9, producer_epoch: 1, base_sequence: 0, transactional: true };
    let again = restamp(shared, stamp);
    let (header, back) = read(again).unwrap();
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 1, 0));
    assert_eq!(back, records);
    assert_eq!(read(keep).unwrap().0.producer_id, STAMP.producer_id);
}

#[test]
fn reclaimed_memory_is_used_again() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(0, None, Some(&[1; 1000]), &[]).unwrap();
    let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).unwrap();
    assert_eq!(builder.capacity(), 0);
    builder.reclaim(batch);
    assert!(builder.capacity() >= 1000);
    builder.append(0, None, Some(b"x"), &[]).unwrap();
    let batch = builder.finish(&mut Compressor::new(), NO_PRODUCER).unwrap();
    assert_eq!(read(batch).unwrap().1, [(0, None, Some(b"x".to_vec()), vec![])]);
}

#[test]
fn header_fields_outside_the_checksum() {
    let batch = build(Compression::None, &sample(2), NO_PRODUCER);
    let mut batch = batch.try_into_mut().unwrap();
    set_base_offset(&mut batch, 1 << 40);
    set_leader_epoch(&mut batch, 77);
    let (header, _) = read(batch.freeze()).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1 << 40, 77));
    assert_eq!(header.next_offset(), (1 << 40) + 2);
}

#[test]
fn sets_can_be_cut() {
    let batch = build(Compression::None, &sample(10), NO_PRODUCER);
    let mut set = RawBatch::parse(batch).unwrap().records(&mut Decompressor::default()).unwrap();
    set.advance_to(3);
    assert_eq!((set.len(), set.get(0).unwrap().offset()), (7, 3));
    let head = set.split_to(2);
    assert_eq!(head.iter().map(|record| record.offset()).collect::<Vec<_>>(), [3, 4]);
    set.truncate(3);
    assert_eq!(set.iter().map(|record| record.offset()).collect::<Vec<_>>(), [5, 6, 7]);
    set.advance(9);
    assert!(set.is_empty() && set.get(0).is_none());
}

#[test]
fn control_batches_say_what_they_are() {
    for (kind, epoch) in [(ControlType::Commit, 12), (ControlType::Abort, 0)] {
        let batch = control_batch(5, 2, kind, epoch, 1000, 42);
        let raw = RawBatch::parse(batch).unwrap();
        raw.verify_crc().unwrap();
        assert!(raw.header.attributes.is_control() && raw.header.attributes.is_transactional());
        assert_eq!((raw.header.base_offset, raw.header.producer_id, raw.header.base_sequence), (42, 5, -1));
        let set = raw.records(&mut Decompressor::default()).unwrap();
        let control = control_record(&set.get(0).unwrap());
        assert_eq!(control, Some(ControlRecord { kind, coordinator_epoch: Some(epoch) }));
    }
}

#[test]
fn aborted_transactions_are_hidden_until_their_marker() {
    let data = |producer_id, base_offset| {
        let mut stamp = STAMP;
        stamp.producer_id = producer_id;
        let batch = build(Compression::None, &sample(2), stamp);
        let mut header = BatchHeader::parse(&batch).unwrap();
        header.base_offset = base_offset;
        header
    };
    let marker = |producer_id, kind, offset| {
        BatchHeader::parse(&control_batch(producer_id, 0, kind, 0, 0, offset)).unwrap()
    };
    let aborted = vec![
        AbortedTransaction { producer_id: 1, first_offset: 20 },
        AbortedTransaction { producer_id: 1, first_offset: 10 },
        AbortedTransaction { producer_id: 2, first_offset: 12 },
    ];
    let mut filter = AbortedTransactions::new(aborted);
    assert!(!filter.hides(&data(1, 8), None));
    assert!(filter.hides(&data(1, 10), None));
    assert!(filter.hides(&data(2, 12), None));
    assert!(!filter.hides(&data(3, 14), None));
    assert!(!filter.hides(&marker(1, ControlType::Abort, 16), Some(ControlType::Abort)));
    assert!(!filter.hides(&data(1, 17), None), "a later transaction of the same producer, committed");
    assert!(filter.hides(&data(2, 19), None), "still open");
    assert!(filter.hides(&data(1, 21), None), "its second aborted transaction");
    let mut plain = data(2, 23);
    plain.attributes = Attributes::default();
    assert!(!filter.hides(&plain, None), "not transactional");
}

fn any_record() -> impl Strategy<Value = Owned> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
    let header = (".{0,8}", bytes());
    (any::<i64>(), bytes(), bytes(), proptest::collection::vec(header, 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_appended_is_read(
        records in proptest::collection::vec(any_record(), 1..40),
        codec in proptest::sample::select(Compression::ALL.to_vec()),
    ) {
        let (_, back) = read(build(codec, &records, NO_PRODUCER)).unwrap();
        prop_assert_eq!(back, records);
    }

    #[test]
    fn record_size_is_exact(record in any_record(), delta: i64, offset in 0..i32::MAX) {
        let headers: Vec<_> =
            record.3.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
        let size = record_size(delta, offset, record.1.as_deref(), record.2.as_deref(), &headers);
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(0, record.1.as_deref(), record.2.as_deref(), &headers).unwrap();
        let taken = builder.len() - HEADER_LEN;
        prop_assert!(taken <= size && size <= taken + 9 + 4 + 1);
    }

    #[test]
    fn noise_is_never_a_batch(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for raw in batches(Bytes::from(bytes)).flatten() {
            prop_assert!(raw.verify_crc().is_err());
            let _ = raw.records(&mut Decompressor::new(1 << 16));
        }
    }
}

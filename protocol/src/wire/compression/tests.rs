//! Frames that others write, damage, and the limit.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use super::*;

const PACKED: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn pack(codec: Compression, plain: &[u8]) -> Vec<u8> {
    Compressor::new().compress(codec, CompressionLevel::DEFAULT, plain).unwrap().to_vec()
}

fn unpack(codec: Compression, packed: &[u8]) -> Result<Vec<u8>, CompressionError> {
    Decompressor::default().decompress(codec, packed)
}

/// Text that compresses, longer than every codec's blocks.
fn text(len: usize) -> Vec<u8> {
    (0..)
        .flat_map(|line: u64| {
            format!("line {line} of {}\n", line.wrapping_mul(0x9e37_79b9) % 977).into_bytes()
        })
        .take(len)
        .collect()
}

/// Bytes that don't compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn contexts_can_be_used_again() {
    let mut compressor = Compressor::new();
    let mut decompressor = Decompressor::default();
    for plain in [vec![], b"x".to_vec(), text(300_000), noise(200_000), vec![7; 1 << 20], text(70_000)] {
        for codec in Compression::ALL {
            let packed = compressor.compress(codec, CompressionLevel::DEFAULT, &plain).unwrap();
            assert!(packed.len() <= plain.len() + plain.len() / 100 + 64, "{codec}: {}", packed.len());
            assert!(decompressor.decompress(codec, packed).unwrap() == plain, "{codec} {}", plain.len());
        }
    }
}

#[test]
fn contexts_survive_damaged_input() {
    let plain = text(100_000);
    for codec in PACKED {
        let packed = pack(codec, &plain);
        let mut decompressor = Decompressor::default();
        for damaged in [&packed[..packed.len() / 2], &noise(1000)] {
            decompressor.decompress(codec, damaged).unwrap_err();
            assert!(decompressor.decompress(codec, &packed).unwrap() == plain, "{codec}");
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    for codec in PACKED {
        let packed = pack(codec, &text(1000));
        // A stream of snappy blocks has no end mark; what ends between blocks is found out by the record count.
        let whole = |len| codec == Compression::Snappy && len == 16;
        for len in (0..packed.len()).filter(|len| !whole(*len)) {
            assert!(unpack(codec, &packed[..len]).is_err(), "{codec}: {len} of {}", packed.len());
        }
    }
}

#[test]
fn the_limit_is_exact() {
    for plain in [text(100_000), noise(70_000), vec![0; 1 << 20]] {
        for codec in Compression::ALL {
            let packed = pack(codec, &plain);
            let mut exact = Decompressor::new(plain.len());
            assert!(exact.decompress(codec, &packed).unwrap() == plain, "{codec}");
            let limit = plain.len() - 1;
            let error = Decompressor::new(limit).decompress(codec, &packed).unwrap_err();
            assert_eq!(error, CompressionError::TooLarge { codec, limit });
        }
    }
}

#[test]
fn levels() {
    let plain = text(200_000);
    for (codec, low, high) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -5, 19)] {
        let size = |level| {
            let level = CompressionLevel::new(codec, level).unwrap();
            let packed = Compressor::new().compress(codec, level, &plain).unwrap().to_vec();
            assert!(unpack(codec, &packed).unwrap() == plain);
            packed.len()
        };
        assert!(size(high) < size(low), "{codec}");
    }
    assert_eq!(CompressionLevel::new(Compression::Gzip, -1), Some(CompressionLevel::DEFAULT));
    assert_eq!(CompressionLevel::new(Compression::Gzip, 10), None);
    assert_eq!(CompressionLevel::new(Compression::Zstd, 23), None);
    assert_eq!(CompressionLevel::new(Compression::Lz4, 0), None);
    assert_eq!(CompressionLevel::new(Compression::Snappy, 1), None);
}

#[test]
fn ids_and_names() {
    for (id, codec) in (0..).zip(Compression::ALL) {
        assert_eq!((codec.id(), Compression::from_id(id)), (id, Some(codec)));
        assert_eq!(Compression::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Compression::from_id(5), None);
    assert_eq!(Compression::from_name("producer"), None);
}

#[test]
fn gzip_with_several_members_and_every_header_field() {
    let plain = text(5000);
    let mut packed = flate2::GzBuilder::new()
        .filename("name")
        .comment("a comment")
        .extra(vec![1, 2, 3])
        .mtime(99)
        .write(Vec::new(), flate2::Compression::fast());
    packed.write_all(&plain).unwrap();
    let first = packed.finish().unwrap();
    let twice = [&first[..], &pack(Compression::Gzip, &plain)].concat();
    assert!(unpack(Compression::Gzip, &twice).unwrap() == [&plain[..], &plain].concat());
    let mut wrong = first.clone();
    let sum = wrong.len() - 8;
    wrong[sum] ^= 1;
    assert!(matches!(unpack(Compression::Gzip, &wrong), Err(CompressionError::Corrupt { .. })));
    let trailing = [&first[..], b"x"].concat();
    assert!(unpack(Compression::Gzip, &trailing).is_err());
}

#[test]
fn snappy_bare_and_in_several_streams() {
    let plain = text(150_000);
    let bare = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert!(unpack(Compression::Snappy, &bare).unwrap() == plain);
    let framed = pack(Compression::Snappy, &plain);
    assert!(framed.starts_with(&[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1]));
    let twice = [&framed[..], &framed].concat();
    assert!(unpack(Compression::Snappy, &twice).unwrap() == [&plain[..], &plain].concat());
    // Declares 4 GiB in ten bytes.
    let boast = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0];
    assert!(unpack(Compression::Snappy, &boast).is_err());
}

#[test]
fn lz4_with_everything_the_format_has() {
    let plain = text(700_000);
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for extras in [false, true] {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(extras)
                    .content_checksum(extras)
                    .content_size(extras.then_some(plain.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&plain).unwrap();
                let packed = encoder.finish().unwrap();
                assert!(unpack(Compression::Lz4, &packed).unwrap() == plain, "{mode:?} {size:?} {extras}");
                if extras {
                    for at in [packed.len() - 1, packed.len() / 2, 6] {
                        let mut wrong = packed.clone();
                        wrong[at] ^= 4;
                        assert!(unpack(Compression::Lz4, &wrong).is_err(), "byte {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn lz4_frames_of_ours_are_frames() {
    let plain = [text(100_000), noise(100_000)].concat();
    let packed = pack(Compression::Lz4, &plain);
    let mut back = Vec::new();
    std::io::Read::read_to_end(&mut lz4_flex::frame::FrameDecoder::new(&packed[..]), &mut back).unwrap();
    assert!(back == plain);
    // As the JVM's clients begin theirs.
    assert_eq!(packed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
}

#[test]
fn zstd_streams_without_a_size_and_in_several_frames() {
    let plain = text(300_000);
    let streamed = zstd_streamed(&plain);
    assert!(unpack(Compression::Zstd, &streamed).unwrap() == plain);
    let skippable = [&0x184d_2a50u32.to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
    let several = [&streamed[..], &skippable, &pack(Compression::Zstd, &plain)].concat();
    assert!(unpack(Compression::Zstd, &several).unwrap() == [&plain[..], &plain].concat());
    assert!(unpack(Compression::Zstd, &[&streamed[..], b"x"].concat()).is_err());
}

/// As the JVM writes it: a stream that doesn't know its length.
fn zstd_streamed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    for chunk in plain.chunks(10_000) {
        encoder.write_all(chunk).unwrap();
    }
    encoder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn round_trip(
        plain in proptest::collection::vec(any::<u8>(), 0..2000), repeat in 1..200usize,
    ) {
        let plain = plain.repeat(repeat);
        for codec in PACKED {
            prop_assert!(unpack(codec, &pack(codec, &plain)).unwrap() == plain);
        }
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300), keep in 0..40usize) {
        let mut decompressor = Decompressor::new(1 << 16);
        for codec in PACKED {
            let head = pack(codec, b"some text some text some text");
            let bytes = [&head[..keep.min(head.len())], &noise].concat();
            if let Ok(out) = decompressor.decompress(codec, &bytes) {
                prop_assert!(out.len() <= 1 << 16);
            }
        }
    }
}

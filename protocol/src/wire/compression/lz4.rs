//! The LZ4 frame format, as batches of magic 2 carry it.
//!
//! Written as the JVM's clients do: independent blocks of 64 KiB without checksums (a batch has its CRC). Read with
//! everything the format allows but dictionaries.

use std::hash::Hasher;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::{Compression, CompressionError, GUESSED_RATIO, Output};

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
/// Version 1, independent blocks, no checksums, no content size.
const FLAGS: u8 = 0x60;
/// Blocks of 64 KiB.
const BLOCK_DESCRIPTOR: u8 = 0x40;
/// Second byte of xxHash32 of `FLAGS` and `BLOCK_DESCRIPTOR`.
const HEADER_CHECKSUM: u8 = 0x82;
const BLOCK: usize = 64 * 1024;
const LEN: usize = 4;
const STORED: u32 = 1 << 31;
/// How far back a linked block may refer.
const WINDOW: usize = 64 * 1024;

const VERSION_MASK: u8 = 0xc0;
const VERSION: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 1 << 5;
const FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
const FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const FLAGS_UNSUPPORTED: u8 = 0b11;

pub(super) struct Encoder {
    table: CompressTable,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { table: CompressTable::large() }
    }
}

impl Encoder {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FLAGS, BLOCK_DESCRIPTOR, HEADER_CHECKSUM]);
        for block in input.chunks(BLOCK) {
            let start = out.len();
            out.resize(start + LEN + get_maximum_output_size(block.len()), 0);
            let len = compress_into_with_table(block, &mut out[start + LEN..], &mut self.table).map_err(
                |error| CompressionError::Compress { codec: Compression::Lz4, what: error.to_string() },
            )?;
            let (len, mark) = if len < block.len() {
                (len, len as u32)
            } else {
                out[start + LEN..start + LEN + block.len()].copy_from_slice(block);
                (block.len(), block.len() as u32 | STORED)
            };
            out[start..start + LEN].copy_from_slice(&mark.to_le_bytes());
            out.truncate(start + LEN + len);
        }
        out.extend_from_slice(&0u32.to_le_bytes());
        Ok(())
    }
}

struct Frame {
    flags: u8,
    block_max: usize,
    content_size: Option<u64>,
}

pub(super) fn decompress(input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    let mut rest = input;
    loop {
        rest = frame(rest, out)?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

fn frame<'a>(input: &'a [u8], out: &mut Output) -> Result<&'a [u8], CompressionError> {
    let (frame, mut rest) = header(input, out)?;
    let start = out.bytes.len();
    match frame.content_size {
        Some(size) if size > out.limit as u64 => return Err(out.too_large()),
        // LZ4 can't shrink more than 255 to 1, so no more is believed.
        Some(size) => out.reserve_hint((size as usize).min(rest.len().saturating_mul(255))),
        None => out.reserve_hint(rest.len().saturating_mul(GUESSED_RATIO)),
    }
    loop {
        let mark = take::<LEN>(&mut rest, out, "a block's length")?;
        let mark = u32::from_le_bytes(mark);
        if mark == 0 {
            break;
        }
        let len = (mark & !STORED) as usize;
        if len > frame.block_max {
            return Err(out.corrupt("a block is longer than its frame allows"));
        }
        let data = rest.get(..len).ok_or_else(|| out.truncated("a block"))?;
        rest = &rest[len..];
        if frame.flags & FLAG_BLOCK_CHECKSUM != 0 {
            let sum = take::<4>(&mut rest, out, "a block's checksum")?;
            if u32::from_le_bytes(sum) != xxh32(data) {
                return Err(out.corrupt("checksum of a block doesn't match"));
            }
        }
        if mark & STORED != 0 {
            out.reserve(len)?;
            out.bytes.extend_from_slice(data);
        } else {
            block(data, &frame, start, out)?;
        }
    }
    if frame.content_size.is_some_and(|size| size != (out.bytes.len() - start) as u64) {
        return Err(out.corrupt("the content hasn't the size that its frame declares"));
    }
    if frame.flags & FLAG_CONTENT_CHECKSUM != 0 {
        let sum = take::<4>(&mut rest, out, "the content's checksum")?;
        if u32::from_le_bytes(sum) != xxh32(&out.bytes[start..]) {
            return Err(out.corrupt("checksum of the content doesn't match"));
        }
    }
    Ok(rest)
}

fn block(data: &[u8], frame: &Frame, start: usize, out: &mut Output) -> Result<(), CompressionError> {
    let at = out.bytes.len();
    // What LZ4 can make of this block, the frame's block size and the limit: the least of the three.
    let room = frame.block_max.min(data.len().saturating_mul(255)).min(out.limit - at);
    out.reserve(room)?;
    out.bytes.resize(at + room, 0);
    let (before, target) = out.bytes.split_at_mut(at);
    let written = if frame.flags & FLAG_INDEPENDENT != 0 {
        decompress_into(data, target)
    } else {
        decompress_into_with_dict(data, target, &before[start.max(at.saturating_sub(WINDOW))..])
    };
    match written {
        Ok(written) => {
            out.bytes.truncate(at + written);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if at + room == out.limit => {
            Err(out.too_large())
        }
        Err(error) => Err(out.corrupt(error)),
    }
}

fn header<'a>(input: &'a [u8], out: &Output) -> Result<(Frame, &'a [u8]), CompressionError> {
    let mut rest = input;
    if take::<4>(&mut rest, out, "the frame header")? != MAGIC {
        return Err(out.corrupt("not an LZ4 frame"));
    }
    let descriptor = rest;
    let [flags, block_descriptor] = take::<2>(&mut rest, out, "the frame header")?;
    if flags & VERSION_MASK != VERSION || flags & FLAGS_UNSUPPORTED != 0 {
        return Err(out.corrupt("a frame of an unsupported version or with a dictionary"));
    }
    let block_max = match block_descriptor {
        0x40 => 64 << 10,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        _ => return Err(out.corrupt("a frame with an unknown block size")),
    };
    let content_size = if flags & FLAG_CONTENT_SIZE != 0 {
        Some(u64::from_le_bytes(take::<8>(&mut rest, out, "the frame header")?))
    } else {
        None
    };
    let checked = xxh32(&descriptor[..descriptor.len() - rest.len()]);
    let [checksum] = take::<1>(&mut rest, out, "the frame header")?;
    if checksum != (checked >> 8) as u8 {
        return Err(out.corrupt("checksum of the frame header doesn't match"));
    }
    Ok((Frame { flags, block_max, content_size }, rest))
}

fn take<const N: usize>(
    rest: &mut &[u8],
    out: &Output,
    what: &'static str,
) -> Result<[u8; N], CompressionError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or_else(|| out.truncated(what))?;
    *rest = tail;
    Ok(*head)
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hash = XxHash32::with_seed(0);
    hash.write(bytes);
    hash.finish() as u32
}

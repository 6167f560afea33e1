//! RFC 1952 around zlib-rs' raw deflate; the checksum is taken by hardware.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Compression, CompressionError, CompressionLevel, Output};
use crate::wire::crc::crc32;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_LEN: usize = 10;
const TRAILER_LEN: usize = 8;
const DEFAULT_LEVEL: u32 = 6;
/// Deflate can't do better than this.
const MAX_RATIO: usize = 1032;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

#[derive(Default)]
pub(super) struct Encoder {
    context: Option<(u32, Compress)>,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        level: CompressionLevel,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let level = level.get().map_or(DEFAULT_LEVEL, |level| level.clamp(1, 9) as u32);
        let context = match &mut self.context {
            Some((of, context)) if *of == level => context,
            other => &mut other.insert((level, Compress::new(flate2::Compression::new(level), false))).1,
        };
        context.reset();
        out.extend_from_slice(&[MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, 0xff]);
        loop {
            let done = context.total_in() as usize;
            let rest = &input[done..];
            // Deflate stores what it can't shrink, five bytes for each block of at least 16 KiB.
            out.reserve(rest.len() / 2 + rest.len() / 1024 + 64);
            match context.compress_vec(rest, out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                Ok(_) => {}
                Err(error) => {
                    return Err(CompressionError::Compress {
                        codec: Compression::Gzip,
                        what: error.to_string(),
                    });
                }
            }
        }
        out.extend_from_slice(&crc32(input).to_le_bytes());
        out.extend_from_slice(&(input.len() as u32).to_le_bytes());
        Ok(())
    }
}

pub(super) struct Decoder {
    context: Decompress,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { context: Decompress::new(false) }
    }
}

impl Decoder {
    /// All members of `input`, one after the other, as the JVM's `GZIPInputStream` reads them.
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
        if let Some(size) = input.last_chunk::<4>() {
            // The trailer tells the size; believed only as far as deflate could have made it.
            let size = u32::from_le_bytes(*size) as usize;
            out.reserve_hint(size.min(input.len().saturating_mul(MAX_RATIO)));
        }
        let mut rest = input;
        loop {
            rest = self.member(rest, out)?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    fn member<'a>(&mut self, input: &'a [u8], out: &mut Output) -> Result<&'a [u8], CompressionError> {
        let body = skip_header(input, out)?;
        let start = out.bytes.len();
        self.context.reset(false);
        loop {
            let consumed = self.context.total_in() as usize;
            let written = out.bytes.len();
            let rest = body.get(consumed..).unwrap_or_default();
            let status = self
                .context
                .decompress_vec(rest, &mut out.bytes, FlushDecompress::Finish)
                .map_err(|error| out.corrupt(error))?;
            if out.over_limit() {
                return Err(out.too_large());
            }
            if matches!(status, Status::StreamEnd) {
                break;
            }
            if out.is_full() {
                out.grow()?;
            } else if self.context.total_in() as usize == consumed && out.bytes.len() == written {
                return Err(out.truncated("a deflate stream"));
            }
        }
        let rest = body.get(self.context.total_in() as usize..).unwrap_or_default();
        let (trailer, rest) =
            rest.split_first_chunk::<TRAILER_LEN>().ok_or_else(|| out.truncated("the trailer"))?;
        let plain = &out.bytes[start..];
        let sum = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
        let size = u32::from_le_bytes([trailer[4], trailer[5], trailer[6], trailer[7]]);
        if sum != crc32(plain) || size != plain.len() as u32 {
            return Err(out.corrupt("checksum or size of the trailer don't match"));
        }
        Ok(rest)
    }
}

fn skip_header<'a>(input: &'a [u8], out: &Output) -> Result<&'a [u8], CompressionError> {
    let (header, mut rest) =
        input.split_first_chunk::<HEADER_LEN>().ok_or_else(|| out.truncated("the header"))?;
    let flags = header[3];
    if header[..2] != MAGIC || header[2] != DEFLATE || flags & FLAGS_RESERVED != 0 {
        return Err(out.corrupt("not a gzip header"));
    }
    if flags & FLAG_EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>().ok_or_else(|| out.truncated("the header"))?;
        rest = after
            .get(usize::from(u16::from_le_bytes(*len))..)
            .ok_or_else(|| out.truncated("the header's extra field"))?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = memchr::memchr(0, rest).ok_or_else(|| out.truncated("the header's text"))?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let (sum, after) = rest.split_first_chunk::<2>().ok_or_else(|| out.truncated("the header"))?;
        let header = &input[..input.len() - rest.len()];
        if u16::from_le_bytes(*sum) != crc32(header) as u16 {
            return Err(out.corrupt("checksum of the header doesn't match"));
        }
        rest = after;
    }
    Ok(rest)
}

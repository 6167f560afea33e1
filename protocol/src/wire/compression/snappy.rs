//! Snappy in the frame of snappy-java ("xerial"), as the JVM's clients write it: a 16-byte header, then blocks of
//! raw snappy, each behind its length. Bare snappy, as some other clients write it, is read too.

use super::{Compression, CompressionError, Output};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_LEN: usize = 16;
/// The frame's version, and the oldest version that can read it.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Plain bytes in a block; snappy looks no farther back than this.
const BLOCK: usize = 64 * 1024;
const LEN: usize = 4;
/// Snappy's copies give at most 64 bytes for 2 or 3 of input; its declared size is believed only as far as that.
const MAX_RATIO: usize = 32;

pub(super) struct Encoder {
    context: snap::raw::Encoder,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { context: snap::raw::Encoder::new() }
    }
}

impl Encoder {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSIONS);
        for block in input.chunks(BLOCK) {
            let start = out.len();
            out.resize(start + LEN + snap::raw::max_compress_len(block.len()), 0);
            let len = self.context.compress(block, &mut out[start + LEN..]).map_err(|error| {
                CompressionError::Compress { codec: Compression::Snappy, what: error.to_string() }
            })?;
            out[start..start + LEN].copy_from_slice(&(len as u32).to_be_bytes());
            out.truncate(start + LEN + len);
        }
        Ok(())
    }
}

pub(super) struct Decoder {
    context: snap::raw::Decoder,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { context: snap::raw::Decoder::new() }
    }
}

impl Decoder {
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
        if input.is_empty() {
            return Err(out.truncated("the header"));
        }
        if !input.starts_with(&MAGIC) {
            return self.block(input, out);
        }
        let mut rest = input.get(HEADER_LEN..).ok_or_else(|| out.truncated("the header"))?;
        while !rest.is_empty() {
            // A stream may be several streams put together, each with its header.
            if rest.starts_with(&MAGIC) {
                rest = rest.get(HEADER_LEN..).ok_or_else(|| out.truncated("the header"))?;
                continue;
            }
            let (len, after) =
                rest.split_first_chunk::<LEN>().ok_or_else(|| out.truncated("a block's length"))?;
            let len = u32::from_be_bytes(*len) as usize;
            let block = after.get(..len).ok_or_else(|| out.truncated("a block"))?;
            self.block(block, out)?;
            rest = &after[len..];
        }
        Ok(())
    }

    fn block(&mut self, block: &[u8], out: &mut Output) -> Result<(), CompressionError> {
        let size = snap::raw::decompress_len(block).map_err(|error| out.corrupt(error))?;
        if size > block.len().saturating_mul(MAX_RATIO) {
            return Err(out.corrupt("a block declares more than snappy can hold"));
        }
        out.reserve(size)?;
        let start = out.bytes.len();
        out.bytes.resize(start + size, 0);
        let written = self
            .context
            .decompress(block, &mut out.bytes[start..])
            .map_err(|error| CompressionError::corrupt(Compression::Snappy, error))?;
        out.bytes.truncate(start + written);
        Ok(())
    }
}

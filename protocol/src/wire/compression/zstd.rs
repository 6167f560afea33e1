//! Zstandard by its reference implementation, with contexts kept between batches.

use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
use zstd::{bulk, stream::raw, zstd_safe};

use super::{Compression, CompressionError, CompressionLevel, GUESSED_RATIO, Output};

const DEFAULT_LEVEL: i32 = 3;
/// A frame's declared size is believed only as far as this times its length, unless the data keeps coming.
const BELIEVED_RATIO: usize = 256;

#[derive(Default)]
pub(super) struct Encoder {
    context: Option<(i32, bulk::Compressor<'static>)>,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        level: CompressionLevel,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let failed = |error: std::io::Error| CompressionError::Compress {
            codec: Compression::Zstd,
            what: error.to_string(),
        };
        let level = level.get().unwrap_or(DEFAULT_LEVEL);
        let context = match &mut self.context {
            Some((of, context)) if *of == level => context,
            other => &mut other.insert((level, bulk::Compressor::new(level).map_err(failed)?)).1,
        };
        out.reserve(zstd::compress_bound(input.len()));
        context.compress_to_buffer(input, out).map_err(failed)?;
        Ok(())
    }
}

pub(super) struct Decoder {
    context: raw::Decoder<'static>,
}

impl Decoder {
    pub(super) fn new() -> Result<Self, CompressionError> {
        let context =
            raw::Decoder::new().map_err(|error| CompressionError::corrupt(Compression::Zstd, error))?;
        Ok(Self { context })
    }

    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
        let believed = input.len().saturating_mul(BELIEVED_RATIO);
        match zstd_safe::get_frame_content_size(input) {
            Ok(Some(size)) if size > out.limit as u64 => return Err(out.too_large()),
            Ok(Some(size)) => out.reserve_hint((size as usize).min(believed)),
            // The JVM streams, so its frames don't tell.
            _ => out.reserve_hint(input.len().saturating_mul(GUESSED_RATIO)),
        }
        self.context.reinit().map_err(|error| out.corrupt(error))?;
        let mut source = InBuffer::around(input);
        loop {
            let (consumed, written) = (source.pos(), out.bytes.len());
            let mut target = OutBuffer::around_pos(&mut out.bytes, written);
            let hint = self
                .context
                .run(&mut source, &mut target)
                .map_err(|error| CompressionError::corrupt(Compression::Zstd, error))?;
            if out.over_limit() {
                return Err(out.too_large());
            }
            let at_end = source.pos() == input.len();
            if hint == 0 && at_end {
                return Ok(());
            }
            if out.is_full() {
                out.grow()?;
            } else if source.pos() == consumed && out.bytes.len() == written {
                return Err(out.truncated("a frame"));
            }
        }
    }
}

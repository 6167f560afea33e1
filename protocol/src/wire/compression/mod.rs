//! The codecs of record batches: none, gzip, snappy, lz4 and zstd.
//!
//! A [`Compressor`] and a [`Decompressor`] keep their contexts and tables between batches. A decompressor never
//! gives more than its limit: what a batch inflates to is chosen by whoever wrote it, so it is bounded here before
//! memory is reserved.

mod gzip;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

use thiserror::Error;

/// Most bytes one batch may inflate to unless the caller says otherwise: 128 MiB.
pub const DEFAULT_DECOMPRESSED_LIMIT: usize = 128 << 20;

/// What an output buffer starts with when the codec doesn't tell how much will come: this times the input.
const GUESSED_RATIO: usize = 4;

/// A codec of Kafka's `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the frame of snappy-java ("xerial"); raw snappy is understood when reading.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878 (KIP-110).
    Zstd,
}

impl Compression {
    /// Every codec, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this id in a batch's attributes (bits 0 to 2).
    #[must_use]
    pub const fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The codec of this name in `compression.type`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The id in a batch's attributes.
    #[must_use]
    pub const fn id(self) -> i8 {
        self as i8
    }

    /// The name in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The levels that `compression.<type>.level` allows (KIP-390), `None` for codecs without levels.
    /// Gzip's default of -1 is allowed besides.
    #[must_use]
    pub const fn levels(self) -> Option<std::ops::RangeInclusive<i32>> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(1..=9),
            Self::Lz4 => Some(1..=17),
            Self::Zstd => Some(-131_072..=22),
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The level of a codec, `compression.gzip.level`, `compression.lz4.level` and `compression.zstd.level` (KIP-390).
///
/// The default is each codec's own: gzip 6, zstd 3. LZ4 has one speed here, the fast one, whatever the level
/// says: its levels choose how hard to search for matches, not a different format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompressionLevel(Option<i32>);

impl CompressionLevel {
    /// The codec's default level.
    pub const DEFAULT: Self = Self(None);

    /// `level` if `codec` has it. Gzip's -1 is its default.
    #[must_use]
    pub fn new(codec: Compression, level: i32) -> Option<Self> {
        if codec == Compression::Gzip && level == -1 {
            return Some(Self::DEFAULT);
        }
        codec.levels()?.contains(&level).then_some(Self(Some(level)))
    }

    /// The level, where one was chosen.
    #[must_use]
    pub const fn get(self) -> Option<i32> {
        self.0
    }
}

/// Why bytes could not be compressed or decompressed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressionError {
    /// The output would be more than the limit.
    #[error("{codec} data inflates to more than the limit of {limit} bytes")]
    TooLarge {
        /// The codec.
        codec: Compression,
        /// The limit in bytes.
        limit: usize,
    },
    /// The input ends before the codec's frame does.
    #[error("{codec} data ends in the middle of {what}")]
    Truncated {
        /// The codec.
        codec: Compression,
        /// The part that is cut off.
        what: &'static str,
    },
    /// The input isn't what the codec makes.
    #[error("{codec} data is corrupt: {what}")]
    Corrupt {
        /// The codec.
        codec: Compression,
        /// What is wrong.
        what: String,
    },
    /// The codec itself failed, for want of memory or by a wrong level.
    #[error("{codec} can't compress: {what}")]
    Compress {
        /// The codec.
        codec: Compression,
        /// The codec's words.
        what: String,
    },
}

impl CompressionError {
    fn corrupt(codec: Compression, what: impl std::fmt::Display) -> Self {
        Self::Corrupt { codec, what: what.to_string() }
    }
}

/// Compresses batches; keeps the codecs' tables and contexts.
#[derive(Default)]
pub struct Compressor {
    gzip: Option<gzip::Encoder>,
    snappy: Option<snappy::Encoder>,
    lz4: Option<lz4::Encoder>,
    zstd: Option<zstd::Encoder>,
    output: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("buffered", &self.output.capacity()).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor; a codec's context is made when it is first used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses `input`; the result stays in this compressor until the next call.
    ///
    /// # Errors
    /// [`CompressionError::Compress`] if the codec fails, which takes a level it doesn't have or a lack of memory.
    pub fn compress(
        &mut self,
        codec: Compression,
        level: CompressionLevel,
        input: &[u8],
    ) -> Result<&[u8], CompressionError> {
        let out = &mut self.output;
        out.clear();
        match codec {
            Compression::None => out.extend_from_slice(input),
            Compression::Gzip => self.gzip.get_or_insert_default().compress(level, input, out)?,
            Compression::Snappy => self.snappy.get_or_insert_default().compress(input, out)?,
            Compression::Lz4 => self.lz4.get_or_insert_default().compress(input, out)?,
            Compression::Zstd => self.zstd.get_or_insert_default().compress(level, input, out)?,
        }
        Ok(&self.output)
    }
}

/// Decompresses batches within a limit; keeps the codecs' contexts.
pub struct Decompressor {
    limit: usize,
    gzip: Option<gzip::Decoder>,
    snappy: Option<snappy::Decoder>,
    zstd: Option<zstd::Decoder>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new(DEFAULT_DECOMPRESSED_LIMIT)
    }
}

impl Decompressor {
    /// A decompressor that refuses to give more than `limit` bytes for one batch.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, gzip: None, snappy: None, zstd: None }
    }

    /// The most bytes that one batch may inflate to.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Decompresses `input` into a buffer of its own.
    ///
    /// # Errors
    /// [`CompressionError::TooLarge`] past the limit, and typed errors for whatever isn't the codec's data.
    pub fn decompress(&mut self, codec: Compression, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let mut out = Output { bytes: Vec::new(), limit: self.limit, codec };
        match codec {
            Compression::None => {
                out.reserve(input.len())?;
                out.bytes.extend_from_slice(input);
            }
            Compression::Gzip => self.gzip.get_or_insert_default().decompress(input, &mut out)?,
            Compression::Snappy => self.snappy.get_or_insert_default().decompress(input, &mut out)?,
            Compression::Lz4 => lz4::decompress(input, &mut out)?,
            Compression::Zstd => match &mut self.zstd {
                Some(decoder) => decoder.decompress(input, &mut out)?,
                none => none.insert(zstd::Decoder::new()?).decompress(input, &mut out)?,
            },
        }
        Ok(out.bytes)
    }
}

/// Decompressed bytes with the limit they must stay within.
struct Output {
    bytes: Vec<u8>,
    limit: usize,
    codec: Compression,
}

impl Output {
    fn too_large(&self) -> CompressionError {
        CompressionError::TooLarge { codec: self.codec, limit: self.limit }
    }

    fn corrupt(&self, what: impl std::fmt::Display) -> CompressionError {
        CompressionError::corrupt(self.codec, what)
    }

    fn truncated(&self, what: &'static str) -> CompressionError {
        CompressionError::Truncated { codec: self.codec, what }
    }

    /// Makes room for exactly `more` bytes, which are known to come.
    fn reserve(&mut self, more: usize) -> Result<(), CompressionError> {
        let total = self.bytes.len().saturating_add(more);
        if total > self.limit {
            return Err(self.too_large());
        }
        if total > self.bytes.capacity() {
            // Doubling keeps the copying linear when the size comes piece by piece.
            let target = total.max(self.bytes.capacity() * 2).min(self.limit);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        Ok(())
    }

    /// Room to start with, `hint` being a guess that nobody vouches for.
    fn reserve_hint(&mut self, hint: usize) {
        self.bytes.reserve_exact(hint.min(self.limit));
    }

    /// More room because the codec filled what there was.
    fn grow(&mut self) -> Result<(), CompressionError> {
        const SMALLEST_STEP: usize = 4096;
        let left = self.limit - self.bytes.len();
        if left == 0 {
            return Err(self.too_large());
        }
        self.bytes.reserve_exact(self.bytes.len().max(SMALLEST_STEP).min(left));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes.len() == self.bytes.capacity()
    }

    fn over_limit(&self) -> bool {
        self.bytes.len() > self.limit
    }
}

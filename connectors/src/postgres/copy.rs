//! Rows of a binary COPY within the blocks that arrive.

use std::ops::Range;

use aqueduct_engine::data::Batch;
use bytes::Bytes;

use super::Block;

/// What a binary COPY begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Column count that ends the data.
const TRAILER: [u8; 2] = [0xFF, 0xFF];

/// Where the rows of a block are: each begins with its column count.
pub(crate) fn copy_rows(block: &Block) -> impl Iterator<Item = Range<u32>> + '_ {
    block.messages.iter().filter_map(|message| {
        let content = block.bytes.get(message.start as usize..message.end as usize).unwrap_or_default();
        let start = if content.starts_with(SIGNATURE) { header_length(content) } else { 0 };
        let row = content.get(start as usize..).unwrap_or_default();
        (row.len() >= 2 && !row.starts_with(&TRAILER)).then_some(message.start + start..message.end)
    })
}

/// Signature, flags and extension.
fn header_length(content: &[u8]) -> u32 {
    let fixed = SIGNATURE.len() + 4;
    let extension = content
        .get(fixed..fixed + 4)
        .map_or(0, |word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    (fixed as u32 + 4).saturating_add(extension).min(content.len() as u32)
}

/// The segment of a buffer, which mostly is the last one.
pub(crate) fn segment(batch: &mut Batch, bytes: &Bytes) -> u16 {
    let known = batch
        .segments
        .iter()
        .rposition(|segment| segment.as_ptr() == bytes.as_ptr() && segment.len() == bytes.len());
    known.map_or_else(|| batch.add_segment(bytes.clone()), |index| index as u16 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_trailer_are_no_rows() {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 9]); // flags, an extension of one byte
        let first = bytes.len() as u32;
        bytes.extend_from_slice(b"\0\0");
        let end = bytes.len() as u32;
        bytes.extend_from_slice(b"\0\x01\xff\xff\xff\xff\xff\xff");
        let block = Block {
            bytes: bytes.into(),
            messages: vec![0..end, end..end + 6, end + 6..end + 8],
            ..Block::default()
        };
        assert_eq!(copy_rows(&block).collect::<Vec<_>>(), [first..end, end..end + 6]);
    }
}

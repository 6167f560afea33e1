//! What stands before a field of an object.

use super::write::quoted;

/// What precedes a field's value: comma, quoted name, colon. Short ones lie in a block of fixed length, which is copied
/// without a call.
#[derive(Debug)]
pub(in crate::converter) struct Lead {
    block: [u8; Lead::BLOCK],
    /// Bytes of it; 0 where the lead is too long for the block.
    short: usize,
    pub(super) whole: Box<[u8]>,
}

impl Lead {
    const BLOCK: usize = 32;

    /// `before`, the name and a colon.
    pub(in crate::converter) fn new(before: &[u8], name: &str) -> Self {
        let mut whole = before.to_vec();
        quoted(name.as_bytes(), &mut whole);
        whole.push(b':');
        let mut block = [0; Self::BLOCK];
        let short = if whole.len() <= Self::BLOCK { whole.len() } else { 0 };
        block[..short].copy_from_slice(&whole[..short]);
        Self { block, short, whole: whole.into() }
    }

    /// Appends it.
    #[inline]
    pub(in crate::converter) fn write(&self, out: &mut Vec<u8>) {
        if self.short == 0 {
            out.extend_from_slice(&self.whole);
            return;
        }
        let end = out.len() + self.short;
        out.extend_from_slice(&self.block);
        out.truncate(end);
    }
}

//! One bulk request: operations as places in the messages that they came in.

use std::sync::Arc;

use aqueduct_engine::data::{Batch, Span};
use bytes::Bytes;

use super::tracker::Tracked;

/// Most bytes of a request, whatever is configured: places are 32 bits.
pub(super) const MOST_BYTES: usize = 1 << 30;

const UPDATE: [&[u8]; 3] = [b"{\"doc\":", b",\"upsert\":", b"}"];

/// Where a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doc {
    /// There is none: a delete.
    None,
    /// In the batch: nothing was copied.
    InBatch(Span),
    /// In [`Bulk::written`].
    Written { start: u32, len: u32 },
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Index,
    Create,
    Update,
    Delete,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op {
    pub(super) action: Action,
    /// Whether it has an external version.
    pub(super) versioned: bool,
    pub(super) doc: Doc,
    /// Its action line in [`Bulk::lines`], line end included.
    pub(super) line: (u32, u32),
    /// Place in [`Bulk::batches`].
    pub(super) batch: u32,
    /// Place in the batch.
    pub(super) record: u32,
    /// Hash of the document's identity where its operations must stay in order; else 0.
    pub(super) identity: u64,
}

/// Operations for one request. Once under way it does not change: retries send it, or a part of it, again.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    pub(super) lines: Vec<u8>,
    /// Documents that were written for this request.
    pub(super) written: Vec<u8>,
    pub(super) batches: Vec<Tracked>,
    pub(super) ops: Vec<Op>,
    /// Bytes of the whole body.
    pub(super) bytes: usize,
}

/// A piece of a body.
pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    /// Of a shared buffer, and its place there.
    Shared(&'a Bytes, &'a [u8]),
}

/// Pieces of an operation: line, document, line end; an update has its document twice.
pub(super) const PIECES: usize = 7;

impl Bulk {
    /// The place of a batch, the last one mostly.
    pub(super) fn batch(&mut self, tracked: &Tracked) -> u32 {
        if !self.batches.last().is_some_and(|last| Arc::ptr_eq(&last.tracker, &tracked.tracker)) {
            self.batches.push(tracked.clone());
        }
        self.batches.len() as u32 - 1
    }

    /// Adds an operation whose line and document are there already.
    pub(super) fn push(&mut self, op: Op) {
        self.bytes += self.size(&op);
        self.ops.push(op);
    }

    fn doc_len(&self, doc: Doc) -> usize {
        match doc {
            Doc::None => 0,
            Doc::InBatch(span) => span.len as usize,
            Doc::Written { len, .. } => len as usize,
        }
    }

    /// Bytes of an operation in a body.
    pub(super) fn size(&self, op: &Op) -> usize {
        let (line, doc) = ((op.line.1 - op.line.0) as usize, self.doc_len(op.doc));
        match op.action {
            Action::Delete => line,
            Action::Update => line + 2 * doc + UPDATE.iter().map(|part| part.len()).sum::<usize>() + 1,
            Action::Index | Action::Create => line + doc + 1,
        }
    }

    /// Bytes of some operations.
    pub(super) fn size_of(&self, which: &[u32]) -> usize {
        which.iter().filter_map(|at| self.ops.get(*at as usize)).map(|op| self.size(op)).sum()
    }

    /// The pieces of an operation in their order; empty ones are left out by whoever writes them.
    pub(super) fn piece(&self, op: &Op, piece: usize) -> Piece<'_> {
        let none = Piece::Bytes(b"");
        match (piece, op.action) {
            (0, _) => {
                Piece::Bytes(self.lines.get(op.line.0 as usize..op.line.1 as usize).unwrap_or_default())
            }
            (_, Action::Delete) => none,
            (1, Action::Update) => Piece::Bytes(UPDATE[0]),
            (2, _) | (4, Action::Update) => self.document(op),
            (3, Action::Update) => Piece::Bytes(UPDATE[1]),
            (5, Action::Update) => Piece::Bytes(UPDATE[2]),
            (6, _) => Piece::Bytes(b"\n"),
            _ => none,
        }
    }

    fn document(&self, op: &Op) -> Piece<'_> {
        match op.doc {
            Doc::None => Piece::Bytes(b""),
            Doc::Written { start, len } => {
                Piece::Bytes(self.written.get(start as usize..(start + len) as usize).unwrap_or_default())
            }
            Doc::InBatch(span) => match self.batches.get(op.batch as usize) {
                Some(tracked) => in_batch(&tracked.batch, span),
                None => Piece::Bytes(b""),
            },
        }
    }
}

fn in_batch(batch: &Batch, span: Span) -> Piece<'_> {
    let bytes = batch.bytes(span);
    match usize::from(span.segment).checked_sub(1).and_then(|at| batch.segments.get(at)) {
        Some(segment) => Piece::Shared(segment, bytes),
        None => Piece::Bytes(bytes),
    }
}

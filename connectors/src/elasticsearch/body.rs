//! The body of a bulk request: pieces are gathered into chunks as the connection takes them, large documents go as they are.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame, SizeHint};

use super::bulk::{Bulk, PIECES, Piece};

/// Bytes that are gathered for one write: a write of many small slices costs more than this copy.
const CHUNK: usize = 64 * 1024;
/// A piece from this size on is not copied if it lies in a shared buffer.
const LARGE: usize = 16 * 1024;

/// What is sent.
pub(super) enum Outgoing {
    /// A small body, or none.
    Whole(Option<Bytes>),
    /// A bulk.
    Bulk(Box<BulkBody>),
}

impl Outgoing {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Outgoing {
        Outgoing::Whole(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }
}

/// Operations of a bulk as a body.
pub(super) struct BulkBody {
    bulk: Arc<Bulk>,
    which: Arc<[u32]>,
    /// Next operation, and its next piece.
    next: (usize, usize),
    left: u64,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Grows with what the connection has taken.
    progress: Arc<AtomicU64>,
}

impl BulkBody {
    pub(super) fn new(bulk: Arc<Bulk>, which: Arc<[u32]>, gzip: bool, progress: Arc<AtomicU64>) -> BulkBody {
        let left = bulk.size_of(&which) as u64;
        let gzip = gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        BulkBody { bulk, which, next: (0, 0), left, gzip, progress }
    }

    /// The next chunk of the body before compression.
    fn chunk(&mut self) -> Option<Bytes> {
        let mut chunk = BytesMut::new();
        while let Some(op) = self.which.get(self.next.0).and_then(|at| self.bulk.ops.get(*at as usize)) {
            let piece = self.bulk.piece(op, self.next.1);
            let (bytes, shared) = match piece {
                Piece::Bytes(bytes) => (bytes, None),
                Piece::Shared(buffer, bytes) => (bytes, Some(buffer)),
            };
            let large = bytes.len() >= LARGE;
            if !chunk.is_empty() && (large && shared.is_some() || chunk.len() + bytes.len() > CHUNK) {
                break;
            }
            if chunk.is_empty()
                && let (true, Some(buffer)) = (large, shared)
            {
                let bytes = buffer.slice_ref(bytes);
                self.step();
                return Some(bytes);
            }
            if chunk.capacity() == 0 {
                chunk.reserve(CHUNK.min(self.left as usize).max(bytes.len()));
            }
            chunk.extend_from_slice(bytes);
            self.step();
        }
        (!chunk.is_empty()).then(|| chunk.freeze())
    }

    fn step(&mut self) {
        self.next =
            if self.next.1 + 1 < PIECES { (self.next.0, self.next.1 + 1) } else { (self.next.0 + 1, 0) };
    }

    fn compressed(&mut self) -> Option<Bytes> {
        let mut gzip = self.gzip.take()?;
        while let Some(chunk) = self.chunk() {
            // writing to memory does not fail
            let _ = gzip.write_all(&chunk);
            if gzip.get_ref().len() >= CHUNK {
                let out = std::mem::take(gzip.get_mut());
                self.gzip = Some(gzip);
                return Some(out.into());
            }
        }
        gzip.finish().ok().map(Bytes::from)
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        let next = if self.gzip.is_some() {
            self.compressed()
        } else if self.left > 0 {
            self.chunk()
        } else {
            None
        };
        let taken = next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.left = self.left.saturating_sub(taken);
        self.progress.fetch_add(taken.max(1), Ordering::Relaxed);
        next
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Outgoing::Whole(bytes) => bytes.take(),
            Outgoing::Bulk(bulk) => bulk.next_frame(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Outgoing::Bulk(bulk) if bulk.gzip.is_some() => SizeHint::default(),
            Outgoing::Bulk(bulk) => SizeHint::with_exact(bulk.left),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read as _;

    use aqueduct_engine::data::{Batch, Span};

    use super::super::bulk::{Action, Doc, Op};
    use super::super::tracker::Tracked;
    use super::*;

    /// A bulk of operations on documents of one batch.
    pub(crate) fn bulk(docs: &[(Action, &[u8])]) -> Bulk {
        let mut batch = Batch::default();
        let text: Vec<u8> = docs.iter().flat_map(|(_, doc)| doc.iter().copied()).collect();
        let segment = batch.add_segment(Bytes::from(text));
        let tracked = Tracked::new(Arc::new(batch)).0;
        let mut bulk = Bulk::default();
        let mut offset = 0;
        for (index, (action, doc)) in docs.iter().enumerate() {
            let start = bulk.lines.len() as u32;
            bulk.lines.extend_from_slice(format!("line {index}\n").as_bytes());
            let span = Span { segment, offset, len: doc.len() as u32 };
            offset += doc.len() as u32;
            let batch = bulk.batch(&tracked);
            bulk.push(Op {
                action: *action,
                versioned: false,
                doc: if *action == Action::Delete { Doc::None } else { Doc::InBatch(span) },
                line: (start, bulk.lines.len() as u32),
                batch,
                record: index as u32,
                identity: 0,
            });
        }
        bulk
    }

    fn all(bulk: Bulk, gzip: bool) -> (Vec<u8>, usize) {
        let which: Arc<[u32]> = (0..bulk.ops.len() as u32).collect();
        let mut body = BulkBody::new(Arc::new(bulk), which, gzip, Arc::default());
        let (mut bytes, mut frames) = (Vec::new(), 0);
        while let Some(frame) = body.next_frame() {
            bytes.extend_from_slice(&frame);
            frames += 1;
        }
        (bytes, frames)
    }

    #[test]
    fn bodies() {
        let docs: [(Action, &[u8]); 3] =
            [(Action::Index, b"{\"a\":1}"), (Action::Update, b"{}"), (Action::Delete, b"")];
        let expected = b"line 0\n{\"a\":1}\nline 1\n{\"doc\":{},\"upsert\":{}}\nline 2\n";
        assert_eq!(bulk(&docs).bytes, expected.len());
        assert_eq!(all(bulk(&docs), false), (expected.to_vec(), 1));
        let mut text = Vec::new();
        let zipped = all(bulk(&docs), true).0;
        flate2::read::GzDecoder::new(&zipped[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, expected);
    }

    #[test]
    fn large_documents_are_frames_of_their_own_and_parts_of_their_buffer() {
        let large = vec![b'x'; 100_000];
        let docs: Vec<(Action, &[u8])> =
            vec![(Action::Index, b"{}"), (Action::Index, &large), (Action::Index, b"{}")];
        let bulk = bulk(&docs);
        let size = bulk.bytes;
        let (bytes, frames) = all(bulk, false);
        assert_eq!((bytes.len(), frames), (size, 3));
        let small: Vec<(Action, &[u8])> = vec![(Action::Index, &large[..1000]); 200];
        let (bytes, frames) = all(super::tests::bulk(&small), false);
        assert_eq!((bytes.len(), frames), (200 * 1001 + 10 * 7 + 90 * 8 + 100 * 9, 4));
    }
}

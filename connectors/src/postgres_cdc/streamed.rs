//! Transactions that the server sends before their commit: their messages are gathered until it is known how they end. No I/O;
//! what does not fit into memory is handed out to be put away.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::pgoutput::streamed_xid;
use super::spill::Spill;

/// A piece that is put away or replayed as one; a message larger than this is a piece of its own.
const CHUNK_BYTES: usize = 256 * 1024;
/// Length and LSN before each message of a chunk.
const HEAD_BYTES: usize = 12;
/// Streamed transactions at one time. The server has at most this many that write: `max_connections` is 262 143.
const MAX_TRANSACTIONS: usize = 1 << 18;

/// Messages that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Disorder {
    #[error("changes of streamed transaction {xid} begin amid those of another")]
    Nested { xid: u32 },
    #[error("changes of a streamed transaction end where none had begun")]
    NotOpen,
    #[error("a message of kind {kind} is not one of a streamed transaction")]
    Misplaced { kind: u8 },
    #[error("streamed transaction {xid} is committed, but was never sent")]
    Unknown { xid: u32 },
    #[error("more than {MAX_TRANSACTIONS} streamed transactions are open")]
    TooMany,
    #[error("a piece of a streamed transaction is damaged")]
    Damaged,
}

/// What has come of a transaction.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The older part, if it was put away.
    pub(super) spilled: Option<Spill>,
    sealed: VecDeque<Bytes>,
    filling: Vec<u8>,
    /// In memory.
    bytes: usize,
    /// Subtransactions that were rolled back; never used again by the server within the transaction.
    aborted: Vec<u32>,
}

impl Gathered {
    fn push(&mut self, lsn: u64, content: &[u8]) -> usize {
        let size = HEAD_BYTES + content.len();
        if !self.filling.is_empty() && self.filling.len() + size > CHUNK_BYTES {
            self.seal();
        }
        self.filling.extend_from_slice(&(content.len() as u32).to_be_bytes());
        self.filling.extend_from_slice(&lsn.to_be_bytes());
        self.filling.extend_from_slice(content);
        self.bytes += size;
        size
    }

    fn seal(&mut self) {
        if !self.filling.is_empty() {
            self.sealed.push_back(Bytes::from(std::mem::take(&mut self.filling)));
        }
    }

    /// Everything that is in memory, in order.
    fn unload(&mut self) -> Vec<Bytes> {
        self.seal();
        self.sealed.drain(..).collect()
    }
}

/// All transactions that are being streamed.
#[derive(Debug)]
pub(super) struct Streams {
    /// The one whose changes come just now; not in `transactions` meanwhile.
    open: Option<(u32, Gathered)>,
    transactions: HashMap<u32, Gathered>,
    /// In memory, of all transactions.
    bytes: usize,
    limit: usize,
}

impl Streams {
    /// Of all transactions together `limit` bytes stay in memory.
    pub(super) fn new(limit: usize) -> Streams {
        Streams { open: None, transactions: HashMap::new(), bytes: 0, limit }
    }

    /// Whether changes of a streamed transaction come just now.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Bytes in memory, of all transactions.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stream Start.
    pub(super) fn start(&mut self, xid: u32) -> Result<(), Disorder> {
        if self.open.is_some() {
            return Err(Disorder::Nested { xid });
        }
        if self.transactions.len() >= MAX_TRANSACTIONS {
            return Err(Disorder::TooMany);
        }
        self.open = Some((xid, self.transactions.remove(&xid).unwrap_or_default()));
        Ok(())
    }

    /// Stream Stop.
    pub(super) fn stop(&mut self) -> Result<(), Disorder> {
        let (xid, gathered) = self.open.take().ok_or(Disorder::NotOpen)?;
        self.transactions.insert(xid, gathered);
        Ok(())
    }

    /// A message between the two.
    pub(super) fn gather(&mut self, lsn: u64, content: &[u8]) -> Result<(), Disorder> {
        let (_, gathered) = self.open.as_mut().ok_or(Disorder::NotOpen)?;
        if streamed_xid(content).is_none() {
            return Err(Disorder::Misplaced { kind: content.first().copied().unwrap_or(0) });
        }
        self.bytes += gathered.push(lsn, content);
        Ok(())
    }

    /// Stream Abort: of the whole transaction, or of a subtransaction. What was never sent needs nothing.
    pub(super) fn abort(&mut self, xid: u32, subxid: u32) {
        if xid == subxid {
            let gone = self.transactions.remove(&xid);
            self.bytes -= gone.map_or(0, |gathered| gathered.bytes);
        } else if let Some(gathered) = self.transactions.get_mut(&xid) {
            gathered.aborted.push(subxid);
            gathered.bytes += size_of::<u32>();
            self.bytes += size_of::<u32>();
        }
    }

    /// Stream Commit.
    pub(super) fn commit(&mut self, xid: u32) -> Result<Replay, Disorder> {
        let mut gathered = self.transactions.remove(&xid).ok_or(Disorder::Unknown { xid })?;
        self.bytes -= gathered.bytes;
        gathered.seal();
        gathered.aborted.sort_unstable();
        Ok(Replay {
            spilled: gathered.spilled,
            sealed: gathered.sealed,
            aborted: gathered.aborted,
            chunk: Bytes::new(),
            at: 0,
        })
    }

    /// The transaction with most in memory and what it has there, if all of them together have too much.
    pub(super) fn excess(&mut self) -> Option<(u32, &mut Gathered, Vec<Bytes>)> {
        if self.bytes <= self.limit {
            return None;
        }
        let open = self.open.as_mut().map(|(xid, gathered)| (*xid, gathered));
        let others = self.transactions.iter_mut().map(|(xid, gathered)| (*xid, gathered));
        let (xid, largest) = others.chain(open).max_by_key(|(_, gathered)| gathered.bytes)?;
        let chunks = largest.unload();
        if chunks.is_empty() {
            return None;
        }
        // the list of what was rolled back stays
        let kept = largest.aborted.len() * size_of::<u32>();
        self.bytes -= largest.bytes - kept;
        largest.bytes = kept;
        Some((xid, largest, chunks))
    }
}

/// A committed transaction, chunk by chunk.
#[derive(Debug)]
pub(super) struct Replay {
    spilled: Option<Spill>,
    sealed: VecDeque<Bytes>,
    aborted: Vec<u32>,
    chunk: Bytes,
    at: usize,
}

/// A message of a transaction that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) lsn: u64,
    /// Where its content is in the chunk.
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Replay {
    /// The chunk that is replayed just now.
    pub(super) const fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// Goes on with the next chunk; false after the last one.
    pub(super) async fn advance(&mut self) -> std::io::Result<bool> {
        let mut next = None;
        if let Some(spilled) = &mut self.spilled {
            next = spilled.next().await?;
            if next.is_none() {
                self.spilled = None;
            }
        }
        self.at = 0;
        self.chunk = next.or_else(|| self.sealed.pop_front()).unwrap_or_default();
        Ok(!self.chunk.is_empty())
    }

    /// The next message of this chunk that was not rolled back; `None` at its end.
    pub(super) fn next(&mut self) -> Result<Option<Replayed>, Disorder> {
        while self.at < self.chunk.len() {
            let (head, start) = (self.at, self.at + HEAD_BYTES);
            let head = self.chunk.get(head..start).ok_or(Disorder::Damaged)?;
            let (length, lsn) = head.split_at(4);
            let length = u32::from_be_bytes(length.try_into().map_err(|_| Disorder::Damaged)?) as usize;
            let lsn = u64::from_be_bytes(lsn.try_into().map_err(|_| Disorder::Damaged)?);
            let end = start.checked_add(length).ok_or(Disorder::Damaged)?;
            let content = self.chunk.get(start..end).ok_or(Disorder::Damaged)?;
            self.at = end;
            let xid = streamed_xid(content).ok_or(Disorder::Damaged)?;
            if xid.is_none_or(|xid| self.aborted.binary_search(&xid).is_err()) {
                return Ok(Some(Replayed { lsn, start: start as u32, end: end as u32 }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(xid: u32, what: u8) -> Vec<u8> {
        let mut bytes = vec![b'I'];
        bytes.extend(xid.to_be_bytes());
        bytes.push(what);
        bytes
    }

    async fn all(mut replay: Replay) -> Vec<(u64, u8)> {
        let mut seen = Vec::new();
        while replay.advance().await.unwrap() {
            while let Some(message) = replay.next().unwrap() {
                seen.push((message.lsn, replay.chunk()[message.end as usize - 1]));
            }
        }
        seen
    }

    fn block(streams: &mut Streams, xid: u32, messages: &[(u64, u32, u8)]) {
        streams.start(xid).unwrap();
        for (lsn, subxid, what) in messages {
            streams.gather(*lsn, &insert(*subxid, *what)).unwrap();
        }
        streams.stop().unwrap();
    }

    #[tokio::test]
    async fn transactions_that_come_interleaved_stay_apart() {
        let mut streams = Streams::new(1 << 20);
        block(&mut streams, 1, &[(10, 1, 1), (11, 1, 2)]);
        block(&mut streams, 2, &[(12, 2, 3)]);
        block(&mut streams, 1, &[(13, 1, 4)]);
        assert_eq!(all(streams.commit(2).unwrap()).await, [(12, 3)]);
        assert_eq!(all(streams.commit(1).unwrap()).await, [(10, 1), (11, 2), (13, 4)]);
        assert_eq!(streams.bytes, 0);
    }

    #[tokio::test]
    async fn what_was_rolled_back_is_dropped() {
        let mut streams = Streams::new(1 << 20);
        block(&mut streams, 1, &[(10, 1, 1), (11, 5, 2), (12, 6, 3)]);
        streams.abort(1, 6);
        streams.abort(1, 5);
        block(&mut streams, 1, &[(13, 7, 4)]);
        block(&mut streams, 2, &[(14, 2, 5)]);
        streams.abort(2, 2);
        streams.abort(3, 3);
        assert_eq!(streams.commit(2).unwrap_err(), Disorder::Unknown { xid: 2 });
        assert_eq!(all(streams.commit(1).unwrap()).await, [(10, 1), (13, 4)]);
        assert_eq!(streams.bytes, 0);
    }

    #[tokio::test]
    async fn what_is_too_much_is_put_away_and_comes_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut streams = Streams::new(200);
        let mut expected = Vec::new();
        for round in 0..20_u8 {
            let messages: Vec<_> = (0..5).map(|at| (u64::from(round) * 10 + at, 1, round)).collect();
            block(&mut streams, 1, &messages);
            expected.extend(messages.iter().map(|(lsn, _, what)| (*lsn, *what)));
            block(&mut streams, 2, &[(u64::from(round), 2, round)]);
            while let Some((xid, gathered, chunks)) = streams.excess() {
                assert_eq!(xid, 1, "the largest one");
                let mut spill = match gathered.spilled.take() {
                    Some(spill) => spill,
                    None => Spill::create(folder.path().to_owned()).await.unwrap(),
                };
                spill.append(chunks).await.unwrap();
                gathered.spilled = Some(spill);
            }
            assert!(streams.bytes <= 200);
            streams.abort(2, 2);
        }
        assert_eq!(all(streams.commit(1).unwrap()).await, expected);
        assert_eq!(streams.bytes, 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a crash leaves nothing behind");
    }

    #[test]
    fn disorder_is_met() {
        let mut streams = Streams::new(0);
        assert_eq!(streams.stop(), Err(Disorder::NotOpen));
        assert_eq!(streams.gather(1, &insert(1, 1)), Err(Disorder::NotOpen));
        streams.start(1).unwrap();
        assert_eq!(streams.start(2), Err(Disorder::Nested { xid: 2 }));
        assert_eq!(streams.gather(1, b"B\0\0\0\0"), Err(Disorder::Misplaced { kind: b'B' }));
        assert_eq!(streams.gather(1, b"I\0"), Err(Disorder::Misplaced { kind: b'I' }));
        assert_eq!(streams.gather(1, b""), Err(Disorder::Misplaced { kind: 0 }));
        streams.gather(1, &insert(1, 1)).unwrap();
        streams.stop().unwrap();
        let mut replay = streams.commit(1).unwrap();
        replay.chunk = Bytes::from_static(b"\xFF\xFF\xFF\xFF\0\0\0\0\0\0\0\0I");
        assert_eq!(replay.next(), Err(Disorder::Damaged));
    }
}

//! The stream's connection, in a task of its own: it reads ahead, and answers the server's questions whatever else is going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::postgres::{Block, BlockEnd, PgError, Wire};

/// Blocks that wait to be converted: one, while the next gathers.
const QUEUED_BLOCKS: usize = 1;
/// The server sends each change as it decodes it. Where they come faster than this, and little at a time, the socket gathers
/// them for so long: a change on its own does not wait.
const GATHER: Duration = Duration::from_millis(2);
/// What is not little.
const GATHER_BYTES: usize = 64 * 1024;
/// Seconds from 1970 to 2000, where the server's clock begins.
const EPOCH_SECONDS: u64 = 946_684_800;

/// A message of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamMessage {
    /// A change at this LSN; its content begins at that byte.
    Data { lsn: u64, content: u32 },
    /// The server's end of WAL, up to which everything has been sent.
    KeepAlive { wal_end: u64, reply: bool },
}

/// Reads the frame around a message: `w` and `k` of the streaming replication protocol.
pub(super) fn frame(bytes: &[u8]) -> Option<StreamMessage> {
    let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    match bytes.first()? {
        b'w' => {
            let lsn = number(1)?;
            number(17)?;
            Some(StreamMessage::Data { lsn, content: 25 })
        }
        b'k' => Some(StreamMessage::KeepAlive { wal_end: number(1)?, reply: *bytes.get(17)? == 1 }),
        _ => None,
    }
}

/// What the task has told of its progress.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    flushed: AtomicU64,
    /// The server shall tell its position at once.
    asks: AtomicBool,
    changed: Notify,
}

impl Confirmed {
    /// Everything up to here is stored.
    pub(super) fn advance(&self, lsn: u64) {
        if self.flushed.fetch_max(lsn, Ordering::AcqRel) < lsn {
            self.changed.notify_one();
        }
    }

    /// Asks the server for its position: it answers with a keep-alive once it has sent what is before that.
    pub(super) fn ask(&self) {
        self.asks.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Up to where everything is stored.
    pub(super) fn lsn(&self) -> u64 {
        self.flushed.load(Ordering::Acquire)
    }
}

/// The stream's other end.
pub(super) struct Feed {
    blocks: mpsc::Receiver<Result<Block, PgError>>,
    confirmed: Arc<Confirmed>,
    reader: JoinHandle<()>,
}

impl Feed {
    /// Reads from a stream that has been started.
    pub(super) fn new(wire: Wire, status_interval: Duration, confirmed: u64) -> Feed {
        let (sender, blocks) = mpsc::channel(QUEUED_BLOCKS);
        let shared = Arc::new(Confirmed::default());
        shared.advance(confirmed);
        let reader = Reader { wire, received: confirmed, confirmed: Arc::clone(&shared), status_interval };
        Feed { blocks, confirmed: shared, reader: tokio::spawn(reader.run(sender)) }
    }

    /// The next block; waits. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Block, PgError> {
        self.blocks
            .recv()
            .await
            .unwrap_or_else(|| Err(PgError::Protocol("the replication stream's reader is gone".to_owned())))
    }

    /// The next block, if one is there.
    pub(super) fn try_next(&mut self) -> Option<Result<Block, PgError>> {
        self.blocks.try_recv().ok()
    }

    /// Where to tell of progress.
    pub(super) fn confirmed(&self) -> &Confirmed {
        &self.confirmed
    }

    /// Tells the server of the last progress and ends the connection.
    pub(super) async fn close(mut self) {
        self.blocks.close();
        // what waits is dropped: it is sent again from what is confirmed
        while self.blocks.try_recv().is_ok() {}
        let _ = tokio::time::timeout(Duration::from_secs(5), &mut self.reader).await;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Reader {
    wire: Wire,
    received: u64,
    confirmed: Arc<Confirmed>,
    status_interval: Duration,
}

impl Reader {
    async fn run(mut self, blocks: mpsc::Sender<Result<Block, PgError>>) {
        match self.work(&blocks).await {
            Ok(()) => {
                let _ = self.send_status().await;
                self.wire.close().await;
            }
            Err(error) => {
                let _ = blocks.send(Err(error)).await;
            }
        }
    }

    async fn work(&mut self, blocks: &mpsc::Sender<Result<Block, PgError>>) -> Result<(), PgError> {
        let (mut last_read, mut next_read) = (Instant::now(), Instant::now());
        let mut due = Instant::now() + self.status_interval;
        let confirmed = Arc::clone(&self.confirmed);
        loop {
            // while nobody takes them changes gather in the connection's buffer, so that they are taken many at a time
            tokio::select! {
                biased;
                () = blocks.closed() => return Ok(()),
                () = tokio::time::sleep_until(due) => {
                    // changes of other tables are not sent: its answer tells how far it is with them
                    confirmed.asks.store(true, Ordering::Release);
                    self.send_status().await?;
                    due = Instant::now() + self.status_interval;
                }
                () = confirmed.changed.notified() => self.send_status().await?,
                permit = blocks.reserve(), if self.wire.has_message() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    let block = self.wire.block().await?;
                    let asked = self.look(&block);
                    let end = block.end.clone();
                    permit.send(Ok(block));
                    ended(end)?;
                    if asked {
                        self.send_status().await?;
                    }
                }
                read = read_after(&mut self.wire, next_read) => {
                    let (now, read) = (Instant::now(), read?);
                    let soon = now.duration_since(std::mem::replace(&mut last_read, now)) < GATHER;
                    next_read = now;
                    if soon && read < GATHER_BYTES {
                        next_read += GATHER;
                        self.wire.leave_alone()?;
                    }
                }
            }
        }
    }

    /// Notes the position; true if the server wants an answer now.
    fn look(&mut self, block: &Block) -> bool {
        let mut asked = false;
        for message in &block.messages {
            match frame(block.bytes.get(message.start as usize..message.end as usize).unwrap_or_default()) {
                Some(StreamMessage::Data { lsn, .. }) => self.received = self.received.max(lsn),
                Some(StreamMessage::KeepAlive { wal_end, reply }) => {
                    self.received = self.received.max(wal_end);
                    asked |= reply;
                }
                None => {}
            }
        }
        asked
    }

    /// Standby status update: written, flushed and applied position, our clock.
    async fn send_status(&mut self) -> Result<(), PgError> {
        let flushed = self.confirmed.lsn();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = (now.as_micros() as u64).saturating_sub(EPOCH_SECONDS * 1_000_000);
        let mut status = [0_u8; 34];
        status[0] = b'r';
        status[1..9].copy_from_slice(&self.received.max(flushed).to_be_bytes());
        status[9..17].copy_from_slice(&flushed.to_be_bytes());
        status[17..25].copy_from_slice(&flushed.to_be_bytes());
        status[25..33].copy_from_slice(&clock.to_be_bytes());
        status[33] = u8::from(self.confirmed.asks.swap(false, Ordering::AcqRel));
        self.wire.copy_data(&status).await
    }
}

/// Safe to cancel.
async fn read_after(wire: &mut Wire, when: Instant) -> Result<usize, PgError> {
    tokio::time::sleep_until(when).await;
    wire.read_ahead().await
}

fn ended(end: Option<BlockEnd>) -> Result<(), PgError> {
    match end {
        None => Ok(()),
        Some(BlockEnd::Failed(error)) => Err(PgError::Server(error)),
        Some(BlockEnd::Done) => Err(PgError::Io {
            what: "the server ended the replication stream".to_owned(),
            source: std::io::ErrorKind::UnexpectedEof.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let mut data = vec![b'w'];
        data.extend(7_u64.to_be_bytes());
        data.extend([0; 16]);
        data.push(b'B');
        assert_eq!(frame(&data), Some(StreamMessage::Data { lsn: 7, content: 25 }));
        assert_eq!(frame(&data[..20]), None);
        let mut alive = vec![b'k'];
        alive.extend(9_u64.to_be_bytes());
        alive.extend([0; 8]);
        alive.push(1);
        assert_eq!(frame(&alive), Some(StreamMessage::KeepAlive { wal_end: 9, reply: true }));
        assert_eq!(frame(&alive[..17]), None);
        assert_eq!(frame(b""), None);
    }

    #[test]
    fn progress_never_goes_back() {
        let confirmed = Confirmed::default();
        confirmed.advance(10);
        confirmed.advance(5);
        assert_eq!(confirmed.lsn(), 10);
    }
}

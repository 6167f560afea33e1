//! The two loops of a connection.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Shared;
use crate::client::security::refusal;
use crate::{Error, ErrorKind, Result};

/// Slices in one vectored write (Linux' IOV_MAX is 1024).
const MAX_SLICES: usize = 64;

/// How long the reader has to find out why nothing can be written any more.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// An answer's header has at least its correlation id.
const MIN_FRAME: usize = 4;

/// Memory reserved for an answer before its bytes are there: a length that lies costs no more than this.
const RESERVE_AT_ONCE: usize = 8 * 1024 * 1024;

/// Writes what is queued until the connection ends.
pub(super) async fn write_requests(shared: Arc<Shared>, mut writer: impl AsyncWrite + Unpin) {
    let mut queue = std::collections::VecDeque::<Bytes>::new();
    loop {
        {
            let mut state = shared.state.lock();
            if state.broken.is_some() {
                return;
            }
            std::mem::swap(&mut queue, &mut state.outgoing);
        }
        if queue.is_empty() {
            shared.wake.notified().await;
            continue;
        }
        if let Err(error) = write_all(&mut writer, &mut queue).await {
            // whoever refuses us says why before it hangs up: the reader's reason is the better one
            tokio::time::sleep(LAST_WORDS).await;
            let message = format!("the connection to {} was lost while writing: {error}", shared.peer);
            return shared.fail(Error::new(ErrorKind::Network, message).with_source(error));
        }
    }
}

/// Writes every buffer of the queue, many in one call.
async fn write_all(
    writer: &mut (impl AsyncWrite + Unpin),
    queue: &mut std::collections::VecDeque<Bytes>,
) -> std::io::Result<()> {
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = queue.len().min(MAX_SLICES);
        for (slice, bytes) in slices.iter_mut().zip(queue.iter()) {
            *slice = IoSlice::new(bytes);
        }
        let mut written = writer.write_vectored(&slices[..count]).await?;
        if written == 0 && queue.iter().take(count).any(|bytes| !bytes.is_empty()) {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = queue.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            queue.pop_front();
            if written == 0 && queue.front().is_none_or(|next| !next.is_empty()) {
                break;
            }
        }
    }
    writer.flush().await
}

/// Reads answers until the connection ends.
pub(super) async fn read_answers(shared: Arc<Shared>, mut reader: impl AsyncRead + Unpin, max_frame: usize) {
    loop {
        let answer = match read_frame(&mut reader, &shared.peer, max_frame).await {
            Ok(frame) => complete(&shared, frame),
            Err(error) => Err(error),
        };
        if let Err(error) = answer {
            return shared.fail(error);
        }
    }
}

/// One frame without its length, in a buffer of its own.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin), peer: &str, max_frame: usize) -> Result<Bytes> {
    let lost = |error: std::io::Error| {
        if let Some(refusal) = refusal(&error, peer) {
            return refusal.with_source(error);
        }
        let message = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => format!("{peer} closed the connection"),
            _ => format!("the connection to {peer} was lost while reading: {error}"),
        };
        Error::new(ErrorKind::Network, message).with_source(error)
    };
    let announced = reader.read_i32().await.map_err(lost)?;
    let length = usize::try_from(announced).ok().filter(|length| (MIN_FRAME..=max_frame).contains(length));
    let Some(length) = length else {
        let message = format!(
            "{peer} announced an answer of {announced} bytes; allowed are {MIN_FRAME} to {max_frame}: is it a Kafka \
             listener, and with the right security.protocol?"
        );
        return Err(Error::new(ErrorKind::Protocol, message));
    };
    let mut frame = BytesMut::with_capacity(length.min(RESERVE_AT_ONCE));
    while frame.len() < length {
        let missing = length - frame.len();
        if frame.capacity() == frame.len() {
            frame.reserve(missing.min(frame.len().max(RESERVE_AT_ONCE)));
        }
        let mut rest = (&mut *reader).take(missing as u64);
        if rest.read_buf(&mut frame).await.map_err(lost)? == 0 {
            return Err(lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(frame.freeze())
}

/// Hands an answer to whoever asked. A broker answers in the order of the requests.
fn complete(shared: &Shared, mut frame: Bytes) -> Result<()> {
    let correlation_id = frame.get_i32();
    let pending = {
        let mut state = shared.state.lock();
        state.last_used = Some(tokio::time::Instant::now());
        state.pending.pop_front()
    };
    let Some(pending) = pending.filter(|pending| pending.correlation_id == correlation_id) else {
        let message =
            format!("{} answered with correlation id {correlation_id}, which was not asked", shared.peer);
        return Err(Error::new(ErrorKind::Protocol, message));
    };
    if pending.header_version >= 1 {
        skip_tagged_fields(&mut frame).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("{} sent a malformed header", shared.peer))
        })?;
    }
    let _ = pending.answer.send(Ok(frame));
    Ok(())
}

/// Steps over the tagged fields of a header (KIP-482).
fn skip_tagged_fields(frame: &mut Bytes) -> Option<()> {
    let count = unsigned_varint(frame)?;
    for _ in 0..count {
        unsigned_varint(frame)?;
        let length = unsigned_varint(frame)? as usize;
        if length > frame.len() {
            return None;
        }
        frame.advance(length);
    }
    Some(())
}

fn unsigned_varint(frame: &mut Bytes) -> Option<u32> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        if frame.is_empty() {
            return None;
        }
        let byte = frame.get_u8();
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

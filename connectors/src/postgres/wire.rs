//! A connection of our own: simple queries, and COPY data in large blocks.
//!
//! tokio-postgres has no replication mode, and hands out COPY data a row at a time. Here a block holds all complete messages of
//! what has been read, as one buffer that rows point into.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::socket::Socket;
use super::stream::{MaybeTls, TLS_READ_BYTES};
use super::{ConnectionSettings, PgError, ServerError, SslMode, auth, tls};

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes of a stream that are read ahead of who takes them.
const AHEAD_BYTES: usize = 1024 * 1024;
/// Largest message that is believed: PostgreSQL's own limit of a row is 1 GiB.
const MAX_MESSAGE: usize = 1 << 30;

/// What kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// SQL.
    Plain,
    /// Replication commands, and SQL as simple queries.
    Replication,
}

/// COPY data that arrived together.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The buffer.
    pub(crate) bytes: Bytes,
    /// Where in it the content of each CopyData message is.
    pub(crate) messages: Vec<Range<u32>>,
    /// Set if the data ends here.
    pub(crate) end: Option<BlockEnd>,
}

/// How COPY data ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockEnd {
    /// All was sent.
    Done,
    /// The server gave up.
    Failed(ServerError),
}

/// The connection.
pub(crate) struct Wire {
    stream: MaybeTls,
    buffer: BytesMut,
    place: String,
}

impl Wire {
    /// Connects and logs in.
    pub(crate) async fn connect(settings: &ConnectionSettings, session: Session) -> Result<Wire, PgError> {
        let connecting = async {
            let stream = open(settings).await?;
            let place = format!("{}:{}", settings.host, settings.port);
            let mut wire = Wire { stream, buffer: BytesMut::with_capacity(8 * 1024), place };
            auth::log_in(&mut wire, settings, session == Session::Replication).await?;
            Ok(wire)
        };
        tokio::time::timeout(settings.connect_timeout, connecting).await.unwrap_or_else(|_| {
            Err(PgError::Io {
                what: format!("{settings}: no connection within {} s", settings.connect_timeout.as_secs()),
                source: std::io::ErrorKind::TimedOut.into(),
            })
        })
    }

    /// For a reader and a writer at once.
    pub(super) const fn parts(&mut self) -> (&mut MaybeTls, &mut BytesMut) {
        (&mut self.stream, &mut self.buffer)
    }

    pub(super) fn io(&self, what: &str, source: std::io::Error) -> PgError {
        PgError::Io { what: format!("{}: {what}", self.place), source }
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), PgError> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| self.io("cannot send", error))
    }

    /// Reads more of the stream. Safe to cancel.
    async fn fill(&mut self, at_least: usize) -> Result<(), PgError> {
        self.buffer.reserve(at_least.max(READ_BYTES));
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => {
                Err(self.io("the server closed the connection", std::io::ErrorKind::UnexpectedEof.into()))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(self.io("cannot read", error)),
        }
    }

    /// The next message outside of COPY. An error of the server is an error; notices are logged.
    pub(super) async fn message(&mut self) -> Result<Message, PgError> {
        loop {
            let parsed =
                Message::parse(&mut self.buffer).map_err(|error| PgError::Protocol(error.to_string()))?;
            match parsed {
                Some(Message::ErrorResponse(body)) => return Err(PgError::Server(ServerError::of(&body))),
                Some(
                    Message::NoticeResponse(_) | Message::ParameterStatus(_) | Message::BackendKeyData(_),
                ) => {}
                Some(message) => return Ok(message),
                None => {
                    if let Some(length) = frame_length(&self.buffer)? {
                        let missing = length.saturating_sub(self.buffer.len());
                        self.fill(missing).await?;
                    } else {
                        self.fill(0).await?;
                    }
                }
            }
        }
    }

    /// Reads up to ReadyForQuery. The first error of the server is given once it is ready again.
    pub(super) async fn until_ready(&mut self) -> Result<(), PgError> {
        let mut failed = Ok(());
        loop {
            match self.message().await {
                Ok(Message::ReadyForQuery(_)) => return failed,
                Ok(_) => {}
                Err(PgError::Server(error)) if !error.is_class("57") && !error.is_class("28") => {
                    failed = Err(PgError::Server(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn send_query(&mut self, sql: &str) -> Result<(), PgError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|error| PgError::Protocol(error.to_string()))?;
        self.write(&out).await
    }

    /// Runs a simple query; gives its rows as text.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, PgError> {
        self.send_query(sql).await?;
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            match self.message().await {
                Ok(Message::DataRow(row)) => {
                    let mut values = Vec::new();
                    let mut ranges = row.ranges();
                    while let Some(range) =
                        ranges.next().map_err(|error| PgError::Protocol(error.to_string()))?
                    {
                        let text = range.and_then(|range| row.buffer().get(range));
                        values.push(text.map(|text| String::from_utf8_lossy(text).into_owned()));
                    }
                    rows.push(values);
                }
                Ok(Message::ReadyForQuery(_)) => return failed.map_or(Ok(rows), Err),
                Ok(_) => {}
                Err(PgError::Server(error)) if !error.is_class("57") => failed = Some(PgError::Server(error)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a COPY out or a replication stream; its data comes from [`Self::block`].
    pub(crate) async fn start_copy(&mut self, sql: &str) -> Result<(), PgError> {
        self.send_query(sql).await?;
        // CopyBothResponse is not known to the message parser, so the frame is read here
        loop {
            match self.frame().await? {
                (b'W' | b'H', _) => return Ok(()),
                (b'E', body) => {
                    let error = server_error(&body);
                    self.until_ready().await?;
                    return Err(PgError::Server(error));
                }
                (b'N' | b'S', _) => {}
                (tag, _) => {
                    return Err(PgError::Protocol(format!(
                        "message {:?} where COPY was to begin",
                        char::from(tag)
                    )));
                }
            }
        }
    }

    async fn frame(&mut self) -> Result<(u8, Bytes), PgError> {
        loop {
            match frame_length(&self.buffer)? {
                Some(length) if self.buffer.len() >= length => {
                    let mut frame = self.buffer.split_to(length).freeze();
                    let tag = frame.get_u8();
                    frame.advance(4);
                    return Ok((tag, frame));
                }
                Some(length) => {
                    let missing = length - self.buffer.len();
                    self.fill(missing).await?;
                }
                None => self.fill(0).await?,
            }
        }
    }

    /// All complete messages of a COPY that have arrived, at least one, or its end. Safe to cancel.
    pub(crate) async fn block(&mut self) -> Result<Block, PgError> {
        loop {
            let block = take_block(&mut self.buffer)?;
            if !block.messages.is_empty() || block.end.is_some() {
                return Ok(block);
            }
            let missing =
                frame_length(&self.buffer)?.map_or(0, |length| length.saturating_sub(self.buffer.len()));
            self.fill(missing).await?;
        }
    }

    /// Reads more of a COPY, if a message's rest is missing or not much waits to be taken; gives how much. Safe to cancel.
    pub(crate) async fn read_ahead(&mut self) -> Result<usize, PgError> {
        let missing =
            frame_length(&self.buffer)?.map_or(0, |length| length.saturating_sub(self.buffer.len()));
        if missing == 0 && self.buffer.len() >= AHEAD_BYTES {
            return std::future::pending().await;
        }
        let before = self.buffer.len();
        self.fill(missing).await?;
        Ok(self.buffer.len() - before)
    }

    /// What arrives gathers in the kernel until the next read or write.
    pub(crate) fn leave_alone(&mut self) -> Result<(), PgError> {
        self.stream.leave_alone().map_err(|error| self.io("cannot be left alone", error))
    }

    /// Whether a complete message waits to be taken.
    pub(crate) fn has_message(&self) -> bool {
        // what cannot be read is told when it is taken
        frame_length(&self.buffer)
            .map_or(true, |length| length.is_some_and(|length| length <= self.buffer.len()))
    }

    /// Sends CopyData.
    pub(crate) async fn copy_data(&mut self, content: &[u8]) -> Result<(), PgError> {
        let mut frame = Vec::with_capacity(content.len() + 5);
        frame.push(b'd');
        frame.extend_from_slice(&(content.len() as u32 + 4).to_be_bytes());
        frame.extend_from_slice(content);
        self.write(&frame).await
    }

    /// Ends the COPY from our side and the session with it.
    pub(crate) async fn close(mut self) {
        let _ = self.write(&[b'c', 0, 0, 0, 4, b'X', 0, 0, 0, 4]).await;
        let _ = self.stream.shutdown().await;
    }

    /// After the end of a COPY: ready for the next query.
    pub(crate) async fn finish_copy(&mut self) -> Result<(), PgError> {
        self.until_ready().await
    }
}

/// Length of the first frame, with its tag; `None` if too little of it is there.
fn frame_length(buffer: &[u8]) -> Result<Option<usize>, PgError> {
    let Some(&[_, a, b, c, d]) = buffer.first_chunk::<5>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..=MAX_MESSAGE).contains(&length) {
        return Err(PgError::Protocol(format!("a message of {length} bytes")));
    }
    Ok(Some(length + 1))
}

fn server_error(body: &[u8]) -> ServerError {
    // the parser wants the whole frame
    let mut frame = BytesMut::with_capacity(body.len() + 5);
    frame.extend_from_slice(b"E");
    frame.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    frame.extend_from_slice(body);
    match Message::parse(&mut frame) {
        Ok(Some(Message::ErrorResponse(body))) => ServerError::of(&body),
        _ => ServerError::default(),
    }
}

/// Takes the complete frames off the buffer, up to the end of the COPY.
fn take_block(buffer: &mut BytesMut) -> Result<Block, PgError> {
    let mut block = Block::default();
    let mut at = 0;
    while let Some(length) = frame_length(&buffer[at..])? {
        let Some(frame) = buffer.get(at..at + length) else { break };
        // spans of a block are 32 bits wide
        if at + length > u32::MAX as usize {
            break;
        }
        match frame[0] {
            b'd' => block.messages.push((at + 5) as u32..(at + length) as u32),
            b'c' => block.end = Some(BlockEnd::Done),
            b'E' => block.end = Some(BlockEnd::Failed(server_error(&frame[5..]))),
            b'N' | b'S' => {}
            tag => {
                return Err(PgError::Protocol(format!("message {:?} within COPY", char::from(tag))));
            }
        }
        at += length;
        if block.end.is_some() {
            break;
        }
    }
    block.bytes = buffer.split_to(at).freeze();
    Ok(block)
}

async fn open(settings: &ConnectionSettings) -> Result<MaybeTls, PgError> {
    let (host, port, names) = (settings.host.as_str(), settings.port, settings.names);
    let unreachable = |source| PgError::Io {
        what: format!(
            "{host}:{port}: no connection; check {}, and that the server listens there",
            names.host
        ),
        source,
    };
    let mut stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    // as libpq with allow: without TLS first; a server that insists refuses the login and says so
    let Some(config) = tls::client_config(&settings.ssl, names)? else {
        return Ok(MaybeTls::Plain(Socket::Watched(stream)));
    };
    if settings.ssl.mode == SslMode::Allow {
        return Ok(MaybeTls::Plain(Socket::Watched(stream)));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(unreachable)?;
    let answer = stream.read_u8().await.map_err(unreachable)?;
    match (answer, settings.ssl.mode) {
        (b'S', _) => {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|error| PgError::Setup(format!("{}: {host}: {error}", names.host)))?;
            let connector = TlsConnector::from(std::sync::Arc::new(config));
            let buffered = BufReader::with_capacity(TLS_READ_BYTES, Socket::Watched(stream));
            let secured = connector.connect(name, buffered).await.map_err(|source| PgError::Io {
                what: format!(
                    "{host}:{port}: TLS failed; check {}, {} and the server's certificate",
                    names.ssl_mode, names.root_cert
                ),
                source,
            })?;
            Ok(MaybeTls::Tls(Box::new(secured)))
        }
        (_, SslMode::Prefer) => Ok(MaybeTls::Plain(Socket::Watched(stream))),
        _ => Err(PgError::Setup(format!(
            "{host}:{port}: the server has no TLS; set {}=disable, or ssl=on in postgresql.conf",
            names.ssl_mode
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![tag];
        frame.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        frame.extend_from_slice(body);
        frame
    }

    #[test]
    fn a_block_holds_what_is_complete() {
        let mut all = frame(b'd', b"one");
        all.extend(frame(b'S', b"x\0y\0"));
        all.extend(frame(b'd', b""));
        all.extend(&frame(b'd', b"three")[..7]);
        let mut buffer = BytesMut::from(&all[..]);
        let block = take_block(&mut buffer).unwrap();
        let contents: Vec<&[u8]> = block
            .messages
            .iter()
            .map(|range| &block.bytes[range.start as usize..range.end as usize])
            .collect();
        assert_eq!(contents, [b"one".as_slice(), b""]);
        assert_eq!(block.end, None);
        assert_eq!(buffer.len(), 7, "the begun message stays");
    }

    #[test]
    fn the_end_of_the_data_ends_the_block() {
        let mut all = frame(b'd', b"one");
        all.extend(frame(b'c', b""));
        all.extend(frame(b'C', b"COPY 1\0"));
        let mut buffer = BytesMut::from(&all[..]);
        let block = take_block(&mut buffer).unwrap();
        assert_eq!((block.messages.len(), block.end), (1, Some(BlockEnd::Done)));
        assert_eq!(buffer[0], b'C');
        let mut failed = BytesMut::from(&frame(b'E', b"C58P01\0Mgone\0\0")[..]);
        let end = take_block(&mut failed).unwrap().end;
        assert!(
            matches!(end, Some(BlockEnd::Failed(error)) if error.code == "58P01" && error.message == "gone")
        );
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for length in [0_u32, 3, u32::MAX, MAX_MESSAGE as u32 + 1] {
            let mut buffer = BytesMut::from(&b"d"[..]);
            buffer.extend_from_slice(&length.to_be_bytes());
            assert!(take_block(&mut buffer).is_err(), "{length}");
        }
    }
}

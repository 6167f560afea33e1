//! `FileStreamSink`: every record becomes a line of a file, or of standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_engine::connector::{BoxFuture, ConfigMap, ConnectError, SinkTask, SinkTaskContext, Ticket};
use aqueduct_engine::data::{Batch, RecordState, Value, java_string};

/// Lines are gathered up to this size before they are written.
const WRITE_BYTES: usize = 256 * 1024;
/// Lines are held back so long at most while more come: at a low rate every batch is seen at once.
const HOLD: Duration = Duration::from_millis(20);

/// The task: each has the file open for itself.
#[derive(Default)]
pub(super) struct FileStreamSinkTask {
    running: Option<Running>,
}

struct Running {
    context: SinkTaskContext,
    /// As configured; `stdout` if none is.
    name: String,
    /// Gone only while a write is under way, or after that was cut off.
    target: Option<Target>,
    /// Accepted and not yet written: at most `WRITE_BYTES` and one batch.
    buffer: Vec<u8>,
    written_at: Option<Instant>,
}

enum Target {
    Stdout,
    File(File),
}

impl Running {
    async fn start(config: &ConfigMap, context: SinkTaskContext) -> Result<Running, ConnectError> {
        let file = config.get(super::FILE).map(|file| file.trim()).filter(|file| !file.is_empty());
        let Some(name) = file.map(str::to_owned) else {
            return Ok(Running {
                context,
                name: "stdout".to_owned(),
                target: Some(Target::Stdout),
                buffer: Vec::new(),
                written_at: None,
            });
        };
        let path = name.clone();
        let opened = tokio::task::spawn_blocking(move || open(&path))
            .await
            .unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let (file, ends_in_a_line) = opened.map_err(|error| {
            ConnectError::fatal(format!("Couldn't find or create file '{name}' for FileStreamSinkTask"))
                .caused_by(error)
        })?;
        let mut buffer = Vec::with_capacity(WRITE_BYTES * 2);
        if !ends_in_a_line {
            tracing::warn!(
                connector = &*context.connector,
                task = context.task,
                file = name,
                "the file does not end with a line terminator: adding one, so that the first record gets a line of its own",
            );
            buffer.push(b'\n');
        }
        Ok(Running { context, name, target: Some(Target::File(file)), buffer, written_at: None })
    }

    async fn put(&mut self, batch: &Batch) -> Result<Ticket, ConnectError> {
        // an earlier write has failed: the buffer must be rid of before more is accepted
        if self.buffer.len() >= WRITE_BYTES {
            self.write().await?;
        }
        append_lines(batch, &mut self.buffer);
        let idle = batch.records.is_empty() || self.written_at.is_none_or(|at| at.elapsed() >= HOLD);
        if (idle || self.buffer.len() >= WRITE_BYTES)
            && let Err(error) = self.write().await
        {
            if !error.is_retriable() {
                return Err(error);
            }
            // accepted all the same: it waits in the buffer, and no offset is committed before it is written
            tracing::warn!(
                connector = &*self.context.connector,
                task = self.context.task,
                "{error}: {}",
                cause(&error)
            );
        }
        Ok(Ticket::accepted())
    }

    /// Writes the whole buffer, or keeps what is not in the file.
    async fn write(&mut self) -> Result<(), ConnectError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let Some(mut target) = self.target.take() else {
            return Err(ConnectError::fatal(format!(
                "file={}: an earlier write was cut off; restart the task",
                self.name
            )));
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let work = move || {
            let written = target.write(&mut buffer);
            (target, buffer, written)
        };
        let (target, buffer, written) = tokio::task::spawn_blocking(work).await.map_err(|panic| {
            ConnectError::fatal(format!("file={}: writing was cut off", self.name)).caused_by(panic)
        })?;
        (self.target, self.buffer) = (Some(target), buffer);
        self.written_at = Some(Instant::now());
        written.map_err(|error| self.write_error(error))
    }

    fn write_error(&self, error: io::Error) -> ConnectError {
        let name = &self.name;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ConnectError::retriable(format!(
                "file={name}: no space left to write; free space on its file system: nothing is lost, the rows are written as soon as there is room"
            )),
            _ => ConnectError::fatal(format!("file={name}: cannot write; mend the cause and restart the task: rows that are not in the file stay in Kafka")),
        }
        .caused_by(error)
    }
}

fn cause(error: &ConnectError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

impl Target {
    /// Writes and empties the buffer. After an error the buffer holds what is not in the file, and the file no partial write
    /// if it could be cut back.
    fn write(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                let (written, result) = write_counting(&mut stdout, buffer);
                buffer.drain(..written);
                result.and_then(|()| stdout.flush())
            }
            Target::File(file) => {
                let before = file.metadata()?.len();
                let (written, result) = write_counting(file, buffer);
                // another writer may append to the same file: its bytes are not ours to cut
                let cut_back = result.is_err()
                    && written > 0
                    && file.metadata()?.len() == before + written as u64
                    && file.set_len(before).is_ok();
                if !cut_back {
                    buffer.drain(..written);
                }
                result
            }
        }
    }
}

fn write_counting(to: &mut impl io::Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Opens for appending; tells whether what is there ends with a line terminator (or is empty, or no regular file).
fn open(path: &str) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok((file, true));
    }
    // a file that may be written but not read is left as it is
    let Ok(mut reader) = File::open(path) else { return Ok((file, true)) };
    reader.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    reader.read_exact(&mut last)?;
    Ok((file, last[0] == b'\n'))
}

/// `String.valueOf(value)` and a newline for each live record.
fn append_lines(batch: &Batch, out: &mut Vec<u8>) {
    for record in batch.records.iter().filter(|record| record.state == RecordState::Live) {
        match record.value {
            Value::String(span) => out.extend_from_slice(batch.bytes(span)),
            value => java_string(batch, record.value_schema, value, out),
        }
        out.push(b'\n');
    }
}

impl SinkTask for FileStreamSinkTask {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SinkTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            self.running = Some(Running::start(config, context).await?);
            Ok(())
        })
    }

    fn put(&mut self, batch: Arc<Batch>) -> BoxFuture<'_, Result<Ticket, ConnectError>> {
        Box::pin(async move {
            match &mut self.running {
                Some(running) => running.put(&batch).await,
                None => Err(ConnectError::fatal("the task was not started")),
            }
        })
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        Box::pin(async move {
            match &mut self.running {
                Some(running) => running.write().await,
                None => Ok(()),
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.running = None;
        Box::pin(std::future::ready(()))
    }
}

//! Statements that leave in one write: a transaction of several costs one round trip.
//!
//! Each unit ends with the server being ready again, so that every unit has its own answer; inside a transaction the
//! units after one that failed fail as well, and COMMIT becomes a rollback.

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::wire::Wire;
use super::{PgError, ServerError};

/// Unread answers that are taken in while sending; beyond it the connection is given up. Answers of a flight are short, what
/// may be long are warnings of triggers.
const MAX_UNREAD: usize = 64 << 20;
/// Bytes of one message of COPY data, about.
const COPY_MESSAGE: usize = 64 * 1024;
/// Parameters of one statement.
const MAX_PARAMETERS: usize = u16::MAX as usize;

/// What is to be sent.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    out: Vec<u8>,
    units: usize,
}

/// What became of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Rows in text form.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// Rows that were written, as the command tag has it.
    pub(crate) affected: u64,
    /// The command tag.
    pub(crate) tag: String,
}

impl Flight {
    /// Bytes so far.
    pub(crate) const fn len(&self) -> usize {
        self.out.len()
    }

    /// Units so far.
    pub(crate) const fn units(&self) -> usize {
        self.units
    }

    /// Starts anew with the same memory.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.units = 0;
    }

    fn message(&mut self, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(tag);
        sized(&mut self.out, true, write);
    }

    /// A statement without parameters.
    pub(crate) fn query(&mut self, sql: &str) {
        self.message(b'Q', |out| c_string(out, sql));
        self.units += 1;
    }

    /// `COPY … FROM STDIN` with all of its data. It leaves in messages of some size, so that the server reads the first rows
    /// while the last ones are on their way.
    pub(crate) fn copy_in(&mut self, sql: &str, write: impl FnOnce(&mut CopyIn<'_>)) {
        self.message(b'Q', |out| c_string(out, sql));
        let mut copy = CopyIn { out: &mut self.out, from: 0 };
        copy.open();
        write(&mut copy);
        copy.close();
        self.message(b'c', |_| {});
        self.units += 1;
    }

    /// Names a statement and its parameters' types; belongs to the unit that comes next.
    pub(crate) fn prepare(&mut self, name: &str, sql: &str, types: &[u32]) {
        let types = &types[..types.len().min(MAX_PARAMETERS)];
        self.message(b'P', |out| {
            c_string(out, name);
            c_string(out, sql);
            out.extend_from_slice(&(types.len() as u16).to_be_bytes());
            for kind in types {
                out.extend_from_slice(&kind.to_be_bytes());
            }
        });
    }

    /// Parses a statement and asks what it gives.
    pub(super) fn describe(&mut self, sql: &str) {
        self.prepare("", sql, &[]);
        self.message(b'D', |out| out.extend_from_slice(b"S\0"));
        self.message(b'S', |_| {});
        self.units += 1;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Runs a prepared statement. `write` appends `count` parameters in binary form, each behind its length
    /// ([`sized_parameter`]).
    pub(crate) fn execute(&mut self, name: &str, count: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.message(b'B', |out| {
            c_string(out, "");
            c_string(out, name);
            // all parameters in binary
            out.extend_from_slice(&[0, 1, 0, 1]);
            out.extend_from_slice(&(count as u16).to_be_bytes());
            write(out);
            // results as text
            out.extend_from_slice(&[0, 0]);
        });
        self.message(b'E', |out| out.extend_from_slice(&[0; 5]));
        self.message(b'S', |_| {});
        self.units += 1;
    }
}

/// Where rows of a COPY are written.
pub(crate) struct CopyIn<'a> {
    out: &'a mut Vec<u8>,
    /// Where the open message's length is.
    from: usize,
}

impl CopyIn<'_> {
    fn open(&mut self) {
        self.out.push(b'd');
        self.from = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
    }

    fn close(&mut self) {
        let length = (self.out.len() - self.from) as u32;
        self.out[self.from..self.from + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// A part of the data: a row, or what stands before and behind them.
    pub(crate) fn part<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.out.len() - self.from > COPY_MESSAGE {
            self.close();
            self.open();
        }
        write(self.out)
    }
}

/// Writes a length of four bytes and what follows; `whole` counts the length itself, as messages do.
fn sized(out: &mut Vec<u8>, whole: bool, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = out.len() - at - if whole { 0 } else { 4 };
    out[at..at + 4].copy_from_slice(&(length as u32).to_be_bytes());
}

/// A parameter, an array's element or a field of a COPY row: its length, then its bytes.
pub(crate) fn sized_parameter(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    sized(out, false, write);
}

fn c_string(out: &mut Vec<u8>, text: &str) {
    // a zero byte would end the text early: no name or statement of PostgreSQL has one
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

impl Wire {
    /// Sends the flight and gives what became of each unit. An error means that the connection is lost.
    pub(crate) async fn fly(
        &mut self,
        flight: &Flight,
    ) -> Result<Vec<Result<Outcome, ServerError>>, PgError> {
        if flight.out.len() > u32::MAX as usize / 4 {
            return Err(PgError::Setup(format!(
                "{} bytes in one transaction; lower consumer.override.fetch.max.bytes",
                flight.out.len()
            )));
        }
        self.write_and_read(&flight.out).await?;
        let mut outcomes = Vec::with_capacity(flight.units);
        while outcomes.len() < flight.units {
            outcomes.push(self.outcome().await?);
        }
        Ok(outcomes)
    }

    /// Answers up to ReadyForQuery; the first error counts.
    async fn outcome(&mut self) -> Result<Result<Outcome, ServerError>, PgError> {
        let mut outcome = Ok(Outcome::default());
        loop {
            match self.message().await {
                Ok(Message::ReadyForQuery(_)) => return Ok(outcome),
                Ok(Message::DataRow(row)) => {
                    let unreadable = |error: std::io::Error| PgError::Protocol(error.to_string());
                    let text = |range: Option<std::ops::Range<usize>>| {
                        let bytes = range.and_then(|range| row.buffer().get(range));
                        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
                    };
                    let values: Vec<Option<String>> = row.ranges().map(text).collect().map_err(unreadable)?;
                    if let Ok(outcome) = &mut outcome {
                        outcome.rows.push(values);
                    }
                }
                Ok(Message::CommandComplete(body)) => {
                    if let Ok(outcome) = &mut outcome {
                        outcome.tag = body.tag().unwrap_or_default().to_owned();
                        outcome.affected = outcome
                            .tag
                            .rsplit(' ')
                            .next()
                            .and_then(|count| count.parse().ok())
                            .unwrap_or_default();
                    }
                }
                Ok(_) => {}
                // the server is going away: nothing more comes
                Err(PgError::Server(error)) if error.ends_the_connection() => {
                    return Err(PgError::Server(error));
                }
                Err(PgError::Server(error)) => outcome = outcome.and(Err(error)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends while it takes in what the server says: a server that waits for a reader would never read on.
    async fn write_and_read(&mut self, bytes: &[u8]) -> Result<(), PgError> {
        let (stream, buffer) = self.parts();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut sent = 0;
        let done = loop {
            if sent == bytes.len() {
                break writer.flush().await;
            }
            if buffer.len() > MAX_UNREAD {
                return Err(PgError::Protocol(format!("more than {MAX_UNREAD} bytes of warnings")));
            }
            tokio::select! {
                written = writer.write(&bytes[sent..]) => match written {
                    Ok(0) => break Err(std::io::ErrorKind::WriteZero.into()),
                    Ok(more) => sent += more,
                    Err(error) => break Err(error),
                },
                read = reader.read_buf(buffer) => match read {
                    Ok(0) => break Err(std::io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                },
            }
        };
        done.map_err(|error| self.io("the connection was lost", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_lengths() {
        let mut flight = Flight::default();
        flight.query("x");
        assert_eq!(flight.out, b"Q\0\0\0\x06x\0");
        flight.clear();
        flight.copy_in("c", |copy| copy.part(|out| out.extend_from_slice(b"data")));
        assert_eq!(flight.out, b"Q\0\0\0\x06c\0d\0\0\0\x08datac\0\0\0\x04");
        flight.clear();
        flight.copy_in("", |copy| {
            (0..3).for_each(|_| copy.part(|out| out.resize(out.len() + COPY_MESSAGE, 7)))
        });
        let data = flight.out.windows(5).filter(|window| window[0] == b'd' && window[1..] == [0, 1, 0, 4]);
        assert_eq!((data.count(), flight.len()), (3, 6 + 3 * (COPY_MESSAGE + 5) + 5));
        flight.clear();
        flight.prepare("s", "q", &[25]);
        flight.execute("s", 1, |out| sized_parameter(out, |out| out.push(7)));
        assert_eq!(
            flight.out,
            b"P\0\0\0\x0es\0q\0\0\x01\0\0\0\x19B\0\0\0\x14\0s\0\0\x01\0\x01\0\x01\0\0\0\x01\x07\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"
        );
        assert_eq!(flight.units(), 1);
    }
}

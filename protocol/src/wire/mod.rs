//! What Kafka puts on the wire, without I/O and without a clock: bytes and time come in as arguments.
//!
//! * [`records`]: record batches (format v2), read as spans over the received buffer and written in one pass
//! * [`compression`]: the five codecs, with reusable contexts and a bound on what they may inflate to
//! * [`crc`], [`varint`]: the building blocks

pub mod compression;
pub mod crc;
pub mod records;
pub mod varint;

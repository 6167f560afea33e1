//! What Kafka puts on the wire, without I/O and without a clock: bytes and time come in as arguments.
//!
//! * [`records`]: record batches (format v2), read as spans over the received buffer and written in one pass
//! * [`compression`]: the five codecs, with reusable contexts and a bound on what they may inflate to
//! * [`produce`], [`fetch`]: the two calls that carry batches, framed so that the batches pass through unchanged
//! * [`partitioner`]: which partition a record goes to
//! * [`assignor`]: the assignors of the classic group protocol and what its members exchange
//! * [`scram`]: the SCRAM exchange of SASL
//! * [`crc`], [`varint`]: the building blocks

pub mod assignor;
pub mod compression;
pub mod crc;
pub mod fetch;
pub mod partitioner;
pub mod produce;
mod reader;
pub mod records;
pub mod scram;
mod topic;
pub mod varint;

pub use reader::DecodeError;
pub use topic::TopicPartition;

//! The Kafka wire client, in two halves.
//!
//! [`wire`] is pure: frames, record batches, compression, SASL exchanges, partitioners, assignors. Bytes and time come in
//! as arguments. [`client`] runs it on tokio: connections, metadata, producer, consumer, groups, transactions, admin.
//!
//! [`guard`] looks at control messages before they are decoded: their counts must be backed by bytes.
//!
//! This crate must never know what a connector is, and `wire` must never do I/O or read a clock.

pub mod client;
mod error;
pub mod guard;
pub mod wire;

pub use error::{Error, ErrorCode, ErrorKind, Result};

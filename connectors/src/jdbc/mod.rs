//! The JDBC connectors, for PostgreSQL: without JDBC, on the binary protocol.

mod connection;
mod keys;
mod sink;
mod source;
mod url;
mod zone;

pub(crate) use sink::{DebeziumJdbcSink, JdbcSink};
pub(crate) use source::JdbcSource;

/// The release of Confluent's connectors whose keys these are.
const CONFLUENT_VERSION: &str = "10.9.7";

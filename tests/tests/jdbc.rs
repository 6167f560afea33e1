//! The JDBC connectors against a real PostgreSQL.

#[path = "jdbc/sink.rs"]
mod sink;
#[path = "jdbc/source.rs"]
mod source;
#[path = "jdbc/support.rs"]
mod support;

//! The Kafka wire client: `wire` is sans-I/O, `client` runs it on tokio.

pub mod wire;

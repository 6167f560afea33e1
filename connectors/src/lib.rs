//! The connectors that come with Aqueduct: one folder each, one line each in [`registry`].
//!
//! They use the engine's public traits only, as a user's own crate would.

mod elasticsearch;
mod file;
mod jdbc;
mod postgres;
mod postgres_cdc;

use std::sync::Arc;

use aqueduct_engine::connector::Registry;

/// Every connector of this crate.
pub fn registry() -> Registry {
    let [opensearch, opensearch_first] = elasticsearch::OPENSEARCH;
    Registry::new(vec![
        Arc::new(elasticsearch::ELASTICSEARCH),
        Arc::new(opensearch),
        Arc::new(opensearch_first),
        Arc::new(file::FileStreamSource),
        Arc::new(file::FileStreamSink),
        Arc::new(postgres_cdc::PostgresCdc),
        Arc::new(jdbc::JdbcSink),
        Arc::new(jdbc::JdbcSource),
        Arc::new(jdbc::DebeziumJdbcSink),
    ])
}

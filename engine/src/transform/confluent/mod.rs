//! The transforms that Confluent ships beside its connectors.

pub(super) mod drop;
pub(super) mod extract_topic;
pub(super) mod filter;
mod json_path;
pub(super) mod tombstone_handler;

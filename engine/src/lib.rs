//! Kafka Connect itself: data model, converters, transforms, tasks, worker, herder, stores and REST.
//!
//! The way of a record: a source task polls a [`data::Batch`], transforms and converters run over the whole batch, the
//! producer takes the encoded bytes; a sink goes the other way. A batch is the unit of every call.
//!
//! The engine must never know any one connector, nor any external system but Kafka.

pub mod config;
pub mod connector;
pub mod converter;
pub mod data;
pub mod dry_run;
pub mod herder;
mod https;
pub mod loggers;
pub mod metrics;
pub mod rest;
pub mod store;
pub mod transform;
pub mod worker;

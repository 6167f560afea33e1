//! Kafka Connect itself: data model, converters, transforms, tasks, worker, herder, stores and REST.
//!
//! The engine must never know any one connector, nor any external system but Kafka.

pub mod connector;
pub mod store;

//! Client of a Confluent-compatible schema registry: registers and looks up schemas, asks for compatibility, and keeps
//! what it has learnt.
//!
//! It knows nothing of Kafka and of no schema language: a schema is its type, its text and its references. Settings are
//! typed ([`Config`]); TLS comes as a `rustls` configuration, so that whoever reads key stores does it in one place.
//! `mock://name` as the URL is a registry inside the process ([`Config::urls`]).

mod auth;
mod cache;
mod client;
mod config;
mod error;
mod http;
mod management;
mod mock;
mod model;
mod request;

pub use client::Client;
pub use config::{Auth, Config, OAuth, Secret};
pub use error::{Error, ErrorKind};
pub use model::{
    Compatibility, CompatibilityReport, Mode, Reference, Registered, Resolved, Schema, SchemaType, Version,
};

//! Waiting for the registry: what the decoders and encoders of a batch miss is asked for once, before they run.
//!
//! A registry that cannot be reached, or has trouble of its own, delays its task: the same is asked again and again, with
//! a warning. What it refuses is the answer, and fails the records that needed it.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_schema_registry::{Client, Error, ErrorKind, Registered, Schema as Text, SchemaType, Version};
use parking_lot::Mutex;

use super::config::Options;
use super::format::{Derived, Failure, Fetched};
use crate::data::SchemaRef;

/// First wait between two rounds of tries.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A schema that messages of a topic name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadKey {
    pub(super) topic: Arc<str>,
    pub(super) id: i32,
}

/// What messages to a topic are written with.
#[derive(Debug, Clone)]
pub(super) struct WriteKey {
    pub(super) topic: Arc<str>,
    pub(super) schema: Option<SchemaRef>,
}

/// What was asked for and what came of it.
type Answer<K, V> = (K, Result<V, Failure>);

/// Answers that have come and are not yet taken.
#[derive(Debug)]
pub(super) struct Answers<K, V>(Arc<Mutex<Vec<Answer<K, V>>>>);

impl<K, V> Clone for Answers<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Answers<K, V> {
    pub(super) fn put(&self, key: K, answer: Result<V, Failure>) {
        self.0.lock().push((key, answer));
    }

    pub(super) fn take(&self) -> Vec<Answer<K, V>> {
        std::mem::take(&mut self.0.lock())
    }
}

/// The registry as one converter asks it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Arc<Client>,
    pub(super) options: Arc<Options>,
    pub(super) language: SchemaType,
    pub(super) record_name: fn(&Fetched, &[u8]) -> Option<String>,
}

impl Link {
    /// Repeats while trying again may help.
    async fn patiently<T, F>(&self, what: &str, mut ask: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut pause = FIRST_PAUSE.min(self.options.longest_pause);
        loop {
            match ask().await {
                Err(error) if error.is_retriable() => {
                    tracing::warn!(
                        "the schema registry does not answer ({what}); the task waits and asks again in {} ms: {error}",
                        pause.as_millis()
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.options.longest_pause);
                }
                answer => return answer,
            }
        }
    }

    fn subject(&self, topic: &str, record_name: Option<&str>) -> Result<String, Failure> {
        let options = &self.options;
        options.strategy.subject(topic, options.is_key, record_name).map_err(Failure::serializer)
    }

    async fn with_references(
        &self,
        id: i32,
        version: Option<i32>,
        schema: Arc<Text>,
    ) -> Result<Fetched, Failure> {
        let what = format!("references of schema {id}");
        let references = self.patiently(&what, || self.client.resolve(&schema)).await;
        let references = references.map_err(|error| refused(&what, &error))?;
        Ok(Fetched { id, version, schema, references })
    }

    /// The schema that a message names, with its version. `payload` is the message's, or its beginning.
    pub(super) async fn for_reading(&self, key: &ReadKey, payload: &[u8]) -> Result<Fetched, Failure> {
        let by_name = self.options.strategy.uses_record_name();
        let hint = if by_name { String::new() } else { self.subject(&key.topic, None)? };
        let what = format!("schema {} of topic {}", key.id, key.topic);
        let found = self.patiently(&what, || self.client.schema_by_id(key.id, &hint)).await;
        let schema = found.map_err(|error| refused(&what, &error))?;
        if schema.schema_type != self.language {
            return Err(Failure::serializer(format!(
                "{what} is of type {}, not {}: another converter is needed",
                schema.schema_type, self.language
            )));
        }
        let mut fetched = self.with_references(key.id, None, schema).await?;
        let name = if by_name { (self.record_name)(&fetched, payload) } else { None };
        let subject = self.subject(&key.topic, name.as_deref())?;
        let what = format!("version of schema {} under subject {subject}", key.id);
        let known = self
            .patiently(&what, || self.client.look_up(&subject, &fetched.schema, false))
            .await
            .map_err(|error| refused(&what, &error))?;
        fetched.version = Some(known.version);
        Ok(fetched)
    }

    /// What is written with: registered, or found, as the configuration says. The flag: whether it is not our own.
    pub(super) async fn for_writing(
        &self,
        key: &WriteKey,
        derived: &Derived,
    ) -> Result<(Fetched, bool), Failure> {
        let subject = self.subject(&key.topic, derived.record_name.as_deref())?;
        let Options { auto_register, use_latest, use_id, normalize, .. } = *self.options;
        let (what, foreign) = match (auto_register, use_id, use_latest) {
            (true, ..) => (format!("registering a schema under subject {subject}"), false),
            (_, Some(id), _) => (format!("schema {id} of use.schema.id"), true),
            (_, _, true) => (format!("latest version of subject {subject}"), true),
            _ => {
                (format!("id of a schema under subject {subject}, auto.register.schemas being false"), false)
            }
        };
        let ask = || async {
            match (auto_register, use_id, use_latest) {
                (true, ..) => self.client.register(&subject, &derived.schema, normalize).await,
                (_, Some(id), _) => {
                    let schema = self.client.schema_by_id(id, &subject).await?;
                    Ok(Arc::new(Registered { id, subject: subject.as_str().into(), version: 0, schema }))
                }
                (_, _, true) => self.client.version(&subject, Version::Latest).await,
                _ => self.client.look_up(&subject, &derived.schema, normalize).await,
            }
        };
        let found = self.patiently(&what, ask).await.map_err(|error| refused(&what, &error))?;
        let schema = if foreign { Arc::clone(&found.schema) } else { Arc::clone(&derived.schema) };
        let version = (found.version > 0).then_some(found.version);
        Ok((self.with_references(found.id, version, schema).await?, foreign))
    }
}

/// The registry's "no". The JVM's classes: a wrong configuration where we are not let in, else bad data.
fn refused(what: &str, error: &Error) -> Failure {
    let message = format!("{what}: {error}");
    match error.kind {
        ErrorKind::Authentication | ErrorKind::Config => {
            Failure::class("org.apache.kafka.common.config.ConfigException", message)
        }
        _ => Failure::serializer(message),
    }
}

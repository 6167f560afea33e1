//! Targets: there or made, with a mapping where schemas are not ignored.

use std::collections::HashMap;
use std::sync::Arc;

use aqueduct_engine::data::{Batch, RecordState, Schema};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value as Json, json};

use super::http::{Answer, Message, refusal};
use super::plan::Target;
use super::sender::{Failure, Sender};
use super::settings::{Existing, Settings, Streams};
use super::{mapping, names};

/// Bytes of a name that a path has as they are.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(escape).collect()
}

struct Known {
    target: Arc<Target>,
    /// Whether its mapping needs no more looking at.
    mapped: bool,
}

/// The targets of a task's topics.
pub(super) struct Resources {
    settings: Settings,
    topics: HashMap<String, Known>,
}

impl Resources {
    pub(super) fn new(settings: Settings) -> Resources {
        Resources { settings, topics: HashMap::new() }
    }

    /// The target of each topic of a batch, by the topic's place there; made if it is new.
    pub(super) async fn of_batch(
        &mut self,
        sender: &Sender,
        batch: &Batch,
    ) -> Result<Vec<Option<Arc<Target>>>, Failure> {
        let mut targets = vec![None; batch.topics.len()];
        let live = batch.records.iter().filter(|record| record.state == RecordState::Live);
        for record in live {
            let Some(target) = targets.get_mut(record.topic as usize) else { continue };
            let topic = batch.topic(record.topic);
            if target.is_some()
                && (record.value.is_null() || self.topics.get(topic).is_some_and(|known| known.mapped))
            {
                continue;
            }
            // a record without value says nothing about a mapping
            let schema = (!record.value.is_null()).then(|| batch.schema(record.value_schema));
            *target = Some(self.ensure(sender, topic, schema).await?);
        }
        Ok(targets)
    }

    /// `schema`: of the record at hand, `None` where the record has no value.
    async fn ensure(
        &mut self,
        sender: &Sender,
        topic: &str,
        schema: Option<Option<&Schema>>,
    ) -> Result<Arc<Target>, Failure> {
        let (target, mapped) = match self.topics.get(topic) {
            Some(known) => (Arc::clone(&known.target), known.mapped),
            None => {
                let name = names::target(&self.settings, topic).ok_or_else(|| {
                    let key = self.settings.existing.as_ref().map_or("", |existing| existing.key);
                    Failure::fatal(format!("{key}: topic '{topic}' is not mapped to any resource; map it"))
                })?;
                self.create(sender, &name).await?;
                let target = Arc::new(Target::new(&self.settings, topic, &name));
                let mapped = target.ignore_schema;
                self.topics.insert(topic.to_owned(), Known { target: Arc::clone(&target), mapped });
                (target, mapped)
            }
        };
        if let (false, Some(schema)) = (mapped, schema) {
            map(sender, &target.name, schema).await?;
            if let Some(known) = self.topics.get_mut(topic) {
                known.mapped = true;
            }
        }
        Ok(target)
    }

    /// Makes the target unless it is there, or somebody else's business.
    async fn create(&self, sender: &Sender, name: &str) -> Result<(), Failure> {
        let path = format!("/{}", escaped(name));
        let found = ask(sender, Method::HEAD, &path, None).await?;
        if let Some(Existing { key, .. }) = &self.settings.existing {
            return match found.status {
                404 => {
                    Err(Failure::fatal(format!("{key}: '{name}' does not exist in the cluster; create it")))
                }
                _ => Ok(()),
            };
        }
        match found.status {
            404 => {}
            401 => return Err(Failure::fatal(refusal(&found))),
            // not ours to see; the bulk requests will tell
            _ => return Ok(()),
        }
        let made = match &self.settings.streams {
            Streams::None => ask(sender, Method::PUT, &path, Some(json!({}))).await?,
            Streams::Parts(_) => ask(sender, Method::PUT, &format!("/_data_stream{path}"), None).await?,
            Streams::Prefix(_, template) => {
                self.template(sender, name, template.as_deref()).await?;
                ask(sender, Method::PUT, &format!("/_data_stream{path}"), None).await?
            }
        };
        let exists = |answer: &Answer| {
            let reason = answer.reason();
            reason.contains("resource_already_exists_exception") || reason.contains("already exists")
        };
        if made.is_success() || exists(&made) {
            tracing::info!(connector = &*sender.connector, task = sender.task, "'{name}' is there");
            return Ok(());
        }
        Err(Failure::fatal(format!("'{name}' cannot be created: {}", refusal(&made))))
    }

    /// The template of an OpenSearch data stream, unless it is there.
    async fn template(&self, sender: &Sender, name: &str, own: Option<&str>) -> Result<(), Failure> {
        let template = own.map_or_else(|| format!("{name}-connector-data-stream-template"), str::to_owned);
        let path = format!("/_index_template/{}", escaped(&template));
        if ask(sender, Method::HEAD, &path, None).await?.is_success() {
            return Ok(());
        }
        let body = json!({
            "index_patterns": [name],
            "priority": 200,
            "data_stream": {"timestamp_field": {"name": super::document::TIMESTAMP}},
        });
        let made = ask(sender, Method::PUT, &path, Some(body)).await?;
        if made.is_success() {
            return Ok(());
        }
        Err(Failure::fatal(format!("the template '{template}' cannot be created: {}", refusal(&made))))
    }
}

/// Puts a mapping unless the target has one.
async fn map(sender: &Sender, name: &str, schema: Option<&Schema>) -> Result<(), Failure> {
    let path = format!("/{}/_mapping", escaped(name));
    let found = ask(sender, Method::GET, &path, None).await?;
    let mappings: Json = serde_json::from_slice(&found.body).unwrap_or(Json::Null);
    let filled = |index: &Json| {
        index.get("mappings").and_then(Json::as_object).is_some_and(|mappings| !mappings.is_empty())
    };
    if !found.is_success() {
        return Err(Failure::fatal(format!("the mapping of '{name}' cannot be read: {}", refusal(&found))));
    }
    if mappings.as_object().is_some_and(|indexes| indexes.values().any(filled)) {
        return Ok(());
    }
    let Some(schema) = schema else {
        return Err(Failure::fatal(format!(
            "Cannot infer mapping without schema: '{name}' has no mapping and the records have no schema; set schema.ignore=true or give '{name}' a mapping"
        )));
    };
    let Some(mapping) = mapping::of(schema) else {
        return Err(Failure::fatal(format!("'{name}': the schema is nested too deeply for a mapping")));
    };
    let put = ask(sender, Method::PUT, &path, Some(mapping)).await?;
    if put.is_success() {
        tracing::info!(
            connector = &*sender.connector,
            task = sender.task,
            "'{name}' has a mapping from the schema"
        );
        return Ok(());
    }
    Err(Failure::fatal(format!("the mapping of '{name}' cannot be set: {}", refusal(&put))))
}

async fn ask(sender: &Sender, method: Method, path: &str, body: Option<Json>) -> Result<Answer, Failure> {
    let body = body.map(|json| Bytes::from(json.to_string()));
    sender.small(Message::Small(method, path.to_owned(), body)).await
}

/// Whether the cluster lets us in; one that cannot be reached now may be later.
pub(super) async fn greet(sender: &Sender) -> Result<(), Failure> {
    let answer = match sender.http.send(&Message::Small(Method::GET, "/".to_owned(), None)).await {
        Ok(answer) => answer,
        Err(error) if error.passes => {
            tracing::warn!(connector = &*sender.connector, task = sender.task, "connection.url: {error}");
            return Ok(());
        }
        Err(error) => return Err(Failure::fatal(format!("connection.url: {error}"))),
    };
    if answer.status == 401 {
        return Err(Failure::fatal(format!("connection.url: {}", refusal(&answer))));
    }
    let json: Json = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
    let version = json.get("version");
    let text = |name| version.and_then(|version| version.get(name)).and_then(Json::as_str);
    let Some(number) = text("number") else { return Ok(()) };
    let major = number.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if text("distribution") != Some("opensearch") && major.is_some_and(|major| major < 7) {
        return Err(Failure::fatal(format!(
            "connection.url: Elasticsearch {number} is too old; 7, 8 and 9 and OpenSearch are supported"
        )));
    }
    tracing::info!(connector = &*sender.connector, task = sender.task, "the cluster has version {number}");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths() {
        assert_eq!(super::escaped("logs-a.b"), "logs-a.b");
        assert_eq!(super::escaped("a/b é"), "a%2Fb%20%C3%A9");
    }
}

//! A registry inside the process, for tests and offline work: `mock://name`, as Confluent's clients have it.
//!
//! Ids start at 1 and are one per schema, versions start at 1 and are one per subject. It checks that a schema is JSON where its language
//! is, and nothing more; every schema is compatible.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use crate::error::{Error, ErrorKind};
use crate::model::{Reference, Schema, SchemaType};
use crate::request::{Request, Verb};

/// The registries of this process by name. They live as long as it does, as Confluent's do.
static SCOPES: LazyLock<Mutex<HashMap<String, Arc<Mock>>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
pub(crate) struct Mock {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By id from 1.
    schemas: Vec<Arc<Schema>>,
    subjects: IndexMap<String, Vec<Entry>>,
    config: HashMap<String, String>,
    modes: HashMap<String, String>,
}

#[derive(Debug, Clone)]
struct Entry {
    version: i32,
    id: i32,
    deleted: bool,
}

type Answer = Result<Json, Error>;

fn not_found(code: i32, message: String) -> Error {
    Error::new(ErrorKind::NotFound, message).with_code(code)
}

impl Mock {
    /// The registry of that name, made when it is first asked for.
    pub(crate) fn scope(name: &str) -> Arc<Mock> {
        Arc::clone(SCOPES.lock().entry(name.to_owned()).or_default())
    }

    /// Answers as a registry would.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state.lock();
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let flag = |name: &str| request.query.iter().any(|(key, value)| *key == name && value == "true");
        match (request.verb, path.as_slice()) {
            (Verb::Get, ["schemas", "ids", id]) => state.by_id(id),
            (Verb::Get, ["schemas", "ids", id, "versions"]) => Ok(state.versions_of(id)),
            (Verb::Get, ["schemas", "types"]) => Ok(json!(["AVRO", "JSON", "PROTOBUF"])),
            (Verb::Get, ["subjects"]) => Ok(state.subjects(flag("deleted"))),
            (Verb::Get, ["contexts"]) => Ok(json!(["."])),
            (Verb::Post, ["subjects", subject, "versions"]) => {
                state.register(subject, parse(request)?, flag("normalize"))
            }
            (Verb::Post, ["subjects", subject]) => {
                state.look_up(subject, &parse(request)?, flag("normalize"), flag("deleted"))
            }
            (Verb::Get, ["subjects", subject, "versions"]) => state.versions(subject, flag("deleted")),
            (Verb::Get, ["subjects", subject, "versions", version]) => {
                state.by_version(subject, version, flag("deleted"))
            }
            (Verb::Get, ["subjects", subject, "versions", version, "referencedby"]) => {
                state.referenced_by(subject, version)
            }
            (Verb::Delete, ["subjects", subject]) => state.delete(subject, None, flag("permanent")),
            (Verb::Delete, ["subjects", subject, "versions", version]) => {
                state.delete(subject, Some(version), flag("permanent"))
            }
            (Verb::Post, ["compatibility", "subjects", ..]) => Ok(json!({"is_compatible": true})),
            (verb, ["config", rest @ ..]) => setting(
                &mut state.config,
                request,
                verb,
                rest,
                ("compatibility", "compatibilityLevel", "NONE"),
            ),
            (verb, ["mode", rest @ ..]) => {
                setting(&mut state.modes, request, verb, rest, ("mode", "mode", "READWRITE"))
            }
            _ => Err(not_found(404, "HTTP 404 Not Found".to_owned())),
        }
    }
}

/// Configs and modes: how the body calls the value, how answers do, and the default.
fn setting(
    map: &mut HashMap<String, String>,
    request: &Request,
    verb: Verb,
    path: &[&str],
    (given, shown, default): (&str, &str, &str),
) -> Answer {
    let subject = path.first().copied().unwrap_or_default().to_owned();
    match verb {
        Verb::Put => {
            let value = request.body.as_ref().and_then(|body| body.get(given)).and_then(Json::as_str);
            let value = value.unwrap_or(default).to_owned();
            map.insert(subject, value.clone());
            Ok(json!({ given: value }))
        }
        Verb::Delete => Ok(json!({ given: map.remove(&subject).unwrap_or_else(|| default.to_owned()) })),
        _ => {
            let value = map.get(&subject).or_else(|| map.get("")).map_or(default, String::as_str);
            Ok(json!({ shown: value }))
        }
    }
}

/// The schema of a request's body.
fn parse(request: &Request) -> Result<Schema, Error> {
    let invalid = |what: String| Error::new(ErrorKind::Refused, what).with_code(42201);
    let body = request.body.as_ref().ok_or_else(|| invalid("there is no schema".to_owned()))?;
    let schema = crate::client::schema_of(body).map_err(|error| invalid(error.message))?;
    if schema.schema_type != SchemaType::Protobuf {
        serde_json::from_str::<Json>(&schema.text)
            .map_err(|error| invalid(format!("the schema is not JSON: {error}")))?;
    }
    Ok(schema)
}

/// Whether two schemas are one to the registry: by their tokens, or by content where they are normalized.
fn same(one: &Schema, other: &Schema, normalize: bool) -> bool {
    if one.schema_type != other.schema_type || one.references != other.references {
        return false;
    }
    let json = |schema: &Schema| serde_json::from_str::<Json>(&schema.text).ok();
    // members in their order, which equality of objects does not look at
    let tokens = |json: &Json| json.to_string();
    match (one.schema_type, json(one), json(other)) {
        (SchemaType::Protobuf, ..) | (_, None, _) | (_, _, None) => one.text.trim() == other.text.trim(),
        (_, Some(one), Some(other)) if normalize => one == other,
        (_, Some(one), Some(other)) => tokens(&one) == tokens(&other),
    }
}

fn shown(schema: &Schema) -> Json {
    let mut json = json!({ "schema": &*schema.text });
    if schema.schema_type != SchemaType::Avro {
        json["schemaType"] = schema.schema_type.name().into();
    }
    if !schema.references.is_empty() {
        json["references"] = json!(schema.references);
    }
    json
}

impl State {
    fn schema(&self, id: i32) -> Option<&Arc<Schema>> {
        self.schemas.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn by_id(&self, id: &str) -> Answer {
        let schema = id.parse().ok().and_then(|id| self.schema(id));
        schema.map(|schema| shown(schema)).ok_or_else(|| not_found(40403, format!("Schema {id} not found")))
    }

    fn versions_of(&self, id: &str) -> Json {
        let id = id.parse().unwrap_or(0);
        let all = self.subjects.iter().flat_map(|(subject, entries)| {
            entries
                .iter()
                .filter(|entry| entry.id == id && !entry.deleted)
                .map(move |entry| json!({ "subject": subject, "version": entry.version }))
        });
        all.collect()
    }

    fn subjects(&self, deleted: bool) -> Json {
        let live = |entries: &[Entry]| entries.iter().any(|entry| deleted || !entry.deleted);
        self.subjects.iter().filter(|(_, entries)| live(entries)).map(|(name, _)| name.as_str()).collect()
    }

    fn register(&mut self, subject: &str, schema: Schema, normalize: bool) -> Answer {
        for Reference { subject, version, .. } in &schema.references {
            self.entry(subject, &version.to_string(), false).map_err(|_| {
                let what =
                    format!("No schema reference found for subject \"{subject}\" and version {version}");
                Error::new(ErrorKind::Refused, what).with_code(42201)
            })?;
        }
        let known = self.schemas.iter().position(|known| same(known, &schema, normalize));
        let id = match known {
            Some(index) => index as i32 + 1,
            None => {
                self.schemas.push(Arc::new(schema));
                self.schemas.len() as i32
            }
        };
        let entries = self.subjects.entry(subject.to_owned()).or_default();
        if let Some(entry) = entries.iter().find(|entry| entry.id == id && !entry.deleted) {
            return Ok(json!({ "id": entry.id, "version": entry.version }));
        }
        let version = entries.last().map_or(0, |entry| entry.version) + 1;
        entries.push(Entry { version, id, deleted: false });
        Ok(json!({ "id": id, "version": version }))
    }

    fn entries(&self, subject: &str, deleted: bool) -> Result<Vec<&Entry>, Error> {
        let entries: Vec<&Entry> = self
            .subjects
            .get(subject)
            .map(|entries| entries.iter().filter(|entry| deleted || !entry.deleted).collect())
            .unwrap_or_default();
        if entries.is_empty() {
            return Err(not_found(40401, format!("Subject '{subject}' not found.")));
        }
        Ok(entries)
    }

    fn entry(&self, subject: &str, version: &str, deleted: bool) -> Result<Entry, Error> {
        let entries = self.entries(subject, deleted)?;
        let found = match version {
            "latest" | "-1" => entries.last(),
            _ => entries.iter().find(|entry| entry.version.to_string() == version),
        };
        found
            .map(|entry| (*entry).clone())
            .ok_or_else(|| not_found(40402, format!("Version {version} not found.")))
    }

    fn show_entry(&self, subject: &str, entry: &Entry) -> Json {
        let mut json = self.schema(entry.id).map(|schema| shown(schema)).unwrap_or_default();
        json["subject"] = subject.into();
        json["version"] = entry.version.into();
        json["id"] = entry.id.into();
        json
    }

    fn look_up(&self, subject: &str, schema: &Schema, normalize: bool, deleted: bool) -> Answer {
        let entries = self.entries(subject, deleted)?;
        let matches =
            |entry: &&&Entry| self.schema(entry.id).is_some_and(|known| same(known, schema, normalize));
        let found = entries.iter().rev().find(matches);
        found
            .map(|entry| self.show_entry(subject, entry))
            .ok_or_else(|| not_found(40403, "Schema not found".to_owned()))
    }

    fn versions(&self, subject: &str, deleted: bool) -> Answer {
        Ok(self.entries(subject, deleted)?.iter().map(|entry| entry.version).collect())
    }

    fn by_version(&self, subject: &str, version: &str, deleted: bool) -> Answer {
        Ok(self.show_entry(subject, &self.entry(subject, version, deleted)?))
    }

    fn referenced_by(&self, subject: &str, version: &str) -> Answer {
        let target = self.entry(subject, version, true)?.version;
        let uses = |schema: &Schema| {
            schema.references.iter().any(|other| other.subject == subject && other.version == target)
        };
        let users = self.schemas.iter().enumerate().filter(|(_, schema)| uses(schema));
        Ok(users.map(|(index, _)| index + 1).collect())
    }

    fn delete(&mut self, subject: &str, version: Option<&str>, permanent: bool) -> Answer {
        let versions: Vec<i32> = match version {
            Some(version) => vec![self.entry(subject, version, permanent)?.version],
            None => self.entries(subject, permanent)?.iter().map(|entry| entry.version).collect(),
        };
        if let Some(entries) = self.subjects.get_mut(subject) {
            if permanent {
                entries.retain(|entry| !versions.contains(&entry.version));
            } else {
                for entry in entries.iter_mut().filter(|entry| versions.contains(&entry.version)) {
                    entry.deleted = true;
                }
            }
        }
        Ok(if version.is_some() { json!(versions[0]) } else { json!(versions) })
    }
}

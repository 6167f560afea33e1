//! The client: what converters need on their way, kept once it is known.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::cache::Cache;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::http::Http;
use crate::mock::Mock;
use crate::model::{Reference, Registered, Resolved, Schema, SchemaType, Version};
use crate::request::{Request, Verb};

/// Schemas that a schema may use, directly or not.
const MAX_REFERENCES: usize = 256;

#[derive(Debug)]
enum Backend {
    Mock(Arc<Mock>),
    Http(Box<Http>),
}

/// A registry. Cheap to share behind an `Arc`; all methods may be called at once.
#[derive(Debug)]
pub struct Client {
    backend: Backend,
    by_id: Cache<(i32, String), Arc<Schema>>,
    by_version: Cache<(String, Version), Arc<Registered>>,
    registered: Cache<(String, Arc<Schema>, bool), Arc<Registered>>,
    looked_up: Cache<(String, Arc<Schema>, bool), Arc<Registered>>,
}

impl Client {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for URLs and settings that cannot be.
    pub fn new(config: Config) -> Result<Self, Error> {
        let keep = config.cache;
        let (missing, latest) = (config.missing_ttl, config.latest_ttl);
        let mock = config.urls.iter().find_map(|url| url.trim().strip_prefix("mock://"));
        let backend = match mock {
            Some(_) if config.urls.len() > 1 => {
                let what = "schema.registry.url: mock:// stands alone, not beside other URLs";
                return Err(Error::new(ErrorKind::Config, what));
            }
            Some(name) => Backend::Mock(Mock::scope(name)),
            None => Backend::Http(Box::new(Http::new(config)?)),
        };
        Ok(Self {
            backend,
            by_id: Cache::new(keep, missing, None),
            by_version: Cache::new(keep, missing, latest),
            registered: Cache::new(keep, missing, None),
            looked_up: Cache::new(keep, missing, None),
        })
    }

    /// Whether the registry is within the process: its answers are there at once.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.backend, Backend::Mock(_))
    }

    pub(crate) async fn ask(&self, request: &Request) -> Result<Json, Error> {
        match &self.backend {
            Backend::Mock(mock) => mock.answer(request),
            Backend::Http(http) => http.send(request).await,
        }
    }

    /// The schema of an id. `subject` says in which context the id is meant (an id is one per context); empty: in the default one.
    ///
    /// # Errors
    /// 40403 if there is none such; what keeps the registry from answering.
    pub async fn schema_by_id(&self, id: i32, subject: &str) -> Result<Arc<Schema>, Error> {
        let context = context_of(subject);
        self.by_id
            .get(&(id, context.to_owned()), async {
                let mut request = Request::new(Verb::Get, &["schemas", "ids", &id.to_string()]);
                if !context.is_empty() {
                    request = request.query("subject", subject);
                }
                Ok(Arc::new(schema_of(&self.ask(&request).await?)?))
            })
            .await
    }

    /// Registers a schema under a subject unless it is there; gives its id.
    ///
    /// # Errors
    /// 409 for an incompatible schema, 42201 for an invalid one; what keeps the registry from answering.
    pub async fn register(
        &self,
        subject: &str,
        schema: &Arc<Schema>,
        normalize: bool,
    ) -> Result<Arc<Registered>, Error> {
        let key = (subject.to_owned(), Arc::clone(schema), normalize);
        self.registered
            .get(&key, async {
                let request = Request::new(Verb::Post, &["subjects", subject, "versions"])
                    .flag("normalize", normalize)
                    .body(body_of(schema));
                let answer = self.ask(&request).await?;
                self.by_version.forget(|(known, version)| known == subject && *version == Version::Latest);
                let registered = Registered {
                    id: number(&answer, "id")?,
                    subject: subject.into(),
                    version: number(&answer, "version").unwrap_or(0),
                    schema: Arc::clone(schema),
                };
                self.by_id.put(&(registered.id, context_of(subject).to_owned()), Arc::clone(schema));
                Ok(Arc::new(registered))
            })
            .await
    }

    /// Id and version of a schema under a subject.
    ///
    /// # Errors
    /// 40401 or 40403 if it is not there; what keeps the registry from answering.
    pub async fn look_up(
        &self,
        subject: &str,
        schema: &Arc<Schema>,
        normalize: bool,
    ) -> Result<Arc<Registered>, Error> {
        let key = (subject.to_owned(), Arc::clone(schema), normalize);
        self.looked_up
            .get(&key, async {
                let request = Request::new(Verb::Post, &["subjects", subject])
                    .flag("normalize", normalize)
                    .query("deleted", "true")
                    .body(body_of(schema));
                Ok(Arc::new(registered_of(&self.ask(&request).await?)?))
            })
            .await
    }

    /// A version of a subject.
    ///
    /// # Errors
    /// 40401 or 40402 if it is not there; what keeps the registry from answering.
    pub async fn version(&self, subject: &str, version: Version) -> Result<Arc<Registered>, Error> {
        self.by_version
            .get(&(subject.to_owned(), version), async {
                let path = ["subjects", subject, "versions", &version.to_string()];
                // a version that others refer to may have been deleted since
                let deleted = version != Version::Latest;
                let request = Request::new(Verb::Get, &path).flag("deleted", deleted);
                Ok(Arc::new(registered_of(&self.ask(&request).await?)?))
            })
            .await
    }

    /// Everything that a schema uses, each once and before those that use it.
    ///
    /// # Errors
    /// What [`Self::version`] gives, and [`ErrorKind::Malformed`] for more than 256 schemas.
    pub async fn resolve(&self, schema: &Schema) -> Result<Vec<Resolved>, Error> {
        let mut found: Vec<Resolved> = Vec::new();
        // references whose own references are still to be seen, and those that wait for theirs
        let mut work: Vec<(Reference, Option<Arc<Schema>>)> =
            schema.references.iter().rev().map(|reference| (reference.clone(), None)).collect();
        let mut asked = 0;
        while let Some((reference, schema)) = work.pop() {
            if let Some(schema) = schema {
                if !found.iter().any(|known| known.name == reference.name) {
                    found.push(Resolved { name: reference.name, schema });
                }
                continue;
            }
            if found.iter().any(|known| known.name == reference.name)
                || work.iter().any(|(other, schema)| schema.is_some() && other.name == reference.name)
            {
                continue;
            }
            asked += 1;
            if asked > MAX_REFERENCES {
                let what = format!("a schema uses more than {MAX_REFERENCES} others");
                return Err(Error::new(ErrorKind::Malformed, what));
            }
            let version =
                if reference.version < 0 { Version::Latest } else { Version::Number(reference.version) };
            let used = self.version(&reference.subject, version).await?;
            let below = used.schema.references.clone();
            work.push((reference, Some(Arc::clone(&used.schema))));
            work.extend(below.into_iter().rev().map(|reference| (reference, None)));
        }
        Ok(found)
    }

    pub(crate) fn forget_subject(&self, subject: &str) {
        self.by_version.forget(|(known, _)| known == subject);
        self.registered.forget(|(known, ..)| known == subject);
        self.looked_up.forget(|(known, ..)| known == subject);
    }
}

/// The context of a subject (`:.context:subject`), empty for the default one.
fn context_of(subject: &str) -> &str {
    subject.strip_prefix(":.").and_then(|rest| rest.split_once(':')).map_or("", |(context, _)| context)
}

pub(crate) fn body_of(schema: &Schema) -> Json {
    let mut body = json!({ "schema": &*schema.text });
    if schema.schema_type != SchemaType::Avro {
        body["schemaType"] = schema.schema_type.name().into();
    }
    if !schema.references.is_empty() {
        body["references"] = json!(schema.references);
    }
    body
}

pub(crate) fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("the registry's answer has no {what}"))
}

pub(crate) fn number(answer: &Json, name: &str) -> Result<i32, Error> {
    let number = answer.get(name).and_then(Json::as_i64).and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| malformed(name))
}

/// A schema as requests and answers have it.
pub(crate) fn schema_of(json: &Json) -> Result<Schema, Error> {
    let text = json.get("schema").and_then(Json::as_str).ok_or_else(|| malformed("schema"))?;
    let schema_type = match json.get("schemaType").and_then(Json::as_str) {
        None | Some("AVRO") => SchemaType::Avro,
        Some("JSON") => SchemaType::Json,
        Some("PROTOBUF") => SchemaType::Protobuf,
        Some(other) => {
            let what = format!("schemas of type {other} are not known; known are AVRO, JSON and PROTOBUF");
            return Err(Error::new(ErrorKind::Malformed, what));
        }
    };
    let references = match json.get("references").filter(|references| !references.is_null()) {
        Some(references) => serde_json::from_value(references.clone())
            .map_err(|error| malformed("readable references").caused_by(error))?,
        None => Vec::new(),
    };
    Ok(Schema { schema_type, text: text.into(), references })
}

fn registered_of(json: &Json) -> Result<Registered, Error> {
    Ok(Registered {
        id: number(json, "id")?,
        subject: json.get("subject").and_then(Json::as_str).unwrap_or_default().into(),
        version: number(json, "version")?,
        schema: Arc::new(schema_of(json)?),
    })
}

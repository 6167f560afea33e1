//! The configuration made ready: both flavors' keys become one set of settings.

use std::fmt;
use std::time::Duration;

use aqueduct_engine::config::{ConfigError, ParsedConfig};
use aqueduct_engine::connector::ConfigMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::keys;
use super::rules;
use super::url::NodeUrl;

/// Whose keys and defaults hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    /// Confluent's connector.
    Elasticsearch,
    /// Aiven's connector.
    OpenSearch,
}

impl Flavor {
    pub(super) fn config_def(self) -> &'static aqueduct_engine::config::ConfigDef {
        match self {
            Flavor::Elasticsearch => &keys::ELASTICSEARCH,
            Flavor::OpenSearch => &keys::OPENSEARCH,
        }
    }

    /// What stands before `ssl.*`.
    pub(super) fn tls_prefix(self) -> &'static str {
        match self {
            Flavor::Elasticsearch => "elastic.https.",
            Flavor::OpenSearch => "connection.",
        }
    }
}

/// A value that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A proxy between us and the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// Value of `Proxy-Authorization`.
    pub(super) authorization: Option<Secret>,
}

/// How the cluster is reached.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) flavor: Flavor,
    pub(super) nodes: Vec<NodeUrl>,
    /// Value of `Authorization`.
    pub(super) authorization: Option<Secret>,
    pub(super) proxy: Option<Proxy>,
    pub(super) compression: bool,
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    /// `None`: connections without use are kept for good.
    pub(super) idle: Option<Duration>,
}

/// Bounds of requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batching {
    /// Most records of a bulk.
    pub(super) records: usize,
    /// Most bytes of a bulk.
    pub(super) bytes: usize,
    pub(super) in_flight: usize,
    pub(super) buffered: usize,
    pub(super) linger: Duration,
    pub(super) flush_timeout: Duration,
    pub(super) max_retries: u32,
    pub(super) backoff: Duration,
}

/// What becomes of records without value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnNull {
    Ignore,
    Delete,
    Fail,
}

/// What becomes of what the cluster refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRefusal {
    Ignore,
    Warn,
    /// Into the dead letter queue, and on.
    Report,
    Fail,
}

/// Where ids come from where keys are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdSource {
    /// The cluster makes them.
    Cluster,
    Key,
    /// `topic+partition+offset`.
    Offset,
}

/// Where a document's routing comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Routing {
    None,
    Key,
    /// A JSON Pointer into the document.
    Value(String),
}

/// A setting for all topics, or for some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ByTopic {
    pub(super) all: bool,
    pub(super) topics: Vec<String>,
}

impl ByTopic {
    pub(super) fn is_set(&self, topic: &str) -> bool {
        self.all || self.topics.iter().any(|named| named == topic)
    }
}

/// What becomes of records.
#[derive(Debug, Clone)]
pub(super) struct Writing {
    pub(super) upsert: bool,
    pub(super) key_ignore: ByTopic,
    /// The source of ids where keys are ignored.
    pub(super) ignored_id: IdSource,
    pub(super) schema_ignore: ByTopic,
    pub(super) compact_maps: bool,
    pub(super) drop_invalid: bool,
    pub(super) on_null: OnNull,
    pub(super) on_malformed: OnRefusal,
    pub(super) on_conflict: OnRefusal,
    /// Empty: the offset is the version.
    pub(super) version_header: String,
    pub(super) routing: Routing,
    /// `retry_on_conflict` of updates.
    pub(super) retry_on_conflict: usize,
    /// `errors.tolerance=all`: what is reported is skipped by the worker.
    pub(super) tolerant: bool,
    pub(super) log_sensitive: bool,
}

/// Existing targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Existing {
    /// Target by topic.
    pub(super) mapping: Vec<(String, String)>,
    pub(super) are_streams: bool,
    pub(super) key: &'static str,
}

/// The timestamp of a data stream's documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StreamTimestamp {
    /// The first of these fields that is there; without any the record's timestamp.
    Fields(Vec<String>),
    /// The record's timestamp where the document has none.
    IfMissing,
    /// The document's own business.
    Own,
}

/// Data streams, and how they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Streams {
    None,
    /// Type, dataset, namespace.
    Parts([String; 3]),
    /// Prefix and topic; the template that has to be there.
    Prefix(Option<String>, Option<String>),
}

/// Everything.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) connection: Connection,
    pub(super) batching: Batching,
    pub(super) writing: Writing,
    pub(super) existing: Option<Existing>,
    pub(super) streams: Streams,
    pub(super) timestamp: StreamTimestamp,
}

impl Settings {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn new(flavor: Flavor, config: &ConfigMap) -> Result<Settings, ConfigError> {
        let parsed = flavor.config_def().parse(config)?;
        if let Some(error) = rules::check(flavor, config, &parsed).into_iter().next() {
            return Err(error);
        }
        let tolerant = config
            .get("errors.tolerance")
            .is_some_and(|tolerance| tolerance.trim().eq_ignore_ascii_case("all"));
        Ok(Settings {
            connection: connection(flavor, &parsed)?,
            batching: batching(&parsed),
            writing: writing(flavor, &parsed, tolerant),
            existing: existing(flavor, &parsed),
            streams: streams(flavor, &parsed),
            timestamp: timestamp(flavor, &parsed),
        })
    }

    /// Whether documents go to data streams.
    pub(super) fn is_data_stream(&self) -> bool {
        match &self.existing {
            Some(existing) => existing.are_streams,
            None => self.streams != Streams::None,
        }
    }
}

fn millis(parsed: &ParsedConfig, key: &str) -> Duration {
    Duration::from_millis(u64::try_from(parsed.long(key)).unwrap_or(0))
}

fn count(parsed: &ParsedConfig, key: &str) -> usize {
    usize::try_from(parsed.long(key)).unwrap_or(0)
}

fn is(parsed: &ParsedConfig, key: &str, value: &str) -> bool {
    parsed.string(key).is_some_and(|text| text.eq_ignore_ascii_case(value))
}

fn text<'a>(parsed: &'a ParsedConfig, key: &str) -> Option<&'a str> {
    parsed.string(key).filter(|text| !text.is_empty())
}

fn basic(user: &str, password: &str) -> Secret {
    Secret(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
}

fn connection(flavor: Flavor, parsed: &ParsedConfig) -> Result<Connection, ConfigError> {
    let urls = parsed.list("connection.url");
    let secure =
        urls.iter().any(|url| url.starts_with("https:")) || is(parsed, "elastic.security.protocol", "SSL");
    let mut nodes = urls.iter().map(|url| NodeUrl::parse(url)).collect::<Result<Vec<_>, _>>()?;
    // as in the JVM's: one https makes all of them so
    if secure && flavor == Flavor::Elasticsearch {
        nodes.iter_mut().for_each(|node| node.https = true);
    }
    let authorization = match (text(parsed, "connection.api.key"), parsed.string("connection.username")) {
        (Some(key), _) => Some(Secret(format!("ApiKey {key}"))),
        (None, Some(user)) => parsed.string("connection.password").map(|password| basic(user, password)),
        (None, None) => None,
    };
    let proxy = text(parsed, "proxy.host").map(|host| Proxy {
        host: host.to_owned(),
        port: u16::try_from(parsed.long("proxy.port")).unwrap_or(8080),
        authorization: text(parsed, "proxy.username")
            .zip(parsed.string("proxy.password"))
            .map(|(user, password)| basic(user, password)),
    });
    let idle = match parsed.string("max.connection.idle.time.ms") {
        Some(text) => u64::try_from(text.parse().unwrap_or(-1_i64)).ok().map(Duration::from_millis),
        None => Some(Duration::from_secs(60)),
    };
    Ok(Connection {
        flavor,
        nodes,
        authorization,
        proxy,
        compression: parsed.boolean("connection.compression"),
        connect_timeout: millis(parsed, "connection.timeout.ms"),
        read_timeout: millis(parsed, "read.timeout.ms"),
        idle,
    })
}

fn batching(parsed: &ParsedConfig) -> Batching {
    const BULK_BYTES: usize = 5 * 1024 * 1024;
    let bytes = match parsed.string("bulk.size.bytes") {
        Some(_) => usize::try_from(parsed.long("bulk.size.bytes")).unwrap_or(usize::MAX),
        None => BULK_BYTES,
    };
    Batching {
        records: count(parsed, "batch.size").max(1),
        bytes,
        in_flight: count(parsed, "max.in.flight.requests").max(1),
        buffered: count(parsed, "max.buffered.records").max(1),
        linger: millis(parsed, "linger.ms"),
        flush_timeout: millis(parsed, "flush.timeout.ms"),
        max_retries: u32::try_from(parsed.long("max.retries")).unwrap_or(u32::MAX),
        backoff: millis(parsed, "retry.backoff.ms"),
    }
}

fn on_refusal(parsed: &ParsedConfig, key: &str) -> OnRefusal {
    match parsed.string(key).map(str::to_ascii_lowercase).as_deref() {
        Some("ignore") => OnRefusal::Ignore,
        Some("warn") => OnRefusal::Warn,
        Some("report") => OnRefusal::Report,
        _ => OnRefusal::Fail,
    }
}

fn by_topic(parsed: &ParsedConfig, all: &str, topics: &str) -> ByTopic {
    ByTopic { all: parsed.boolean(all), topics: parsed.list(topics).into_iter().map(str::to_owned).collect() }
}

fn writing(flavor: Flavor, parsed: &ParsedConfig, tolerant: bool) -> Writing {
    let mut key_ignore = by_topic(parsed, "key.ignore", "topic.key.ignore");
    let method = if flavor == Flavor::OpenSearch { "index.write.method" } else { "write.method" };
    let upsert = is(parsed, method, "upsert");
    let generated = !upsert && parsed.boolean("use.autogenerated.ids");
    key_ignore.all |= generated;
    let ignored_id = match parsed.string("key.ignore.id.strategy").map(str::to_ascii_lowercase).as_deref() {
        Some("none") => IdSource::Cluster,
        Some("record.key") => IdSource::Key,
        _ if generated => IdSource::Cluster,
        _ => IdSource::Offset,
    };
    let (on_conflict, most_retries) = match flavor {
        Flavor::Elasticsearch => (OnRefusal::Ignore, 5),
        Flavor::OpenSearch => (on_refusal(parsed, "behavior.on.version.conflict"), 3),
    };
    Writing {
        upsert,
        key_ignore,
        ignored_id,
        schema_ignore: by_topic(parsed, "schema.ignore", "topic.schema.ignore"),
        compact_maps: parsed.boolean("compact.map.entries"),
        drop_invalid: parsed.boolean("drop.invalid.message"),
        on_null: match parsed.string("behavior.on.null.values").map(str::to_ascii_lowercase).as_deref() {
            Some("ignore") => OnNull::Ignore,
            Some("delete") => OnNull::Delete,
            _ => OnNull::Fail,
        },
        on_malformed: on_refusal(parsed, "behavior.on.malformed.documents"),
        on_conflict,
        version_header: parsed.string("external.version.header").unwrap_or_default().to_owned(),
        routing: match parsed.string("routing.type").map(str::to_ascii_lowercase).as_deref() {
            Some("key") => Routing::Key,
            Some("value") => {
                Routing::Value(parsed.string("routing.type.record.value.path").unwrap_or_default().to_owned())
            }
            _ => Routing::None,
        },
        retry_on_conflict: count(parsed, "max.in.flight.requests").min(most_retries),
        tolerant,
        log_sensitive: parsed.boolean("log.sensitive.data"),
    }
}

fn existing(flavor: Flavor, parsed: &ParsedConfig) -> Option<Existing> {
    let (usage, key, none) = rules::existing_keys(flavor);
    let usage = parsed.string(usage).filter(|usage| !usage.eq_ignore_ascii_case(none))?.to_ascii_uppercase();
    let mapping = rules::topic_mapping(key, &parsed.list(key)).unwrap_or_default();
    let are_streams = usage.ends_with("DATASTREAM") || usage == "DATA_STREAM";
    Some(Existing { mapping, are_streams, key })
}

fn streams(flavor: Flavor, parsed: &ParsedConfig) -> Streams {
    if flavor == Flavor::OpenSearch {
        if !parsed.boolean("data.stream.enabled") {
            return Streams::None;
        }
        let own = |key| text(parsed, key).map(str::to_owned);
        return Streams::Prefix(own("data.stream.prefix"), own("data.streams.existing.index.template.name"));
    }
    let part = |key| parsed.string(key).unwrap_or_default().to_owned();
    let kind = part("data.stream.type");
    if kind.eq_ignore_ascii_case("none") || part("data.stream.dataset").is_empty() {
        return Streams::None;
    }
    Streams::Parts([kind.to_lowercase(), part("data.stream.dataset"), part("data.stream.namespace")])
}

fn timestamp(flavor: Flavor, parsed: &ParsedConfig) -> StreamTimestamp {
    const KEY: &str = "data.stream.timestamp.field";
    match flavor {
        Flavor::Elasticsearch => {
            StreamTimestamp::Fields(parsed.list(KEY).into_iter().map(str::to_owned).collect())
        }
        Flavor::OpenSearch if parsed.string(KEY) == Some(super::document::TIMESTAMP) => {
            StreamTimestamp::IfMissing
        }
        Flavor::OpenSearch => StreamTimestamp::Own,
    }
}

//! The tables of keys, which validate, answer REST and document: Confluent's and Aiven's names and defaults.

use aqueduct_engine::config::{ConfigDef, ConfigKey, ConfigType, Importance, Validator, Width};

use ConfigType::{Boolean, Int, List, Long, Password, String as Text};
use Importance::{High, Low, Medium};
use Width::{Long as Wide, Medium as Middle, Short};

const CONNECTOR: &str = "Connector";
const CONVERSION: &str = "Data Conversion";
const PROXY: &str = "Proxy";
const SECURITY: &str = "Security";
const KERBEROS: &str = "Kerberos";

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const WEEK_MS: i64 = 7 * DAY_MS;
const HALF_DAY_MS: i64 = DAY_MS / 2;
const INT_MAX: i64 = i32::MAX as i64;

/// A number's bounds, in Kafka's words.
fn between<const MIN: i64, const MAX: i64>(value: &str) -> Option<String> {
    let number: i64 = value.parse().ok()?;
    match number {
        _ if number < MIN => Some(format!("Value must be at least {MIN}")),
        _ if number > MAX => Some(format!("Value must be no more than {MAX}")),
        _ => None,
    }
}

/// Part of a data stream's name.
fn stream_part(value: &str) -> Option<String> {
    if value.chars().count() > 100 {
        return Some("It must be no longer than 100 characters.".to_owned());
    }
    if value != value.to_lowercase() {
        return Some("It must be in all lowercase.".to_owned());
    }
    let bad =
        |char| matches!(char, '\\' | '/' | '*' | '?' | '"' | '<' | '>' | '|' | ' ' | ',' | '#' | '-' | ':');
    // the placeholder is checked once it is replaced
    value
        .replace("${topic}", "")
        .contains(bad)
        .then(|| "It must not contain any spaces or invalid characters \\/*?\"<>|,#-:".to_owned())
}

fn keytab(value: &str) -> Option<String> {
    let wrong = !value.is_empty() && (!value.ends_with(".keytab") || !std::path::Path::new(value).exists());
    wrong.then(|| "The file must exist and end with .keytab".to_owned())
}

fn pointer(value: &str) -> Option<String> {
    (!value.is_empty() && !value.starts_with('/')).then(|| "A JSON Pointer begins with /".to_owned())
}

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    importance: Importance,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey::with_default(name, kind, default, importance, doc)
}

const fn null(name: &'static str, kind: ConfigType, importance: Importance, doc: &'static str) -> ConfigKey {
    ConfigKey::nullable(name, kind, importance, doc)
}

const URL: ConfigKey = ConfigKey::required(
    "connection.url",
    List,
    High,
    "URLs of the cluster's nodes, used in turn; a node that does not answer is left out for a while. Without a scheme: http. If one of them is https, all are.",
)
.shown(CONNECTOR, 1, Wide, "Connection URLs")
.valid(Validator::NonEmptyList);
const USERNAME: ConfigKey =
    null("connection.username", Text, Medium, "User of basic authentication; together with the password.")
        .shown(CONNECTOR, 2, Short, "Connection Username");
const PASSWORD: ConfigKey = null("connection.password", Password, Medium, "Its password.").shown(
    CONNECTOR,
    3,
    Short,
    "Connection Password",
);
const API_KEY: ConfigKey = null(
    "connection.api.key",
    Password,
    Low,
    "An API key in its encoded form, in place of user and password (ours).",
)
.shown(CONNECTOR, 4, Short, "API Key");
const SENSITIVE: ConfigKey = key(
    "log.sensitive.data",
    Boolean,
    "false",
    Low,
    "Whether the cluster's reasons are kept whole in logs, traces and dead letters: they may quote values of documents.",
)
.shown(CONVERSION, 30, Short, "Log Sensitive Data");
const BATCH_SIZE: ConfigKey = key("batch.size", Int, "2000", Medium, "Most records of one bulk request.")
    .shown(CONNECTOR, 11, Short, "Batch Size")
    .valid(Validator::Check(between::<1, 1_000_000>));
const BULK_SIZE: ConfigKey = key(
    "bulk.size.bytes",
    Long,
    "5242880",
    Low,
    "Most bytes of one bulk request; a larger record goes alone. -1: no bound but that of batch.size.",
)
.shown(CONNECTOR, 12, Short, "Bulk Size (bytes)")
.valid(Validator::Check(between::<-1, INT_MAX>));
const IN_FLIGHT: ConfigKey =
    key("max.in.flight.requests", Int, "5", Medium, "Most bulk requests of a task at the same time.")
        .shown(CONNECTOR, 13, Short, "Max In-flight Requests")
        .valid(Validator::Check(between::<1, 1000>));
const BUFFERED: ConfigKey = key(
    "max.buffered.records",
    Int,
    "20000",
    Low,
    "Most records that a task holds; at least batch.size × max.in.flight.requests.",
)
.shown(CONNECTOR, 14, Short, "Max Buffered Records")
.valid(Validator::Check(between::<1, INT_MAX>));
const LINGER: ConfigKey =
    key("linger.ms", Long, "1", Low, "How long a bulk request that is not full waits for more records.")
        .shown(CONNECTOR, 15, Short, "Linger (ms)")
        .valid(Validator::Check(between::<0, WEEK_MS>));
const RETRIES: ConfigKey = key(
    "max.retries",
    Int,
    "5",
    Low,
    "How often a bulk request, or what failed of it, is sent again before the task fails.",
)
.shown(CONNECTOR, 18, Short, "Max Retries")
.valid(Validator::Check(between::<0, INT_MAX>));
const BACKOFF: ConfigKey = key(
    "retry.backoff.ms",
    Long,
    "100",
    Low,
    "Before retry n: at random up to this × 2^n, a minute at most.",
)
.shown(CONNECTOR, 19, Short, "Retry Backoff (ms)")
.valid(Validator::Check(between::<0, DAY_MS>));
const CONNECT_TIMEOUT: ConfigKey =
    key("connection.timeout.ms", Int, "1000", Low, "How long connecting may take.")
        .shown(CONNECTOR, 22, Short, "Connection Timeout")
        .valid(Validator::Check(between::<0, HALF_DAY_MS>));
const READ_TIMEOUT: ConfigKey = key(
    "read.timeout.ms",
    Int,
    "3000",
    Low,
    "How long the cluster may keep silent once it has a request; raise it for large requests.",
)
.shown(CONNECTOR, 23, Short, "Read Timeout")
.valid(Validator::Check(between::<0, WEEK_MS>));
const FLUSH_TIMEOUT_DOC: &str = "How long a flush, and the wait for room, may take before the task fails.";
const SCHEMA_IGNORE: ConfigKey = key(
    "schema.ignore",
    Boolean,
    "false",
    Low,
    "Whether no mapping is made from schemas, and values are written as JsonConverter writes them.",
)
.shown(CONVERSION, 2, Short, "Ignore Schema mode");
const COMPACT: ConfigKey = key(
    "compact.map.entries",
    Boolean,
    "true",
    Low,
    "Whether maps with text keys are JSON objects; else they are arrays of key and value, as other maps always are.",
)
.shown(CONVERSION, 3, Short, "Compact Map Entries");
const TOPIC_KEY_IGNORE: ConfigKey =
    key("topic.key.ignore", List, "", Low, "Topics for which key.ignore is true.").shown(
        CONVERSION,
        4,
        Wide,
        "Topics for 'Ignore Key' mode",
    );
const TOPIC_SCHEMA_IGNORE: ConfigKey =
    key("topic.schema.ignore", List, "", Low, "Topics for which schema.ignore is true.").shown(
        CONVERSION,
        5,
        Wide,
        "Topics for 'Ignore Schema' mode",
    );
const DROP_INVALID: ConfigKey = key(
    "drop.invalid.message",
    Boolean,
    "false",
    Low,
    "Whether records that cannot become documents are left out; else the task fails.",
)
.shown(CONVERSION, 6, Wide, "Drop invalid messages");
const KEY_IGNORE: ConfigKey = key(
    "key.ignore",
    Boolean,
    "false",
    High,
    "Whether documents are identified by topic+partition+offset instead of the record's key.",
)
.shown(CONVERSION, 1, Short, "Ignore Key mode");

const NULL_VALUES_DOC: &str =
    "What becomes of records without value: ignore, delete (the key's document) or fail.";
const MALFORMED_DOC: &str = "What becomes of documents that the cluster refuses: ignore, warn or fail; in any case they go to the dead letter queue, if there is one.";

/// Makes a key of `ssl.*` below a prefix.
macro_rules! ssl {
    ($prefix:literal, $name:literal, $kind:expr, $importance:expr, $order:literal) => {
        null(
            concat!($prefix, $name),
            $kind,
            $importance,
            "As Kafka's clients have it, for the cluster's https.",
        )
        .shown(SECURITY, $order, Middle, concat!($prefix, $name))
    };
}

/// `io.confluent.connect.elasticsearch.ElasticsearchSinkConnector`.
pub(super) static ELASTICSEARCH: ConfigDef = ConfigDef {
    keys: &[
        URL,
        USERNAME,
        PASSWORD,
        API_KEY,
        key(
            "external.resource.usage",
            Text,
            "DISABLED",
            High,
            "Kind of the existing targets that topic.to.external.resource.mapping names: INDEX, DATASTREAM, ALIAS_INDEX, ALIAS_DATASTREAM or DISABLED.",
        )
        .shown(CONNECTOR, 5, Short, "External Resource Usage")
        .valid(Validator::OneOfIgnoringCase(&[
            "INDEX",
            "DATASTREAM",
            "ALIAS_INDEX",
            "ALIAS_DATASTREAM",
            "DISABLED",
        ])),
        key(
            "topic.to.external.resource.mapping",
            List,
            "",
            High,
            "Where topics go, as topic:target; one each. The targets have to exist.",
        )
        .shown(CONNECTOR, 6, Wide, "Topic to External Resource Mapping"),
        key("max.external.resource.mappings", Int, "15", Medium, "Most of these mappings.")
            .shown(CONNECTOR, 7, Short, "Maximum External Resource Mappings")
            .valid(Validator::AtLeast(1)),
        key(
            "data.stream.type",
            Text,
            "NONE",
            Low,
            "First part of the data stream's name, such as LOGS or METRICS; NONE for plain indexes. Together with the dataset.",
        )
        .shown(CONNECTOR, 8, Short, "Data Stream Type"),
        key("data.stream.dataset", Text, "", Low, "Second part of the data stream's name.")
            .shown(CONNECTOR, 9, Middle, "Data Stream Dataset")
            .valid(Validator::Check(stream_part)),
        key(
            "data.stream.namespace",
            Text,
            "${topic}",
            Low,
            "Third part of the data stream's name; ${topic} stands for the topic.",
        )
        .shown(CONNECTOR, 10, Middle, "Data Stream Namespace")
        .valid(Validator::Check(stream_part)),
        key(
            "data.stream.timestamp.field",
            List,
            "",
            Low,
            "Fields whose first one that is there becomes @timestamp; without any it is the record's timestamp.",
        )
        .shown(CONNECTOR, 10, Wide, "Data Stream Timestamp Field"),
        BATCH_SIZE,
        BULK_SIZE,
        IN_FLIGHT,
        BUFFERED,
        LINGER,
        key("flush.timeout.ms", Long, "180000", Low, FLUSH_TIMEOUT_DOC)
            .shown(CONNECTOR, 16, Short, "Flush Timeout (ms)")
            .valid(Validator::Check(between::<1000, WEEK_MS>)),
        key(
            "flush.synchronously",
            Boolean,
            "false",
            Low,
            "Accepted: offsets are committed after what the cluster has acknowledged in any case, and transforms may change topics.",
        )
        .shown(CONNECTOR, 17, Short, "Flush synchronously"),
        RETRIES,
        BACKOFF,
        key(
            "connection.compression",
            Boolean,
            "false",
            Low,
            "Whether requests are compressed by gzip; for networks slower than a gigabit.",
        )
        .shown(CONNECTOR, 20, Short, "Compression"),
        key(
            "max.connection.idle.time.ms",
            Int,
            "60000",
            Low,
            "How long a connection without use is kept; -1: for good.",
        )
        .shown(CONNECTOR, 21, Short, "Max Connection Idle Time")
        .valid(Validator::Check(between::<-1, DAY_MS>)),
        CONNECT_TIMEOUT,
        READ_TIMEOUT,
        KEY_IGNORE,
        SCHEMA_IGNORE,
        COMPACT,
        TOPIC_KEY_IGNORE,
        TOPIC_SCHEMA_IGNORE,
        DROP_INVALID,
        key("behavior.on.null.values", Text, "FAIL", Low, NULL_VALUES_DOC)
            .shown(CONVERSION, 7, Short, "Behavior for null-valued records")
            .valid(Validator::OneOfIgnoringCase(&["IGNORE", "DELETE", "FAIL"])),
        key("behavior.on.malformed.documents", Text, "FAIL", Low, MALFORMED_DOC)
            .shown(CONVERSION, 8, Short, "Behavior on malformed documents")
            .valid(Validator::OneOfIgnoringCase(&["IGNORE", "WARN", "FAIL"])),
        key(
            "external.version.header",
            Text,
            "",
            Low,
            "A header whose number is the document's version in place of the record's offset.",
        )
        .shown(CONVERSION, 9, Short, "External Version Header Name"),
        key(
            "write.method",
            Text,
            "INSERT",
            Low,
            "INSERT writes whole documents, UPSERT merges into documents that are there.",
        )
        .shown(CONVERSION, 10, Short, "Write Method")
        .valid(Validator::OneOfIgnoringCase(&["INSERT", "UPSERT"])),
        key(
            "use.autogenerated.ids",
            Boolean,
            "false",
            Medium,
            "Whether the cluster makes ids (INSERT): a replay then writes documents again.",
        )
        .shown(CONNECTOR, 11, Short, "Elasticsearch Generated IDs"),
        SENSITIVE,
        key("proxy.host", Text, "", Low, "Proxy to connect through.").shown(PROXY, 0, Wide, "Proxy Host"),
        key("proxy.port", Int, "8080", Low, "Its port.")
            .shown(PROXY, 1, Wide, "Proxy Port")
            .valid(Validator::Check(between::<1, 65535>)),
        key("proxy.username", Text, "", Low, "User at the proxy.").shown(PROXY, 2, Wide, "Proxy Username"),
        null("proxy.password", Password, Low, "Its password.").shown(PROXY, 3, Wide, "Proxy Password"),
        key("elastic.security.protocol", Text, "PLAINTEXT", Medium, "SSL where elastic.https.* are set.")
            .shown(SECURITY, 1, Short, "Security protocol")
            .valid(Validator::OneOfIgnoringCase(&["PLAINTEXT", "SSL"])),
        ssl!("elastic.https.", "ssl.keystore.location", Text, High, 2),
        ssl!("elastic.https.", "ssl.keystore.password", Password, High, 3),
        ssl!("elastic.https.", "ssl.keystore.type", Text, Medium, 4),
        ssl!("elastic.https.", "ssl.keystore.key", Password, High, 5),
        ssl!("elastic.https.", "ssl.keystore.certificate.chain", Password, High, 6),
        ssl!("elastic.https.", "ssl.key.password", Password, High, 7),
        ssl!("elastic.https.", "ssl.truststore.location", Text, High, 8),
        ssl!("elastic.https.", "ssl.truststore.password", Password, High, 9),
        ssl!("elastic.https.", "ssl.truststore.type", Text, Medium, 10),
        ssl!("elastic.https.", "ssl.truststore.certificates", Password, High, 11),
        ssl!("elastic.https.", "ssl.protocol", Text, Medium, 12),
        ssl!("elastic.https.", "ssl.enabled.protocols", List, Medium, 13),
        ssl!("elastic.https.", "ssl.endpoint.identification.algorithm", Text, Low, 14),
        ssl!("elastic.https.", "ssl.cipher.suites", List, Low, 15),
        ssl!("elastic.https.", "ssl.provider", Text, Medium, 16),
        ssl!("elastic.https.", "ssl.keymanager.algorithm", Text, Low, 17),
        ssl!("elastic.https.", "ssl.trustmanager.algorithm", Text, Low, 18),
        ssl!("elastic.https.", "ssl.secure.random.implementation", Text, Low, 19),
        null("kerberos.user.principal", Text, Low, "Not supported: setting it is an error.").shown(
            KERBEROS,
            0,
            Wide,
            "Kerberos User Principal",
        ),
        null("kerberos.keytab.path", Text, Low, "Not supported: setting it is an error.")
            .shown(KERBEROS, 1, Wide, "Kerberos Keytab File Path")
            .valid(Validator::Check(keytab)),
    ],
};

const STREAM: &str = "Data Stream";
const EXISTING: &str = "Topic to Existing Resource Mappings";

/// `io.aiven.kafka.connect.opensearch.OpenSearchSinkConnector`.
pub(super) static OPENSEARCH: ConfigDef = ConfigDef {
    keys: &[
        URL,
        BATCH_SIZE,
        IN_FLIGHT,
        BUFFERED,
        LINGER,
        key("flush.timeout.ms", Long, "10000", Low, FLUSH_TIMEOUT_DOC)
            .shown(CONNECTOR, 16, Short, "Flush Timeout (ms)")
            .valid(Validator::Check(between::<0, WEEK_MS>)),
        RETRIES,
        BACKOFF,
        CONNECT_TIMEOUT,
        READ_TIMEOUT,
        ssl!("connection.", "ssl.protocol", Text, Medium, 1),
        ssl!("connection.", "ssl.cipher.suites", List, Low, 2),
        ssl!("connection.", "ssl.enabled.protocols", List, Medium, 3),
        ssl!("connection.", "ssl.keystore.type", Text, Medium, 4),
        ssl!("connection.", "ssl.keystore.location", Text, High, 5),
        ssl!("connection.", "ssl.keystore.password", Password, High, 6),
        ssl!("connection.", "ssl.key.password", Password, High, 7),
        ssl!("connection.", "ssl.truststore.type", Text, Medium, 8),
        ssl!("connection.", "ssl.truststore.location", Text, High, 9),
        ssl!("connection.", "ssl.truststore.password", Password, High, 10),
        ssl!("connection.", "ssl.endpoint.identification.algorithm", Text, Low, 11),
        USERNAME,
        PASSWORD,
        API_KEY,
        key("index.write.method", Text, "insert", Low, "insert writes whole documents, upsert merges.")
            .shown(CONVERSION, 1, Short, "Index write method")
            .valid(Validator::OneOfIgnoringCase(&["insert", "upsert"])),
        KEY_IGNORE,
        key(
            "key.ignore.id.strategy",
            Text,
            "topic.partition.offset",
            Low,
            "Where ids come from with key.ignore: none (the cluster), record.key or topic.partition.offset.",
        )
        .shown(CONVERSION, 3, Wide, "Document ID generation strategy")
        .valid(Validator::OneOfIgnoringCase(&["none", "record.key", "topic.partition.offset"])),
        SCHEMA_IGNORE,
        COMPACT,
        TOPIC_KEY_IGNORE,
        TOPIC_SCHEMA_IGNORE,
        DROP_INVALID,
        key("behavior.on.null.values", Text, "ignore", Low, NULL_VALUES_DOC)
            .shown(CONVERSION, 9, Short, "Behavior for null-valued records")
            .valid(Validator::OneOfIgnoringCase(&["ignore", "delete", "fail"])),
        key("behavior.on.malformed.documents", Text, "fail", Low, MALFORMED_DOC)
            .shown(CONVERSION, 10, Short, "Behavior on malformed documents")
            .valid(Validator::OneOfIgnoringCase(&["ignore", "warn", "fail", "report"])),
        key(
            "behavior.on.version.conflict",
            Text,
            "fail",
            Low,
            "What becomes of documents whose version is not newer than the cluster's: ignore, warn, fail or report.",
        )
        .shown(CONVERSION, 11, Short, "Behavior on document's version conflict (optimistic locking)")
        .valid(Validator::OneOfIgnoringCase(&["ignore", "warn", "fail", "report"])),
        key("routing.type", Text, "none", Low, "Where a document's routing comes from: none, key or value.")
            .shown(CONVERSION, 12, Wide, "Routing type")
            .valid(Validator::OneOfIgnoringCase(&["none", "key", "value"])),
        null(
            "routing.type.record.value.path",
            Text,
            Low,
            "JSON Pointer of the routing within the document, for routing.type=value.",
        )
        .shown(CONVERSION, 13, Wide, "The routing value is determined by the record's value")
        .valid(Validator::Check(pointer)),
        SENSITIVE,
        key("data.stream.enabled", Boolean, "false", Medium, "Whether documents go to data streams.").shown(
            STREAM,
            1,
            Wide,
            "Data stream name",
        ),
        null("data.stream.prefix", Text, Medium, "First part of the data stream's name; the topic is the second.")
            .shown(STREAM, 2, Wide, "Data stream name"),
        key(
            "data.stream.timestamp.field",
            Text,
            "@timestamp",
            Medium,
            "The data stream's timestamp field; @timestamp is filled in where a document has none.",
        )
        .shown(STREAM, 3, Wide, "Data stream timestamp field")
        .valid(Validator::NonEmpty),
        null(
            "data.streams.existing.index.template.name",
            Text,
            Medium,
            "A template that is there already, instead of one made for the data stream.",
        )
        .shown(STREAM, 4, Wide, "Data stream name"),
        key("existing.resource.type", Text, "none", Low, "Kind of the existing targets: none, index, data_stream or index_alias.")
            .shown(EXISTING, 1, Short, "Existing Resource Type")
            .valid(Validator::OneOfIgnoringCase(&[
                "none",
                "index",
                "data_stream",
                "index_alias",
            ])),
        null(
            "topic.to.existing.resource.mapping",
            List,
            Low,
            "Where topics go, as topic:target; one each, ten at most. The targets have to exist.",
        )
        .shown(EXISTING, 2, Wide, "Topic to resource mappings"),
    ],
};

//! What the three converters of a schema registry take.

use std::time::Duration;

use aqueduct_schema_registry::{Auth, Config, OAuth, Secret};

use super::subject::SubjectNameStrategy;
use crate::config::{
    ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance, ParsedConfig, Validator,
    with_prefix,
};

const URL: &str = "schema.registry.url";
const BASIC_SOURCE: &str = "basic.auth.credentials.source";
const BASIC_INFO: &str = "basic.auth.user.info";
const BEARER_SOURCE: &str = "bearer.auth.credentials.source";
const JAAS: &str = "sasl.jaas.config";
/// Settings of the registry's client may have this prefix, as Confluent's may.
const PREFIX: &str = "schema.registry.";
const KEY_STRATEGY: &str = "key.subject.name.strategy";
const VALUE_STRATEGY: &str = "value.subject.name.strategy";
const TOPIC_NAME: &str = "io.confluent.kafka.serializers.subject.TopicNameStrategy";

const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::Boolean, default, Importance::Medium, doc)
}

const fn text(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::nullable(name, ConfigType::String, Importance::Medium, doc)
}

const fn password(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::nullable(name, ConfigType::Password, Importance::Medium, doc)
}

const fn count(name: &'static str, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::Int, default, Importance::Low, doc).valid(Validator::AtLeast(0))
}

/// The table. A converter has its own beside it.
pub(in crate::converter) const CONFIG: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(URL, ConfigType::List, Importance::High, "URLs of the registry, tried in turn.")
            .valid(Validator::NonEmpty),
        flag("auto.register.schemas", "true", "Whether schemas are registered when they are first written."),
        flag("use.latest.version", "false", "Whether the subject's latest schema is written with."),
        flag(
            "latest.compatibility.strict",
            "true",
            "Whether the latest schema must be able to read what is written.",
        ),
        ConfigKey::with_default("use.schema.id", ConfigType::Int, "-1", Importance::Low, "Id to write with."),
        flag(
            "id.compatibility.strict",
            "true",
            "Whether the schema of use.schema.id must be able to read what is written.",
        ),
        flag("normalize.schemas", "false", "Whether the registry compares schemas in their normal form."),
        count("schemas.cache.config", "1000", "Schemas that are kept."),
        ConfigKey::with_default(
            KEY_STRATEGY,
            ConfigType::Class,
            TOPIC_NAME,
            Importance::Medium,
            "Names subjects of keys.",
        ),
        ConfigKey::with_default(
            VALUE_STRATEGY,
            ConfigType::Class,
            TOPIC_NAME,
            Importance::Medium,
            "Names subjects of values.",
        ),
        ConfigKey::with_default(
            BASIC_SOURCE,
            ConfigType::String,
            "URL",
            Importance::Medium,
            "Where user and password are.",
        )
        .valid(Validator::OneOf(&["URL", "USER_INFO", "SASL_INHERIT"])),
        password(BASIC_INFO, "user:password."),
        password(JAAS, "Login module with username and password, for SASL_INHERIT."),
        text(BEARER_SOURCE, "STATIC_TOKEN or OAUTHBEARER."),
        password("bearer.auth.token", "The token of STATIC_TOKEN."),
        text("bearer.auth.issuer.endpoint.url", "Where OAUTHBEARER gets its tokens."),
        text("bearer.auth.client.id", "Client of OAUTHBEARER."),
        password("bearer.auth.client.secret", "Its secret."),
        text("bearer.auth.scope", "What OAUTHBEARER asks for."),
        text("bearer.auth.logical.cluster", "Sent as target-sr-cluster."),
        text("bearer.auth.identity.pool.id", "Sent as Confluent-Identity-Pool-Id."),
        count(
            "bearer.auth.cache.expiry.buffer.seconds",
            "300",
            "How long before its end a token is renewed.",
        ),
        count("http.connect.timeout.ms", "60000", "To be connected."),
        count("http.read.timeout.ms", "60000", "For an answer."),
        count("max.retries", "3", "Tries after the first, before a look-up counts as failed and is delayed."),
        count("retries.wait.ms", "1000", "Wait before the second try; doubled each time."),
        count("retries.max.wait.ms", "20000", "Longest wait between tries."),
        count("latest.cache.ttl.sec", "-1", "How long a subject's latest version is kept; -1: for good.")
            .valid(Validator::AtLeast(-1)),
        count("missing.schema.cache.ttl.sec", "5", "How long it is kept that there is no such schema."),
    ],
};

/// How schemas are written.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) auto_register: bool,
    pub(super) use_latest: bool,
    pub(super) latest_strict: bool,
    /// From 0; `None`: not set.
    pub(super) use_id: Option<i32>,
    pub(super) id_strict: bool,
    pub(super) normalize: bool,
    /// Plans that are kept.
    pub(super) cache: usize,
    pub(super) strategy: SubjectNameStrategy,
    pub(super) is_key: bool,
    /// Longest wait between two rounds of tries while the registry is down.
    pub(super) longest_pause: Duration,
}

/// The same where the connector has no `errors.retry.delay.max.ms`.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The connector's own setting, which the worker hands to its converters.
const RETRY_DELAY: &str = "errors.retry.delay.max.ms";

/// The converter's part and the client's.
pub(super) fn parse(config: &ConfigMap, is_key: bool) -> Result<(Options, Config), ConfigError> {
    let longest_pause = config.get(RETRY_DELAY).and_then(|ms| ms.trim().parse().ok());
    let longest_pause = longest_pause.map_or(LONGEST_PAUSE, Duration::from_millis);
    let config = unprefixed(config);
    let parsed = CONFIG.parse(&config)?;
    let (key, default) = if is_key { (KEY_STRATEGY, TOPIC_NAME) } else { (VALUE_STRATEGY, TOPIC_NAME) };
    let cache = usize::try_from(parsed.long("schemas.cache.config")).unwrap_or(0).max(1);
    let options = Options {
        auto_register: parsed.boolean("auto.register.schemas"),
        use_latest: parsed.boolean("use.latest.version"),
        latest_strict: parsed.boolean("latest.compatibility.strict"),
        use_id: i32::try_from(parsed.long("use.schema.id")).ok().filter(|id| *id >= 0),
        id_strict: parsed.boolean("id.compatibility.strict"),
        normalize: parsed.boolean("normalize.schemas"),
        cache,
        strategy: SubjectNameStrategy::parse(key, parsed.string(key).unwrap_or(default))?,
        is_key,
        longest_pause,
    };
    let millis = |key: &str| Duration::from_millis(parsed.long(key).max(0) as u64);
    let seconds = |key: &str| Duration::from_secs(parsed.long(key).max(0) as u64);
    let urls: Vec<String> = parsed.list(URL).into_iter().map(str::to_owned).collect();
    let https = urls.iter().any(|url| url.starts_with("https"));
    let mut client = Config {
        urls,
        auth: auth(&parsed, seconds("bearer.auth.cache.expiry.buffer.seconds"))?,
        headers: headers(&parsed),
        tls: None,
        connect_timeout: millis("http.connect.timeout.ms"),
        read_timeout: millis("http.read.timeout.ms"),
        max_retries: u32::try_from(parsed.long("max.retries")).unwrap_or(u32::MAX),
        retry_wait: millis("retries.wait.ms"),
        retry_max_wait: millis("retries.max.wait.ms"),
        cache,
        missing_ttl: seconds("missing.schema.cache.ttl.sec"),
        latest_ttl: (parsed.long("latest.cache.ttl.sec") >= 0).then(|| seconds("latest.cache.ttl.sec")),
    };
    if https {
        set_tls(&mut client, &config)?;
    }
    Ok((options, client))
}

/// Takes `schema.registry.` off the client's settings; what is given without it comes second.
fn unprefixed(config: &ConfigMap) -> ConfigMap {
    let mut all = config.clone();
    for (key, value) in with_prefix(config, PREFIX) {
        if key != "url" {
            all.insert(key, value);
        }
    }
    all
}

fn auth(parsed: &ParsedConfig, renew_before: Duration) -> Result<Auth, ConfigError> {
    let given = |key: &'static str, why: &str| {
        parsed.string(key).filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(|| {
            ConfigError::new(key, format!("Missing required configuration \"{key}\": {why} needs it."))
        })
    };
    match parsed.string(BEARER_SOURCE).map(str::trim).unwrap_or_default() {
        "" => {}
        "STATIC_TOKEN" => return Ok(Auth::Bearer(Secret::new(given("bearer.auth.token", "STATIC_TOKEN")?))),
        "OAUTHBEARER" => {
            return Ok(Auth::OAuth(OAuth {
                endpoint: given("bearer.auth.issuer.endpoint.url", "OAUTHBEARER")?,
                client_id: given("bearer.auth.client.id", "OAUTHBEARER")?,
                client_secret: Secret::new(given("bearer.auth.client.secret", "OAUTHBEARER")?),
                scope: parsed.string("bearer.auth.scope").map(str::to_owned),
                renew_before,
            }));
        }
        other => {
            let why = "must be STATIC_TOKEN or OAUTHBEARER";
            return Err(ConfigError::invalid(BEARER_SOURCE, other, why));
        }
    }
    match parsed.string(BASIC_SOURCE).unwrap_or_default() {
        "USER_INFO" => {
            let info = given(BASIC_INFO, "USER_INFO")?;
            let (user, password) = info
                .split_once(':')
                .ok_or_else(|| ConfigError::invalid(BASIC_INFO, "[hidden]", "must be user:password"))?;
            Ok(Auth::Basic { user: user.to_owned(), password: Secret::new(password) })
        }
        "SASL_INHERIT" => {
            let jaas = given(JAAS, "SASL_INHERIT")?;
            let (user, password) = aqueduct_protocol::client::jaas_login(&jaas)
                .map_err(|error| ConfigError::new(JAAS, error.to_string()))?;
            Ok(Auth::Basic { user, password: Secret::new(password) })
        }
        _ => Ok(Auth::None),
    }
}

fn headers(parsed: &ParsedConfig) -> Vec<(String, String)> {
    let pairs = [
        ("bearer.auth.logical.cluster", "target-sr-cluster"),
        ("bearer.auth.identity.pool.id", "Confluent-Identity-Pool-Id"),
    ];
    let header = |(key, name): (&str, &str)| {
        parsed.string(key).filter(|text| !text.is_empty()).map(|text| (name.to_owned(), text.to_owned()))
    };
    pairs.into_iter().filter_map(header).collect()
}

/// `schema.registry.ssl.*` with the words of Kafka's own `ssl.*`; the system's certificates where nothing is said.
fn set_tls(client: &mut Config, config: &ConfigMap) -> Result<(), ConfigError> {
    let mut own = config.clone();
    own.retain(|key, _| key.starts_with("ssl."));
    if !own.is_empty() {
        let tls = aqueduct_protocol::client::tls_config(&own);
        let failed = |error| ConfigError::new("schema.registry.ssl", format!("schema.registry.{error}"));
        client.tls = Some(tls.map_err(failed)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> ConfigMap {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn defaults_are_confluents() {
        let (options, client) = parse(&map(&[(URL, "http://a:1, http://b:2")]), false).unwrap();
        assert!(options.auto_register && !options.use_latest && options.latest_strict);
        assert_eq!((options.use_id, options.cache), (None, 1000));
        assert_eq!(client.urls, ["http://a:1", "http://b:2"]);
        assert_eq!(client.read_timeout, Duration::from_secs(60));
        assert!(parse(&map(&[]), false).is_err());
    }

    #[test]
    fn who_we_are() {
        let basic = parse(
            &map(&[
                (URL, "http://a"),
                ("schema.registry.basic.auth.credentials.source", "USER_INFO"),
                ("schema.registry.basic.auth.user.info", "me:se:cret"),
            ]),
            true,
        );
        let expected = Auth::Basic { user: "me".to_owned(), password: Secret::new("se:cret") };
        assert_eq!(basic.unwrap().1.auth, expected);
        let jaas =
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p\";";
        let inherited = parse(&map(&[(URL, "http://a"), (BASIC_SOURCE, "SASL_INHERIT"), (JAAS, jaas)]), true);
        let expected = Auth::Basic { user: "u".to_owned(), password: Secret::new("p") };
        assert_eq!(inherited.unwrap().1.auth, expected);
        let error = parse(&map(&[(URL, "http://a"), (BEARER_SOURCE, "OAUTHBEARER")]), true).unwrap_err();
        assert_eq!(error.key, "bearer.auth.issuer.endpoint.url");
    }
}

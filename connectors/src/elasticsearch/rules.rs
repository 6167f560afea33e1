//! Rules between keys; the texts are those of the connectors whose names these are.

use aqueduct_engine::config::{ConfigError, ParsedConfig};
use aqueduct_engine::connector::{ConfigMap, tls_client};

use super::settings::Flavor;
use super::url::NodeUrl;

/// The keys of existing targets: kind, mapping, and the kind that means none.
pub(super) fn existing_keys(flavor: Flavor) -> (&'static str, &'static str, &'static str) {
    match flavor {
        Flavor::Elasticsearch => {
            ("external.resource.usage", "topic.to.external.resource.mapping", "DISABLED")
        }
        Flavor::OpenSearch => ("existing.resource.type", "topic.to.existing.resource.mapping", "none"),
    }
}

/// Pairs of topic and target, each once.
pub(super) fn topic_mapping(
    key: &'static str,
    entries: &[&str],
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for entry in entries {
        let invalid = |why: String| ConfigError::invalid(key, entry, why);
        let parts: Vec<&str> = entry.split(':').map(str::trim).collect();
        let [topic, target] = parts[..] else {
            return Err(invalid(
                "Invalid topic-to-resource mapping format. The expected format: topic:resource".to_owned(),
            ));
        };
        if topic.is_empty() || target.is_empty() {
            return Err(invalid(
                "Invalid topic-to-resource mapping format. The expected format: topic:resource".to_owned(),
            ));
        }
        if pairs.iter().any(|(known, _)| known == topic) {
            return Err(invalid(format!(
                "Topic '{topic}' is mapped to multiple resources. Each topic must be mapped to exactly one resource."
            )));
        }
        if pairs.iter().any(|(_, known)| known == target) {
            return Err(invalid(format!(
                "Resource '{target}' is mapped from multiple topics. Each resource must be mapped to exactly one topic."
            )));
        }
        pairs.push((topic.to_owned(), target.to_owned()));
    }
    Ok(pairs)
}

/// Every rule that a configuration breaks.
pub(super) fn check(flavor: Flavor, config: &ConfigMap, parsed: &ParsedConfig) -> Vec<ConfigError> {
    let mut rules = Rules { flavor, config, parsed, errors: Vec::new() };
    rules.urls();
    rules.credentials();
    rules.existing();
    rules.data_streams();
    rules.ignored();
    rules.buffers();
    rules.tls();
    match flavor {
        Flavor::Elasticsearch => {
            rules.kerberos();
            rules.proxy();
        }
        Flavor::OpenSearch => rules.opensearch(),
    }
    rules.errors
}

struct Rules<'a> {
    flavor: Flavor,
    config: &'a ConfigMap,
    parsed: &'a ParsedConfig,
    errors: Vec<ConfigError>,
}

impl Rules<'_> {
    fn add(&mut self, keys: &[&str], message: &str) {
        self.errors.extend(keys.iter().map(|key| ConfigError::new(key, message)));
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.parsed.string(key).is_some_and(|text| text.eq_ignore_ascii_case(value))
    }

    fn is_set(&self, key: &str) -> bool {
        self.parsed.string(key).is_some_and(|text| !text.is_empty())
    }

    fn urls(&mut self) {
        let errors =
            self.parsed.list("connection.url").into_iter().filter_map(|url| NodeUrl::parse(url).err());
        self.errors.extend(errors);
    }

    fn credentials(&mut self) {
        const KEYS: [&str; 2] = ["connection.username", "connection.password"];
        let [user, password] = KEYS.map(|key| self.parsed.string(key).is_some());
        if user != password {
            self.add(&KEYS, "Both 'connection.username' and 'connection.password' must be set.");
        }
        if user && self.is_set("connection.api.key") {
            self.add(
                &["connection.api.key"],
                "'connection.api.key' takes the place of 'connection.username' and 'connection.password': set one of them.",
            );
        }
    }

    fn existing(&mut self) {
        let (usage, key, none) = existing_keys(self.flavor);
        let (used, entries) = (!self.is(usage, none), self.parsed.list(key));
        if used == entries.is_empty() {
            let message = format!(
                "Invalid configuration: {usage} and {key} must be configured together. Either both must be set, or both must be empty."
            );
            return self.add(&[usage, key], &message);
        }
        if !used {
            return;
        }
        let most = match self.flavor {
            Flavor::Elasticsearch => {
                if !self.is("data.stream.type", "NONE") || self.is_set("data.stream.dataset") {
                    return self.add(
                        &[key, "data.stream.type", "data.stream.dataset"],
                        "Resource mapping mode and data stream configs are mutually exclusive. When using topic.to.external.resource.mapping, data stream configs (data.stream.type, data.stream.dataset) must not be set.",
                    );
                }
                usize::try_from(self.parsed.long("max.external.resource.mappings")).unwrap_or(0)
            }
            Flavor::OpenSearch => 10,
        };
        match topic_mapping(key, &entries) {
            Err(error) => self.errors.push(error),
            Ok(pairs) if pairs.len() > most => {
                let message = format!(
                    "Too many topic-to-external-resource mappings are configured ({}). Maximum allowed limit is {most}.",
                    pairs.len()
                );
                self.add(&[key], &message);
            }
            Ok(pairs) => self.mapped(key, &pairs),
        }
    }

    fn mapped(&mut self, key: &str, pairs: &[(String, String)]) {
        let topics = self.config.get("topics").map(String::as_str).unwrap_or_default().split(',');
        let topics: Vec<&str> = topics.map(str::trim).filter(|topic| !topic.is_empty()).collect();
        if topics.is_empty() {
            return; // by pattern: known when they come
        }
        if let Some(topic) = topics.iter().find(|topic| pairs.iter().all(|(known, _)| known != *topic)) {
            let message = format!(
                "Topic '{topic}' is not mapped to any resource. All configured topics must be mapped to a resource."
            );
            return self.add(&[key], &message);
        }
        if let Some((topic, _)) = pairs.iter().find(|(topic, _)| !topics.contains(&topic.as_str())) {
            let message = format!(
                "Topic '{topic}' is mapped but not configured. All mapped topics must be configured topics."
            );
            self.add(&[key], &message);
        }
    }

    fn data_streams(&mut self) {
        let usage = self.parsed.string(existing_keys(self.flavor).0).unwrap_or_default().to_ascii_uppercase();
        let existing = usage.ends_with("DATASTREAM") || usage == "DATA_STREAM";
        let method = if self.flavor == Flavor::OpenSearch { "index.write.method" } else { "write.method" };
        let own = match self.flavor {
            Flavor::OpenSearch => self.parsed.boolean("data.stream.enabled"),
            Flavor::Elasticsearch => {
                let (none, dataset) =
                    (self.is("data.stream.type", "NONE"), self.is_set("data.stream.dataset"));
                if none == dataset {
                    self.add(
                        &["data.stream.type", "data.stream.dataset"],
                        "Either both or neither 'data.stream.dataset' and 'data.stream.type' must be set.",
                    );
                }
                if !existing && none && !self.parsed.list("data.stream.timestamp.field").is_empty() {
                    self.add(
                        &["data.stream.timestamp.field"],
                        "Mapping a field to the '@timestamp' field is only necessary when working with data streams. 'data.stream.timestamp.field' must not be set when not using data streams.",
                    );
                }
                !none && dataset
            }
        };
        if !own && !existing {
            return;
        }
        if self.is(method, "UPSERT") {
            let message = format!(
                "Upserts are not supported with data streams. {method} must not be UPSERT when using data streams."
            );
            self.add(&[method], &message);
        } else if self.is("behavior.on.null.values", "DELETE") {
            self.add(
                &["behavior.on.null.values"],
                "Deletes are not supported with data streams. behavior.on.null.values must not be DELETE when using data streams.",
            );
        }
    }

    fn ignored(&mut self) {
        for (all, topics) in [("key.ignore", "topic.key.ignore"), ("schema.ignore", "topic.schema.ignore")] {
            if self.parsed.boolean(all) && !self.parsed.list(topics).is_empty() {
                let message = format!("'{topics}' can not be set if '{all}' is true.");
                self.add(&[all, topics], &message);
            }
        }
    }

    fn buffers(&mut self) {
        let long = |key| self.parsed.long(key);
        let (linger, flush) = (long("linger.ms"), long("flush.timeout.ms"));
        let (buffered, batch, in_flight) =
            (long("max.buffered.records"), long("batch.size"), long("max.in.flight.requests"));
        if linger > flush {
            let message =
                format!("'linger.ms' ({linger}) can not be larger than 'flush.timeout.ms' ({flush}).");
            self.add(&["linger.ms", "flush.timeout.ms"], &message);
        }
        if self.flavor == Flavor::Elasticsearch && buffered < batch.saturating_mul(in_flight) {
            let message = format!(
                "'max.buffered.records' ({buffered}) must be larger than or equal to 'batch.size' ({batch}) x max.in.flight.requests ({in_flight})."
            );
            self.add(&["max.buffered.records", "batch.size", "max.in.flight.requests"], &message);
        }
    }

    fn kerberos(&mut self) {
        const KEYS: [&str; 2] = ["kerberos.user.principal", "kerberos.keytab.path"];
        if KEYS.iter().any(|key| self.is_set(key)) {
            self.add(
                &KEYS,
                "Kerberos is not supported: use connection.username and connection.password, or connection.api.key.",
            );
        }
    }

    fn proxy(&mut self) {
        const USER: &str = "proxy.username";
        const PASSWORD: &str = "proxy.password";
        let (user, password) = (self.is_set(USER), self.parsed.string(PASSWORD).is_some());
        if !self.is_set("proxy.host") {
            for (key, set) in [(USER, user), (PASSWORD, password)] {
                if set {
                    self.add(&[key, "proxy.host"], &format!("'proxy.host' must be set to use '{key}'."));
                }
            }
        } else if user != password {
            self.add(
                &[USER, PASSWORD],
                "Either both or neither 'proxy.username' and 'proxy.password' can be set.",
            );
        }
    }

    fn tls(&mut self) {
        let prefix = self.flavor.tls_prefix();
        let set =
            self.config.keys().any(|key| key.starts_with(prefix) && key[prefix.len()..].starts_with("ssl."));
        if self.flavor == Flavor::Elasticsearch {
            const PROTOCOL: &str = "elastic.security.protocol";
            let ssl = self.is(PROTOCOL, "SSL");
            if !ssl && set {
                return self.add(
                    &[PROTOCOL],
                    "'elastic.security.protocol' must be set to 'SSL' to use SSL configs.",
                );
            }
            if ssl && !set {
                return self.add(
                    &[PROTOCOL],
                    "At least these SSL configs ('elastic.https.ssl.keystore.location', 'elastic.https.ssl.keystore.password', 'elastic.https.ssl.truststore.location', and 'elastic.https.ssl.truststore.password') must be present for SSL support. Otherwise set 'elastic.security.protocol' to 'PLAINTEXT'.",
                );
            }
        }
        if set && let Err(error) = tls_client(self.config, prefix) {
            self.errors.push(ConfigError::new(&format!("{prefix}ssl.truststore.location"), error.message));
        }
    }

    fn opensearch(&mut self) {
        if self.is("index.write.method", "upsert")
            && self.parsed.boolean("key.ignore")
            && !self.is("key.ignore.id.strategy", "record.key")
        {
            let strategy = self.parsed.string("key.ignore.id.strategy").unwrap_or_default().to_owned();
            let why = format!("{strategy} is not supported for index upsert. Supported is: record.key");
            self.errors.push(ConfigError::invalid("key.ignore.id.strategy", strategy, why));
        }
        if self.is("routing.type", "value") {
            const PATH: &str = "routing.type.record.value.path";
            if !self.is_set(PATH) {
                self.add(
                    &[PATH],
                    "The 'routing.type.record.value.path' setting must be configured when using the 'value' routing type",
                );
            } else if self.is("behavior.on.null.values", "delete") {
                self.add(
                    &[PATH],
                    "The 'routing.type.record.value.path' can't be used together with 'behavior.on.null.values' set to 'delete'",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(flavor: Flavor, entries: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut config: ConfigMap = [("connection.url".to_owned(), "http://h:9200".to_owned())].into();
        config.extend(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let parsed = flavor.config_def().parse(&config).unwrap();
        check(flavor, &config, &parsed).into_iter().map(|error| (error.key, error.message)).collect()
    }

    fn keys(entries: &[(&str, &str)]) -> Vec<String> {
        errors(Flavor::Elasticsearch, entries).into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn defaults_are_right() {
        assert_eq!(errors(Flavor::Elasticsearch, &[]), []);
        assert_eq!(errors(Flavor::OpenSearch, &[]), []);
    }

    #[test]
    fn rules_name_every_key() {
        assert_eq!(keys(&[("connection.username", "u")]), ["connection.username", "connection.password"]);
        assert_eq!(
            keys(&[("key.ignore", "true"), ("topic.key.ignore", "a")]),
            ["key.ignore", "topic.key.ignore"]
        );
        assert_eq!(
            keys(&[("batch.size", "5000")]),
            ["max.buffered.records", "batch.size", "max.in.flight.requests"]
        );
        assert_eq!(keys(&[("data.stream.type", "LOGS")]), ["data.stream.type", "data.stream.dataset"]);
        assert_eq!(keys(&[("elastic.https.ssl.protocol", "TLS")]), ["elastic.security.protocol"]);
        assert_eq!(keys(&[("proxy.username", "u")]), ["proxy.username", "proxy.host"]);
        assert_eq!(keys(&[("connection.url", "ftp://h")]), ["connection.url"]);
        let stream = [("data.stream.type", "LOGS"), ("data.stream.dataset", "d")];
        assert_eq!(keys(&[stream[0], stream[1], ("write.method", "upsert")]), ["write.method"]);
        assert_eq!(
            keys(&[stream[0], stream[1], ("behavior.on.null.values", "delete")]),
            ["behavior.on.null.values"]
        );
    }

    #[test]
    fn mappings_are_one_to_one() {
        let usage = ("external.resource.usage", "INDEX");
        let mapping = |text| ("topic.to.external.resource.mapping", text);
        let all = |text| errors(Flavor::Elasticsearch, &[("topics", "a,b"), usage, mapping(text)]);
        assert_eq!(all("a:x,b:y"), []);
        for (text, why) in [
            ("a:x", "Topic 'b' is not mapped"),
            ("a:x,b:y,c:z", "Topic 'c' is mapped but not configured"),
            ("a:x,a:y", "multiple resources"),
            ("a:x,b:x", "multiple topics"),
            ("a", "format"),
        ] {
            assert!(all(text)[0].1.contains(why), "{:?}", all(text));
        }
        assert_eq!(keys(&[usage]).len(), 2);
    }
}

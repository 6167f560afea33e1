use std::collections::BTreeMap;

use super::key::{Allowed, Effect, Key, SettingKind};
use super::*;

/// `golden/ClientConfigs.java` writes it: client, name, type, default, validator.
const GOLDEN: &str = include_str!("../../../tests/golden/client_configs.tsv");

fn properties(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn kind(key: &Key) -> &'static str {
    match key.kind {
        SettingKind::Boolean => "BOOLEAN",
        SettingKind::Short => "SHORT",
        SettingKind::Int => "INT",
        SettingKind::Long => "LONG",
        SettingKind::Double => "DOUBLE",
        SettingKind::String => "STRING",
        SettingKind::List => "LIST",
        SettingKind::Class => "CLASS",
        SettingKind::Password => "PASSWORD",
    }
}

/// What is allowed, in the JVM's words.
fn validator(key: &Key) -> String {
    match key.allowed {
        Allowed::Any if key.kind == SettingKind::List => String::new(),
        Allowed::Any => "null".to_owned(),
        Allowed::AtLeast(least) => format!("[{least},...]"),
        Allowed::Between(least, most) => format!("[{least},...,{most}]"),
        Allowed::BetweenOr(least, most, other) => format!("[{least},...,{most}] or {other}"),
        Allowed::Range(least, most) => format!("[{least:?},...,{most:?}]"),
        Allowed::OneOf(values) => format!("[{}]", values.join(", ")),
        Allowed::OneOfAnyCase(values) => format!("(case insensitive) [{}]", values.join(", ")),
        Allowed::NonEmpty => "non-empty string".to_owned(),
        Allowed::OffsetReset => "[latest, earliest, none, by_duration:PnDTnHnMn.nS]".to_owned(),
    }
}

#[test]
fn every_setting_is_as_the_jvms_clients_define_it() {
    for (name, role) in
        [("admin", ClientRole::Admin), ("producer", ClientRole::Producer), ("consumer", ClientRole::Consumer)]
    {
        let lines = GOLDEN.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let theirs: BTreeMap<String, [String; 3]> = lines
            .filter(|line| line[0] == name)
            .map(|line| (line[1].to_owned(), [line[2].to_owned(), line[3].to_owned(), line[4].to_owned()]))
            .collect();
        assert!(theirs.len() > 80, "{name}: {}", theirs.len());
        let ours: BTreeMap<String, [String; 3]> = role
            .keys()
            .map(|key| {
                let missing = if theirs.get(key.name).is_some_and(|of| of[1] == "<required>") {
                    "<required>"
                } else {
                    "null"
                };
                let default = key.default.unwrap_or(missing).to_owned();
                (key.name.to_owned(), [kind(key).to_owned(), default, validator(key)])
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
        assert_eq!(role.keys().count(), theirs.len(), "{name}: a key stands twice");
        for key in role.keys() {
            // the JVM's own default of share.acquire.mode is in the wrong case
            if let Some(default) = key.default.filter(|_| key.effect != Effect::Ignored) {
                key.check(default).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}

#[test]
fn what_has_no_effect() {
    let all = [ClientRole::Admin, ClientRole::Producer, ClientRole::Consumer];
    let of = |wanted: fn(&Effect) -> bool| {
        let mut names: Vec<_> = all
            .iter()
            .flat_map(|role| role.keys().filter(|key| wanted(&key.effect)).map(|key| key.name))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(
        of(|effect| matches!(effect, Effect::Without(_))),
        [
            "bootstrap.controllers",
            "client.dns.lookup",
            "config.providers",
            "interceptor.classes",
            "metric.reporters",
            "sasl.client.callback.handler.class",
            "sasl.login.callback.handler.class",
            "sasl.login.class",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.private.key.file",
            "sasl.oauthbearer.assertion.template.file",
            "sasl.oauthbearer.jwt.validator.class",
            "security.providers",
            "ssl.engine.factory.class",
            "ssl.provider",
            "transaction.two.phase.commit.enable",
        ]
    );
    let ignored = of(|effect| *effect == Effect::Ignored);
    let expected = |key: &&str| {
        let families = ["metrics.", "sasl.kerberos.", "sasl.oauthbearer.", "share.", "internal."];
        let single = ["enable.metrics.push", "ssl.secure.random.implementation"];
        families.iter().any(|family| key.starts_with(family))
            || ["manager.algorithm", ".serializer", ".deserializer"].iter().any(|end| key.ends_with(end))
            || single.contains(key)
    };
    assert!(ignored.iter().all(expected), "{ignored:?}");
}

#[test]
fn an_unknown_key_is_one_warning_with_the_nearest() {
    let given = properties(&[
        ("bootstrap.servers", "b:1"),
        ("acks", "1"),
        ("liger.ms", "5"),
        ("max.poll.records", "7"),
        ("interceptor.classes", "org.example.Audit"),
        ("metrics.context.x", "y"),
        ("metric.reporters", "org.apache.kafka.common.metrics.JmxReporter"),
    ]);
    let warnings = check_settings(ClientRole::Producer, &given).unwrap();
    assert_eq!(
        warnings,
        [
            "liger.ms is not a setting of a producer and has no effect; did you mean linger.ms?",
            "max.poll.records is not a setting of a producer and has no effect",
            "interceptor.classes has no effect: interceptors are Java classes: records pass without them",
        ]
    );
}

#[test]
fn a_bad_value_is_named_with_what_is_allowed() {
    for (role, key, value, allowed) in [
        (ClientRole::Producer, "acks", "2", "one of all, -1, 0, 1"),
        (ClientRole::Producer, "compression.gzip.level", "0", "a number from 1 to 9, or -1"),
        (ClientRole::Producer, "batch.size", "3000000000", "a number from 0 to 2147483647"),
        (ClientRole::Producer, "transactional.id", "", "a text that is not empty"),
        (ClientRole::Consumer, "check.crcs", "yes", "true or false"),
        (ClientRole::Consumer, "auto.offset.reset", "newest", "earliest, latest"),
        (ClientRole::Consumer, "session.timeout.ms", "1h", "a whole number of at most 2147483647"),
        (ClientRole::Admin, "sasl.login.refresh.window.factor", "0.4", "a number from 0.5 to 1"),
        (ClientRole::Admin, "security.protocol", "TLS", "one of SASL_SSL, PLAINTEXT, SSL, SASL_PLAINTEXT"),
    ] {
        let error = check_settings(role, &properties(&[(key, value)])).unwrap_err().to_string();
        assert!(error.contains(&format!("{value} for configuration {key}")), "{error}");
        assert!(error.contains(allowed), "{error}");
    }
    assert!(check_settings(ClientRole::Consumer, &properties(&[("security.protocol", "ssl")])).is_ok());
}

#[test]
fn times_that_grow() {
    let with = |pairs: &[(&str, &str)]| {
        let mut given = properties(&[("bootstrap.servers", "b:1, [::1]:9093")]);
        given.extend(properties(pairs));
        ClientConfig::for_admin(&given)
    };
    let ms = Duration::from_millis;
    let of = with(&[]).unwrap();
    assert_eq!(of.bootstrap_servers, [("b".to_owned(), 1), ("::1".to_owned(), 9093)]);
    assert_eq!(of.reconnect_backoff, (ms(50), ms(1000)));
    assert_eq!(of.connections_max_idle, ms(300_000));
    assert_eq!(of.rebootstrap_after, Some(ms(300_000)));
    assert!(!of.allow_auto_create_topics);
    assert_eq!(with(&[("reconnect.backoff.ms", "70")]).unwrap().reconnect_backoff, (ms(70), ms(70)));
    assert_eq!(with(&[("retry.backoff.ms", "7000")]).unwrap().retry_backoff, (ms(1000), ms(1000)));
    assert_eq!(with(&[("metadata.recovery.strategy", "none")]).unwrap().rebootstrap_after, None);
    let buffers = [("send.buffer.bytes", "-1"), ("receive.buffer.bytes", "65536")];
    assert_eq!(with(&buffers).unwrap().socket_buffers, (None, Some(65_536)));
    assert_eq!(of.socket_buffers, (None, None));
    assert!(with(&[("connections.max.idle.ms", "-1")]).unwrap().connections_max_idle > ms(1 << 30));
    assert!(with(&[("bootstrap.servers", "b")]).is_err());
}

#[test]
fn the_nearest_name() {
    let known = ["tasks.max", "topics", "topics.regex", "errors.tolerance"];
    assert_eq!(nearest("task.max", known.into_iter()), Some("tasks.max"));
    assert_eq!(nearest("error.tolerence", known.into_iter()), Some("errors.tolerance"));
    assert_eq!(nearest("zzzzzzzz", known.into_iter()), None);
}

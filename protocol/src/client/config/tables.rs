//! Every setting of Apache Kafka's clients: name, type, default, what is allowed, and whether it has an effect here.
//!
//! `tests/golden/client_configs.tsv` is what the JVM's clients say of themselves; a test compares.

use super::key::Allowed::{AtLeast, Between, BetweenOr, NonEmpty, OffsetReset, OneOf, OneOfAnyCase, Range};
use super::key::{Key, NONE, REQUIRED, boolean, class, double, int, list, long, password, short, text};

/// What producers, consumers and admin clients have in common.
pub(super) const COMMON: &[Key] = &[
    text("client.dns.lookup", Some("use_all_dns_ips"))
        .allows(OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]))
        .without_effect("names are used as they are given, and all their addresses are tried"),
    text("client.id", Some("")),
    list("config.providers", Some(""))
        .without_effect("${...} is resolved by the worker, with its own config.providers"),
    long("metadata.max.age.ms", Some("300000")).allows(AtLeast(0)),
    long("metadata.recovery.rebootstrap.trigger.ms", Some("300000")).allows(AtLeast(0)),
    text("metadata.recovery.strategy", Some("rebootstrap")).allows(OneOfAnyCase(&["REBOOTSTRAP", "NONE"])),
    list("metric.reporters", Some("org.apache.kafka.common.metrics.JmxReporter"))
        .without_effect("reporters are Java classes: the worker gives its metrics at /metrics"),
    int("metrics.num.samples", Some("2")).allows(AtLeast(1)).ignored(),
    text("metrics.recording.level", Some("INFO")).allows(OneOf(&["INFO", "DEBUG", "TRACE"])).ignored(),
    long("metrics.sample.window.ms", Some("30000")).allows(AtLeast(0)).ignored(),
    long("reconnect.backoff.max.ms", Some("1000")).allows(AtLeast(0)),
    long("reconnect.backoff.ms", Some("50")).allows(AtLeast(0)),
    int("request.timeout.ms", Some("30000")).allows(AtLeast(0)),
    long("retry.backoff.max.ms", Some("1000")).allows(AtLeast(0)),
    long("retry.backoff.ms", Some("100")).allows(AtLeast(0)),
    int("send.buffer.bytes", Some("131072")).allows(AtLeast(-1)),
    long("socket.connection.setup.timeout.max.ms", Some("30000")),
    long("socket.connection.setup.timeout.ms", Some("10000")),
];

/// Who we are and whom we trust; the same for every client.
pub(super) const SECURITY: &[Key] = &[
    class("sasl.client.callback.handler.class", NONE)
        .without_effect("it names a Java class: log in with sasl.jaas.config"),
    password("sasl.jaas.config", NONE),
    text("sasl.kerberos.kinit.cmd", Some("/usr/bin/kinit")).ignored(),
    long("sasl.kerberos.min.time.before.relogin", Some("60000")).ignored(),
    text("sasl.kerberos.service.name", NONE).ignored(),
    double("sasl.kerberos.ticket.renew.jitter", Some("0.05")).ignored(),
    double("sasl.kerberos.ticket.renew.window.factor", Some("0.8")).ignored(),
    class("sasl.login.callback.handler.class", NONE).without_effect(
        "it names a Java class: log in with sasl.jaas.config, or sasl.oauthbearer.token.endpoint.url",
    ),
    class("sasl.login.class", NONE).without_effect("it names a Java class: log in with sasl.jaas.config"),
    int("sasl.login.connect.timeout.ms", NONE),
    int("sasl.login.read.timeout.ms", NONE),
    short("sasl.login.refresh.buffer.seconds", Some("300")).allows(Between(0, 3600)),
    short("sasl.login.refresh.min.period.seconds", Some("60")).allows(Between(0, 900)),
    double("sasl.login.refresh.window.factor", Some("0.8")).allows(Range(0.5, 1.0)),
    double("sasl.login.refresh.window.jitter", Some("0.05")).allows(Range(0.0, 0.25)),
    long("sasl.login.retry.backoff.max.ms", Some("10000")),
    long("sasl.login.retry.backoff.ms", Some("100")),
    text("sasl.mechanism", Some("GSSAPI")),
    text("sasl.oauthbearer.assertion.algorithm", Some("RS256"))
        .allows(OneOfAnyCase(&["ES256", "RS256"]))
        .ignored(),
    text("sasl.oauthbearer.assertion.claim.aud", NONE).ignored(),
    int("sasl.oauthbearer.assertion.claim.exp.seconds", Some("300")).allows(Between(0, 86400)).ignored(),
    text("sasl.oauthbearer.assertion.claim.iss", NONE).ignored(),
    boolean("sasl.oauthbearer.assertion.claim.jti.include", Some("false")).ignored(),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds", Some("60")).allows(Between(0, 3600)).ignored(),
    text("sasl.oauthbearer.assertion.claim.sub", NONE).ignored(),
    text("sasl.oauthbearer.assertion.file", NONE)
        .without_effect("assertions are not supported: use client credentials"),
    text("sasl.oauthbearer.assertion.private.key.file", NONE)
        .without_effect("assertions are not supported: use client credentials"),
    password("sasl.oauthbearer.assertion.private.key.passphrase", NONE).ignored(),
    text("sasl.oauthbearer.assertion.template.file", NONE)
        .without_effect("assertions are not supported: use client credentials"),
    text("sasl.oauthbearer.client.credentials.client.id", NONE),
    password("sasl.oauthbearer.client.credentials.client.secret", NONE),
    int("sasl.oauthbearer.clock.skew.seconds", Some("30")).ignored(),
    list("sasl.oauthbearer.expected.audience", Some("")).ignored(),
    text("sasl.oauthbearer.expected.issuer", NONE).ignored(),
    boolean("sasl.oauthbearer.header.urlencode", Some("false")),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms", Some("3600000")).ignored(),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Some("10000")).ignored(),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Some("100")).ignored(),
    text("sasl.oauthbearer.jwks.endpoint.url", NONE).ignored(),
    class(
        "sasl.oauthbearer.jwt.retriever.class",
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"),
    ),
    class(
        "sasl.oauthbearer.jwt.validator.class",
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"),
    )
    .without_effect("it names a Java class: the broker validates tokens"),
    text("sasl.oauthbearer.scope", NONE),
    text("sasl.oauthbearer.scope.claim.name", Some("scope")).ignored(),
    text("sasl.oauthbearer.sub.claim.name", Some("sub")).ignored(),
    text("sasl.oauthbearer.token.endpoint.url", NONE),
    text("security.protocol", Some("PLAINTEXT")).allows(OneOfAnyCase(&[
        "SASL_SSL",
        "PLAINTEXT",
        "SSL",
        "SASL_PLAINTEXT",
    ])),
    text("security.providers", NONE).without_effect("they are Java classes: TLS is rustls's"),
    list("ssl.cipher.suites", Some("")),
    list("ssl.enabled.protocols", Some("TLSv1.2,TLSv1.3")),
    text("ssl.endpoint.identification.algorithm", Some("https")),
    class("ssl.engine.factory.class", NONE)
        .without_effect("it names a Java class: set ssl.keystore.* and ssl.truststore.*"),
    password("ssl.key.password", NONE),
    text("ssl.keymanager.algorithm", Some("SunX509")).ignored(),
    password("ssl.keystore.certificate.chain", NONE),
    password("ssl.keystore.key", NONE),
    text("ssl.keystore.location", NONE),
    password("ssl.keystore.password", NONE),
    text("ssl.keystore.type", Some("JKS")),
    text("ssl.protocol", Some("TLSv1.3")),
    text("ssl.provider", NONE).without_effect("TLS is rustls's"),
    text("ssl.secure.random.implementation", NONE).ignored(),
    text("ssl.trustmanager.algorithm", Some("PKIX")).ignored(),
    password("ssl.truststore.certificates", NONE),
    text("ssl.truststore.location", NONE),
    password("ssl.truststore.password", NONE),
    text("ssl.truststore.type", Some("JKS")),
];

/// The admin client's own.
pub(super) const ADMIN: &[Key] = &[
    list("bootstrap.controllers", Some(""))
        .without_effect("controllers are not asked directly: set bootstrap.servers"),
    list("bootstrap.servers", Some("")),
    long("connections.max.idle.ms", Some("300000")),
    int("default.api.timeout.ms", Some("60000")).allows(AtLeast(0)),
    boolean("enable.metrics.push", Some("false")).ignored(),
    int("receive.buffer.bytes", Some("65536")).allows(AtLeast(-1)),
    int("retries", Some("2147483647")).allows(Between(0, 2147483647)),
];

/// The producer's own.
pub(super) const PRODUCER: &[Key] = &[
    text("acks", Some("all")).allows(OneOf(&["all", "-1", "0", "1"])),
    int("batch.size", Some("16384")).allows(AtLeast(0)),
    list("bootstrap.servers", REQUIRED),
    long("buffer.memory", Some("33554432")).allows(AtLeast(0)),
    int("compression.gzip.level", Some("-1")).allows(BetweenOr(1, 9, -1)),
    int("compression.lz4.level", Some("9")).allows(Between(1, 17)),
    text("compression.type", Some("none")).allows(OneOf(&["none", "gzip", "snappy", "lz4", "zstd"])),
    int("compression.zstd.level", Some("3")).allows(Between(-131072, 22)),
    long("connections.max.idle.ms", Some("540000")),
    int("delivery.timeout.ms", Some("120000")).allows(AtLeast(0)),
    boolean("enable.idempotence", Some("true")),
    boolean("enable.metrics.push", Some("true")).ignored(),
    list("interceptor.classes", Some(""))
        .without_effect("interceptors are Java classes: records pass without them"),
    class("key.serializer", REQUIRED).ignored(),
    long("linger.ms", Some("5")).allows(AtLeast(0)),
    long("max.block.ms", Some("60000")).allows(AtLeast(0)),
    int("max.in.flight.requests.per.connection", Some("5")).allows(AtLeast(1)),
    int("max.request.size", Some("1048576")).allows(AtLeast(0)),
    long("metadata.max.idle.ms", Some("300000")).allows(AtLeast(5000)),
    boolean("partitioner.adaptive.partitioning.enable", Some("true")),
    long("partitioner.availability.timeout.ms", Some("0")).allows(AtLeast(0)),
    class("partitioner.class", NONE),
    boolean("partitioner.ignore.keys", Some("false")),
    int("receive.buffer.bytes", Some("32768")).allows(AtLeast(-1)),
    int("retries", Some("2147483647")).allows(Between(0, 2147483647)),
    int("transaction.timeout.ms", Some("60000")),
    boolean("transaction.two.phase.commit.enable", Some("false"))
        .without_effect("transactions that outlast their producer are not supported"),
    text("transactional.id", NONE).allows(NonEmpty),
    class("value.serializer", REQUIRED).ignored(),
];

/// The consumer's own.
pub(super) const CONSUMER: &[Key] = &[
    boolean("allow.auto.create.topics", Some("true")),
    int("auto.commit.interval.ms", Some("5000")).allows(AtLeast(0)),
    text("auto.offset.reset", Some("latest")).allows(OffsetReset),
    list("bootstrap.servers", REQUIRED),
    boolean("check.crcs", Some("true")),
    text("client.rack", Some("")),
    long("connections.max.idle.ms", Some("540000")),
    int("default.api.timeout.ms", Some("60000")).allows(AtLeast(0)),
    boolean("enable.auto.commit", Some("true")),
    boolean("enable.metrics.push", Some("true")).ignored(),
    boolean("exclude.internal.topics", Some("true")),
    int("fetch.max.bytes", Some("52428800")).allows(AtLeast(0)),
    int("fetch.max.wait.ms", Some("500")).allows(AtLeast(0)),
    int("fetch.min.bytes", Some("1")).allows(AtLeast(0)),
    text("group.id", NONE),
    text("group.instance.id", NONE).allows(NonEmpty),
    text("group.protocol", Some("classic")).allows(OneOfAnyCase(&["CONSUMER", "CLASSIC"])),
    text("group.remote.assignor", NONE),
    int("heartbeat.interval.ms", Some("3000")),
    list("interceptor.classes", Some(""))
        .without_effect("interceptors are Java classes: records pass without them"),
    boolean("internal.throw.on.fetch.stable.offset.unsupported", Some("false")).ignored(),
    text("isolation.level", Some("read_uncommitted")).allows(OneOf(&["read_committed", "read_uncommitted"])),
    class("key.deserializer", REQUIRED).ignored(),
    int("max.partition.fetch.bytes", Some("1048576")).allows(AtLeast(0)),
    int("max.poll.interval.ms", Some("300000")).allows(AtLeast(1)),
    int("max.poll.records", Some("500")).allows(AtLeast(1)),
    list(
        "partition.assignment.strategy",
        Some(
            "class org.apache.kafka.clients.consumer.RangeAssignor,class org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        ),
    ),
    int("receive.buffer.bytes", Some("65536")).allows(AtLeast(-1)),
    int("session.timeout.ms", Some("45000")),
    text("share.acknowledgement.mode", Some("implicit")).allows(OneOf(&["implicit", "explicit"])).ignored(),
    text("share.acquire.mode", Some("BATCH_OPTIMIZED"))
        .allows(OneOf(&["batch_optimized", "record_limit"]))
        .ignored(),
    class("value.deserializer", REQUIRED).ignored(),
];

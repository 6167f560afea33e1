//! Keys that Confluent's JDBC source and sink share.

use aqueduct_engine::config::{ConfigKey, ConfigType, Importance, Validator, Width};

use ConfigType::{Class, Int, Long, Password, String as Text};
use Importance::{High, Low, Medium};

use super::connection::{ATTEMPTS, BACKOFF, PASSWORD, URL, USER};
use super::zone::Zone;

/// Group of the connection's keys in user interfaces.
pub(super) const CONNECTION: &str = "Connection";

pub(super) const fn user(order: i32) -> ConfigKey {
    ConfigKey::nullable(USER, Text, High, "Role to log in as.").shown(
        CONNECTION,
        order,
        Width::Medium,
        "JDBC User",
    )
}

pub(super) const fn password(order: i32) -> ConfigKey {
    ConfigKey::nullable(PASSWORD, Password, High, "Password of the role.").shown(
        CONNECTION,
        order,
        Width::Medium,
        "JDBC Password",
    )
}

pub(super) const fn url(key: ConfigKey) -> ConfigKey {
    key.shown(CONNECTION, 1, Width::Long, "JDBC URL")
}

/// What [`url`] is made of.
pub(super) const URL_DOC: &str = "Where the database is: jdbc:postgresql://host:port/database?parameters. Several hosts may be given, with commas between.";
pub(super) const URL_NAME: &str = URL;

pub(super) const fn credentials(order: i32) -> ConfigKey {
    ConfigKey::with_default(
        "jdbc.credentials.provider.class",
        Class,
        "io.confluent.connect.jdbc.util.DefaultJdbcCredentialsProvider",
        Low,
        "Where user and password come from; only the default, which takes them from connection.user and connection.password.",
    )
    .valid(Validator::Check(default_provider))
    .shown(CONNECTION, order, Width::Long, "JDBC Credentials Provider Class")
}

fn default_provider(class: &str) -> Option<String> {
    let known = class.is_empty() || class.rsplit('.').next() == Some("DefaultJdbcCredentialsProvider");
    (!known).then(|| {
        "classes cannot be loaded here; set connection.user and connection.password, which may be ${file:…} or ${env:…}"
            .to_owned()
    })
}

pub(super) const fn dialect(group: &'static str, order: i32) -> ConfigKey {
    ConfigKey::with_default(
        "dialect.name",
        Text,
        "",
        Low,
        "The database dialect: PostgreSqlDatabaseDialect, or empty for what connection.url says.",
    )
    .valid(Validator::Check(known_dialect))
    .shown(group, order, Width::Long, "Database Dialect")
}

fn known_dialect(name: &str) -> Option<String> {
    (!matches!(name, "" | "PostgreSqlDatabaseDialect"))
        .then(|| "only PostgreSqlDatabaseDialect is supported".to_owned())
}

pub(super) const fn attempts(order: i32) -> ConfigKey {
    ConfigKey::with_default(
        ATTEMPTS,
        Int,
        "3",
        Low,
        "How often a connection is tried before that counts as an error.",
    )
    .valid(Validator::AtLeast(1))
    .shown(CONNECTION, order, Width::Short, "JDBC connection attempts")
}

pub(super) const fn backoff(order: i32) -> ConfigKey {
    ConfigKey::with_default(
        BACKOFF,
        Long,
        "10000",
        Low,
        "Wait between two tries of a connection, in milliseconds.",
    )
    .shown(CONNECTION, order, Width::Short, "JDBC connection backoff in milliseconds")
}

pub(super) const fn time_zone(
    group: &'static str,
    order: i32,
    width: Width,
    name: &'static str,
) -> ConfigKey {
    ConfigKey::with_default(
        "db.timezone",
        Text,
        "UTC",
        Medium,
        "Time zone in which columns without a zone hold wall clock time; a Java zone id.",
    )
    .valid(Validator::Check(known_zone))
    .shown(group, order, width, name)
}

pub(super) fn known_zone(id: &str) -> Option<String> {
    Zone::parse(id).is_none().then(|| "Invalid time zone identifier".to_owned())
}

pub(super) const fn quoting(group: &'static str, order: i32) -> ConfigKey {
    ConfigKey::with_default(
        "quote.sql.identifiers",
        Text,
        "ALWAYS",
        Medium,
        "Whether names of tables and columns are quoted in statements: always (they keep their case) or never (PostgreSQL folds them to lower case).",
    )
    .valid(Validator::OneOf(&["always", "ALWAYS", "never", "NEVER"]))
    .shown(group, order, Width::Medium, "Quote Identifiers")
}

pub(super) const fn calendar(group: &'static str, order: i32) -> ConfigKey {
    ConfigKey::with_default(
        "date.calendar.system",
        Text,
        "LEGACY",
        Low,
        "LEGACY or PROLEPTIC_GREGORIAN. PostgreSQL's calendar is always the proleptic Gregorian one, and so are dates here: it matters before 1582-10-15 only.",
    )
    .valid(Validator::OneOfIgnoringCase(&["LEGACY", "PROLEPTIC_GREGORIAN"]))
    .shown(group, order, Width::Short, "Date Calendar System")
}

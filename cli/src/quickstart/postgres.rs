//! The changes of a database, shown in the terminal as they happen.

use std::time::Duration;

use aqueduct_engine::connector::ConfigMap;

use super::progress::Progress;
use super::{Arguments, SINK, SOURCE, connector, failed_task, properties};
use crate::Failure;
use crate::standalone::Running;

const PREFIX: &str = "quickstart";
const PUBLICATION: &str = "aqueduct_quickstart";

/// A database by its URL.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Database {
    host: String,
    port: u16,
    user: String,
    password: String,
    name: String,
    ssl_mode: String,
}

impl Database {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub(super) fn parse(url: &str) -> Result<Database, Failure> {
        let invalid = |what: &str| {
            Failure::from(format!(
                "--postgres: {what}; what is wanted is postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters as %XX"
            ))
        };
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| invalid("the URL begins with something else than postgres://"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (account, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) =
            account.split_once(':').map_or((account, None), |(user, password)| (user, Some(password)));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| invalid("the port is not a number up to 65535"))?)
            }
            _ => (place, 5432),
        };
        let (name, query) = path.split_once('?').unwrap_or((path, ""));
        let mut ssl_mode = "prefer".to_owned();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.strip_prefix("sslmode=") {
                Some(mode) => ssl_mode = mode.to_owned(),
                None => return Err(invalid("only the parameter sslmode is known")),
            }
        }
        let text = |part: &str| {
            decoded(part).ok_or_else(|| invalid("a % is not followed by two hexadecimal digits"))
        };
        let user = if user.is_empty() { "postgres".to_owned() } else { text(user)? };
        Ok(Database {
            host: if host.is_empty() {
                "localhost".to_owned()
            } else {
                host.trim_matches(['[', ']']).to_owned()
            },
            port,
            password: match password {
                Some(password) => text(password)?,
                None => std::env::var("PGPASSWORD").unwrap_or_default(),
            },
            name: if name.is_empty() { user.clone() } else { text(name)? },
            user,
            ssl_mode,
        })
    }

    fn source(&self, arguments: &Arguments) -> ConfigMap {
        let slot = format!("aqueduct_quickstart_{}", std::process::id());
        let mut config = properties(&[
            ("name", SOURCE),
            ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
            ("database.hostname", &self.host),
            ("database.port", &self.port.to_string()),
            ("database.user", &self.user),
            ("database.password", &self.password),
            ("database.dbname", &self.name),
            ("database.sslmode", &self.ssl_mode),
            ("topic.prefix", PREFIX),
            ("plugin.name", "pgoutput"),
            ("slot.name", &slot),
            ("slot.drop.on.stop", "true"),
            ("publication.name", PUBLICATION),
            (
                "publication.autocreate.mode",
                if arguments.tables.is_some() { "filtered" } else { "all_tables" },
            ),
            ("snapshot.mode", if arguments.snapshot { "initial" } else { "no_data" }),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter.schemas.enable", "false"),
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("key.converter.schemas.enable", "false"),
            ("tombstones.on.delete", "false"),
            ("topic.creation.default.partitions", "1"),
            ("topic.creation.default.replication.factor", "-1"),
        ]);
        if let Some(tables) = &arguments.tables {
            config.insert("table.include.list".to_owned(), tables.clone());
        }
        config
    }

    /// What a connector leaves in the database.
    pub(super) fn say_what_is_left(&self) {
        println!(
            "the replication slot is dropped; if you need the publication no more: \
             psql -h {} -p {} -U {} -d {} -c 'DROP PUBLICATION IF EXISTS {PUBLICATION}'",
            self.host, self.port, self.user, self.name
        );
    }
}

/// Without percent-encoding; `None` if it is malformed.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Shows changes until the time of the arguments is over.
pub(super) async fn run(arguments: &Arguments, database: &Database, worker: &Running) -> Result<(), Failure> {
    let sink = properties(&[
        ("name", SINK),
        ("connector.class", "FileStreamSink"),
        ("topics.regex", &format!("{PREFIX}[.].*")),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        // tables get their topics with their first change
        ("consumer.override.metadata.max.age.ms", "1000"),
        ("consumer.override.auto.offset.reset", "earliest"),
    ]);
    println!(
        "Changes of {} on {}:{}, one JSON object a line; Ctrl-C ends it",
        database.name, database.host, database.port
    );
    println!("  status   curl -s '{}/connectors?expand=status'\n", worker.addresses);
    worker.create(vec![connector(database.source(arguments)), connector(sink)]).await?;
    let begun = std::time::Instant::now();
    let mut progress = arguments.snapshot.then(Progress::new);
    while arguments.duration.is_none_or(|seconds| begun.elapsed() < Duration::from_secs(seconds)) {
        failed_task(worker)?;
        if let Some(progress) = &mut progress {
            progress.show();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let of = |host: &str, port, user: &str, password: &str, name: &str, ssl_mode: &str| Database {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: password.to_owned(),
            name: name.to_owned(),
            ssl_mode: ssl_mode.to_owned(),
        };
        let parsed = |url| Database::parse(url).unwrap();
        assert_eq!(parsed("postgres://a:p%40%3A@db:6432/shop"), of("db", 6432, "a", "p@:", "shop", "prefer"));
        assert_eq!(
            parsed("postgresql://a:@[::1]:1/x?sslmode=disable"),
            of("::1", 1, "a", "", "x", "disable")
        );
        assert_eq!(parsed("postgres://me:p@db"), of("db", 5432, "me", "p", "me", "prefer"));
    }

    #[test]
    fn what_is_wrong_is_said_and_the_password_is_not() {
        for url in [
            "mysql://a:secret@h/d",
            "postgres://a:secret@h:port/d",
            "postgres://a:secret%2@h/d",
            "postgres://a:secret@h/d?x=1",
        ] {
            let error = Database::parse(url).unwrap_err().to_string();
            assert!(error.contains("--postgres") && !error.contains("secret"), "{error}");
        }
    }
}

//! `aqueduct dry-run`: a connector's converters and transforms over given records, without a worker.

use std::io::{BufRead as _, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aqueduct_engine::config::{ConfigError, ConfigMap};
use aqueduct_engine::dry_run::{DryRun, Message, TopicReader, pretty};

use crate::Failure;

/// What a bad configuration ends the program with.
const BAD_CONFIG: u8 = 2;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The connector's configuration: one JSON object of its keys, as the REST API takes it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Show each record before and after, with the fields that changed, instead of lines of JSON.
    #[arg(long)]
    pretty: bool,
    /// Take the records of this topic instead of standard input, from the oldest on; nothing is committed.
    #[arg(long, requires = "bootstrap_servers")]
    topic: Option<String>,
    /// The cluster of the topic.
    #[arg(long, value_name = "HOST:PORT,…", requires = "topic")]
    bootstrap_servers: Option<String>,
    /// Most records of the topic.
    #[arg(long, default_value_t = 10, requires = "topic")]
    max: usize,
    /// A setting of the topic's consumer, such as security.protocol=SASL_SSL.
    #[arg(long, value_name = "KEY=VALUE", requires = "topic")]
    consumer_property: Vec<String>,
}

/// Runs the records through, and writes what becomes of each.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = read_config(&arguments.config)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut dry_run = match DryRun::new(&config) {
        Ok(dry_run) => dry_run,
        Err(ConfigError { java_class, message, .. }) => {
            let line = serde_json::json!({"configError": {"class": java_class, "message": message}});
            writeln!(out, "{line}")?;
            out.flush()?;
            return Ok(ExitCode::from(BAD_CONFIG));
        }
    };
    let mut write = |messages: &[Message]| -> Result<(), Failure> {
        for (message, answer) in messages.iter().zip(dry_run.run(messages)) {
            match arguments.pretty {
                true => writeln!(out, "{}", pretty(message, &answer))?,
                false => writeln!(out, "{}", answer.to_json())?,
            }
        }
        Ok(())
    };
    let done = match &arguments.topic {
        Some(topic) => {
            let client = client(arguments)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut reader = TopicReader::open(&client, topic, arguments.max).await?;
                loop {
                    let messages = reader.next().await?;
                    if messages.is_empty() {
                        return Ok(());
                    }
                    write(&messages)?;
                }
            })
        }
        None => standard_input(write),
    };
    out.flush()?;
    done.map(|()| ExitCode::SUCCESS)
}

fn standard_input(mut write: impl FnMut(&[Message]) -> Result<(), Failure>) -> Result<(), Failure> {
    for (number, line) in BufReader::new(std::io::stdin().lock()).lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let message = Message::from_json(&line)
            .map_err(|error| format!("line {}: {}", number + 1, crate::chain(&error)))?;
        write(&[message])?;
    }
    Ok(())
}

fn client(arguments: &Arguments) -> Result<ConfigMap, Failure> {
    let servers = arguments.bootstrap_servers.clone().unwrap_or_default();
    let mut client = ConfigMap::from([("bootstrap.servers".to_owned(), servers)]);
    for property in &arguments.consumer_property {
        let (key, value) = property
            .split_once('=')
            .ok_or_else(|| format!("--consumer-property {property}: it is KEY=VALUE"))?;
        client.insert(key.trim().to_owned(), value.to_owned());
    }
    Ok(client)
}

/// Scalars that are not strings become strings, as in the REST API.
fn read_config(path: &Path) -> Result<ConfigMap, Failure> {
    let named = |what: &str| format!("{}: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(&error.to_string()))?;
    let json: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&text).map_err(|error| named(&format!("not a JSON object: {error}")))?;
    let mut config = ConfigMap::new();
    for (key, value) in json {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text,
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
            _ => return Err(named(&format!("{key}: a configuration's values are texts")).into()),
        };
        config.insert(key, value);
    }
    Ok(config)
}

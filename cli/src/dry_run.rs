//! `aqueduct dry-run`: a connector's converters and transforms over given records, offline.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aqueduct_engine::config::{ConfigError, ConfigMap};
use aqueduct_engine::dry_run::{DryRun, Message};

use crate::Failure;

/// What a bad configuration ends the program with.
const BAD_CONFIG: u8 = 2;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The connector's configuration: one JSON object of its keys, as the REST API takes it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Reads records from standard input, one JSON object a line, and writes what becomes of each.
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
    for (number, line) in BufReader::new(std::io::stdin().lock()).lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let message = Message::from_json(&line)
            .map_err(|error| format!("line {}: {}", number + 1, crate::chain(&error)))?;
        for answer in dry_run.run(&[message]) {
            writeln!(out, "{}", answer.to_json())?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
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

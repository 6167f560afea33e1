//! Connector files of the command line: Java properties, or JSON in either of the two forms that Connect accepts.

use std::path::Path;

use serde_json::Value;

use super::TargetState;
use crate::config::java_properties;
use crate::connector::ConfigMap;

/// A connector as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorFile {
    /// Its name.
    pub name: String,
    /// Its configuration, with `name`.
    pub config: ConfigMap,
    /// The state to start in.
    pub initial_state: Option<TargetState>,
}

/// What is wrong with a file of the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: cannot read the file; check the name and its permissions")]
    Read {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Its content is not what it has to be.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong, and what is allowed.
        what: String,
    },
}

/// Reads a Java properties file.
pub fn read_properties(path: &Path) -> Result<ConfigMap, FileError> {
    let bytes = read(path)?;
    java_properties::parse(&bytes)
        .map_err(|error| FileError::Content { path: path.display().to_string(), what: error.to_string() })
}

/// Reads a connector file; one that ends in `.json`, or parses as JSON, is taken as JSON.
pub fn read_connector(path: &Path) -> Result<ConnectorFile, FileError> {
    let bytes = read(path)?;
    let content = |what: String| FileError::Content { path: path.display().to_string(), what };
    let (name, mut config, initial_state) = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => of_json(&members).map_err(content)?,
        Ok(_) => return Err(content("the JSON has to be an object".to_owned())),
        Err(error) if path.extension().is_some_and(|extension| extension == "json") => {
            return Err(content(format!("not JSON: {error}")));
        }
        Err(_) => (None, read_properties(path)?, None),
    };
    let name = name
        .or_else(|| config.get("name").cloned())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| content("the key name is missing: give the connector a name".to_owned()))?;
    config.entry("name".to_owned()).or_insert_with(|| name.clone());
    Ok(ConnectorFile { name, config, initial_state })
}

type Parsed = (Option<String>, ConfigMap, Option<TargetState>);

/// The flat map of a configuration, or the body of a creation request.
fn of_json(members: &serde_json::Map<String, Value>) -> Result<Parsed, String> {
    let Some(Value::Object(config)) = members.get("config") else { return Ok((None, flat(members)?, None)) };
    let name = members.get("name").and_then(Value::as_str).map(str::to_owned);
    let state =
        match members.get("initial_state") {
            None | Some(Value::Null) => None,
            Some(state) => {
                let parsed = state.as_str().and_then(TargetState::parse_initial);
                Some(parsed.ok_or_else(|| {
                    format!("initial_state={state}: allowed are RUNNING, PAUSED and STOPPED")
                })?)
            }
        };
    Ok((name, flat(config)?, state))
}

fn flat(members: &serde_json::Map<String, Value>) -> Result<ConfigMap, String> {
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok((key.clone(), value.to_string())),
        _ => Err(format!("{key}: the value has to be a string, a number or a boolean")),
    };
    members.iter().map(text).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Read { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, content: &str) -> Result<ConnectorFile, FileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_connector(&path)
    }

    #[test]
    fn all_three_forms() {
        let properties = parse("c.properties", "name=c\ntasks.max = 2\n").unwrap();
        assert_eq!((properties.name.as_str(), properties.config["tasks.max"].as_str()), ("c", "2"));
        let flat = parse("c.json", r#"{"name":"c","tasks.max":2}"#).unwrap();
        assert_eq!(flat, properties);
        let request =
            parse("c.json", r#"{"name":"c","config":{"tasks.max":"2"},"initial_state":"paused"}"#).unwrap();
        assert_eq!(request.config["name"], "c");
        assert_eq!(request.initial_state, Some(TargetState::Paused));
    }

    #[test]
    fn errors_name_the_file_and_the_cause() {
        assert!(parse("c.json", "{").unwrap_err().to_string().contains("not JSON"));
        assert!(parse("c.properties", "tasks.max=1").unwrap_err().to_string().contains("name is missing"));
        assert!(
            parse("c.json", r#"{"name":"c","config":{"a":[1]}}"#)
                .unwrap_err()
                .to_string()
                .contains("a: the value")
        );
        let missing = read_connector(Path::new("/nope/c.json")).unwrap_err().to_string();
        assert!(missing.contains("/nope/c.json"), "{missing}");
    }
}

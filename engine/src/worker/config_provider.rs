//! Config providers: `${provider:path:key}` in a configuration is replaced when a connector or task starts, and only then,
//! so that secrets are in no store and no REST answer.

use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use indexmap::IndexMap;

use super::config::WorkerConfigError;
use crate::config::java_properties;
use crate::connector::{ConfigMap, ConnectError};

/// A file of secrets beyond this is refused.
const MAX_FILE: u64 = 1 << 20;

/// The providers that the worker's `config.providers` names.
#[derive(Debug, Default)]
pub struct ConfigProviders {
    providers: IndexMap<String, Provider>,
}

#[derive(Debug)]
enum Provider {
    /// Keys of a properties file.
    File { allowed: Vec<PathBuf> },
    /// Files of a folder: the name is the key, the content the value.
    Directory { allowed: Vec<PathBuf> },
    /// Environment variables whose whole name fits the pattern.
    Env { allowed: Option<Regex> },
}

impl ConfigProviders {
    /// Reads `config.providers`, `config.providers.NAME.class` and `config.providers.NAME.param.*`.
    pub fn from_worker(properties: &ConfigMap) -> Result<ConfigProviders, WorkerConfigError> {
        let names = properties.get("config.providers").map(String::as_str).unwrap_or_default();
        let mut providers = IndexMap::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let key = format!("config.providers.{name}.class");
            let class = properties.get(&key).map(|class| class.trim()).unwrap_or_default();
            let parameter =
                |parameter: &str| properties.get(&format!("config.providers.{name}.param.{parameter}"));
            let paths = || {
                let paths = parameter("allowed.paths").map(String::as_str).unwrap_or_default();
                paths.split(',').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
            };
            let provider = match class.rsplit('.').next().unwrap_or_default() {
                "FileConfigProvider" => Provider::File { allowed: paths() },
                "DirectoryConfigProvider" => Provider::Directory { allowed: paths() },
                "EnvVarConfigProvider" => Provider::Env {
                    allowed: parameter("allowlist.pattern").map(|text| pattern(name, text)).transpose()?,
                },
                _ => {
                    let allowed = "allowed are FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider of org.apache.kafka.common.config.provider";
                    return Err(WorkerConfigError::Invalid { key, value: class.to_owned(), allowed });
                }
            };
            providers.insert(name.to_owned(), provider);
        }
        Ok(ConfigProviders { providers })
    }

    /// The configuration with every reference replaced. A reference to an unknown provider or key stays as it is, as in the JVM.
    pub fn resolve(&self, config: &ConfigMap) -> Result<ConfigMap, ConnectError> {
        if self.providers.is_empty() {
            return Ok(config.clone());
        }
        config.iter().map(|(key, value)| Ok((key.clone(), self.resolve_value(key, value)?))).collect()
    }

    fn resolve_value(&self, key: &str, value: &str) -> Result<String, ConnectError> {
        let mut resolved = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            resolved.push_str(before);
            let Some(end) = reference.find('}') else {
                rest = reference;
                break;
            };
            match self.look_up(&reference[2..end]).map_err(|error| at_key(key, error))? {
                Some(found) => resolved.push_str(&found),
                None => resolved.push_str(&reference[..=end]),
            }
            rest = &reference[end + 1..];
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    /// `provider:key` or `provider:path:key`.
    fn look_up(&self, reference: &str) -> Result<Option<String>, std::io::Error> {
        let Some((provider, rest)) = reference.split_once(':') else { return Ok(None) };
        let (path, key) = rest.split_once(':').unwrap_or(("", rest));
        match self.providers.get(provider) {
            None => Ok(None),
            Some(Provider::Env { allowed }) => {
                let fits = allowed.as_ref().is_none_or(|pattern| pattern.is_match(key).unwrap_or(false));
                Ok(if fits && path.is_empty() { std::env::var(key).ok() } else { None })
            }
            Some(Provider::File { allowed }) if is_allowed(allowed, Path::new(path)) => {
                let bytes = read(Path::new(path))?;
                let mut properties = java_properties::parse(&bytes).map_err(std::io::Error::other)?;
                Ok(properties.swap_remove(key))
            }
            Some(Provider::Directory { allowed }) if is_allowed(allowed, Path::new(path)) => {
                // a key is the name of one file of the folder, never a way out of it
                if key.is_empty() || key.contains('/') || key == ".." {
                    return Ok(None);
                }
                match read(&Path::new(path).join(key)) {
                    Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Some(_) => Ok(None),
        }
    }
}

/// Puts references back into a task's configuration where the connector has handed resolved values on.
pub(super) fn put_references_back(task: &mut ConfigMap, raw: &ConfigMap, resolved: &ConfigMap) {
    for (key, value) in task {
        if let (Some(raw), Some(resolved)) = (raw.get(key), resolved.get(key))
            && raw != resolved
            && value == resolved
        {
            value.clone_from(raw);
        }
    }
}

fn at_key(key: &str, error: std::io::Error) -> ConnectError {
    ConnectError::fatal(format!("{key}: the value that the configuration refers to cannot be read"))
        .caused_by(error)
}

fn pattern(name: &str, text: &str) -> Result<Regex, WorkerConfigError> {
    Regex::new(&format!("^(?:{text})$")).map_err(|_| WorkerConfigError::Invalid {
        key: format!("config.providers.{name}.param.allowlist.pattern"),
        value: text.to_owned(),
        allowed: "a regular expression",
    })
}

fn is_allowed(allowed: &[PathBuf], path: &Path) -> bool {
    let climbs = path.components().any(|component| component == std::path::Component::ParentDir);
    allowed.is_empty() || (!climbs && allowed.iter().any(|folder| path.starts_with(folder)))
}

fn read(path: &Path) -> Result<Vec<u8>, std::io::Error> {
    let named = |error: std::io::Error| {
        std::io::Error::new(
            error.kind(),
            format!("Could not read properties from file {}: {error}", path.display()),
        )
    };
    if std::fs::metadata(path).map_err(named)?.len() > MAX_FILE {
        return Err(named(std::io::Error::other("larger than 1 MiB")));
    }
    std::fs::read(path).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> ConfigMap {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn providers(extra: &[(&str, &str)]) -> ConfigProviders {
        let mut worker = map(&[
            ("config.providers", "file, dir,env"),
            ("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
            ("config.providers.dir.class", "org.apache.kafka.common.config.provider.DirectoryConfigProvider"),
            ("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider"),
        ]);
        worker.extend(map(extra));
        ConfigProviders::from_worker(&worker).unwrap()
    }

    #[test]
    fn references_are_replaced_and_unknown_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.properties"), "user=ada\npass\\:word=s3cret\n").unwrap();
        let path = folder.path().display();
        let config = map(&[
            ("a", &format!("${{file:{path}/p.properties:user}}@${{dir:{path}:p.properties}}!")),
            ("b", &format!("${{file:{path}/p.properties:nope}} ${{vault:x:y}} ${{unclosed ")),
            ("c", &format!("${{file:{path}/p.properties:pass:word}}")),
            ("d", &format!("${{dir:{path}:../x}}")),
        ]);
        let resolved = providers(&[]).resolve(&config).unwrap();
        assert_eq!(resolved["a"], "ada@user=ada\npass\\:word=s3cret\n!");
        assert_eq!(resolved["b"], config["b"]);
        assert_eq!(resolved["c"], "s3cret");
        assert_eq!(resolved["d"], config["d"]);
        let outside = providers(&[("config.providers.file.param.allowed.paths", "/elsewhere")])
            .resolve(&config)
            .unwrap();
        assert_eq!(outside["c"], config["c"]);
        assert!(
            providers(&[])
                .resolve(&map(&[("k", "${file:/nope:x}")]))
                .unwrap_err()
                .to_string()
                .starts_with("k: ")
        );

        let mut task = map(&[("c", "s3cret"), ("d", "other")]);
        put_references_back(&mut task, &config, &resolved);
        assert_eq!(task["c"], config["c"]);
    }

    #[test]
    fn unknown_classes_are_refused() {
        let worker = map(&[("config.providers", "v"), ("config.providers.v.class", "x.Vault")]);
        let error = ConfigProviders::from_worker(&worker).unwrap_err().to_string();
        assert!(error.contains("config.providers.v.class") && error.contains("x.Vault"), "{error}");
    }
}

//! Config providers: `${provider:path:key}` in a configuration is replaced when a connector or task starts, and only then,
//! so that secrets are in no store and no REST answer.

mod http;
mod watch;

use std::path::{Component, Path, PathBuf};

use fancy_regex::Regex;
use indexmap::IndexMap;

use http::HttpProvider;
pub(super) use watch::Watcher;

use super::config::WorkerConfigError;
use crate::config::java_properties;
use crate::connector::{ConfigMap, ConnectError};

/// A file of secrets beyond this is refused.
const MAX_FILE: u64 = 1 << 20;

/// The providers that the worker's `config.providers` names.
#[derive(Debug, Default)]
pub struct ConfigProviders {
    providers: IndexMap<String, Provider>,
    changes: watch::Changes,
}

#[derive(Debug)]
enum Provider {
    /// Keys of a properties file.
    File { allowed: Vec<PathBuf> },
    /// Files of a folder: the name is the key, the content the value.
    Directory { allowed: Vec<PathBuf> },
    /// Environment variables whose whole name fits the pattern.
    Env { allowed: Option<Regex> },
    /// An HTTP server. Ours: no worker of the JVM has it.
    Http(Box<HttpProvider>),
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
            let paths = || allowed_paths(name, parameter("allowed.paths").map(String::as_str));
            let provider = match class.rsplit('.').next().unwrap_or_default() {
                "FileConfigProvider" => Provider::File { allowed: paths()? },
                "DirectoryConfigProvider" => Provider::Directory { allowed: paths()? },
                "EnvVarConfigProvider" => Provider::Env {
                    allowed: parameter("allowlist.pattern").map(|text| pattern(name, text)).transpose()?,
                },
                "HttpConfigProvider" => {
                    Provider::Http(Box::new(HttpProvider::from_worker(name, properties)?))
                }
                _ => {
                    let allowed = "allowed are FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider of org.apache.kafka.common.config.provider, and HttpConfigProvider";
                    return Err(WorkerConfigError::Invalid { key, value: class.to_owned(), allowed });
                }
            };
            providers.insert(name.to_owned(), provider);
        }
        Ok(ConfigProviders { providers, changes: watch::Changes::default() })
    }

    /// The configuration with every reference replaced, after servers were asked for what is not known yet. A reference to
    /// an unknown provider or key stays as it is, as in the JVM.
    pub async fn resolve(&self, config: &ConfigMap) -> Result<ConfigMap, ConnectError> {
        for (key, value) in config {
            for (provider, path) in self.http_references(value) {
                let failed = |error| ConnectError::fatal(format!("{key}: {UNREADABLE}")).caused_by(error);
                provider.prepare(path).await.map_err(failed)?;
            }
        }
        self.resolve_known(config)
    }

    /// The same before there is a worker: asks servers from a thread of its own, and waits for it.
    pub(super) fn resolve_blocking(&self, config: &ConfigMap) -> Result<ConfigMap, ConnectError> {
        // the providers' own settings are never resolved
        let mut own = config.clone();
        own.retain(|key, _| key.starts_with("config.providers"));
        let mut others = config.clone();
        others.retain(|key, _| !own.contains_key(key));
        let asks = others.values().any(|value| self.http_references(value).next().is_some());
        let mut resolved = if asks { self.resolve_apart(&others)? } else { self.resolve_known(&others)? };
        resolved.extend(own);
        Ok(resolved)
    }

    fn resolve_apart(&self, config: &ConfigMap) -> Result<ConfigMap, ConnectError> {
        let failed = |what: &str| ConnectError::fatal(format!("config providers: {what}"));
        let resolve = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| failed("no runtime").caused_by(error))?.block_on(self.resolve(config))
        };
        std::thread::scope(|scope| scope.spawn(resolve).join()).unwrap_or_else(|_| Err(failed("a panic")))
    }

    /// The same where nobody can wait for servers: of them only what is known already.
    pub fn resolve_known(&self, config: &ConfigMap) -> Result<ConfigMap, ConnectError> {
        if self.providers.is_empty() {
            return Ok(config.clone());
        }
        config.iter().map(|(key, value)| Ok((key.clone(), self.resolve_value(key, value)?))).collect()
    }

    /// Providers and paths of a value's references to servers.
    fn http_references<'a>(&'a self, value: &'a str) -> impl Iterator<Item = (&'a HttpProvider, &'a str)> {
        references(value).filter_map(|reference| {
            let (name, rest) = reference.split_once(':')?;
            let (path, _) = rest.split_once(':')?;
            match self.providers.get(name)? {
                Provider::Http(provider) => Some((&**provider, path)),
                _ => None,
            }
        })
    }

    /// What references of the configuration have put into it, to be hidden where it might be shown.
    pub(super) fn secrets(&self, config: &ConfigMap) -> Secrets {
        let values = config.values().flat_map(|value| references(value));
        let found = values.filter_map(|reference| self.look_up(reference).ok().flatten());
        Secrets(found.filter(|secret| secret.len() >= SHORTEST_SECRET).collect())
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
            Some(Provider::Http(provider)) => Ok(provider.known(path, key)),
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
    ConnectError::fatal(format!("{key}: {UNREADABLE}")).caused_by(error)
}

const UNREADABLE: &str = "the value that the configuration refers to cannot be read";

/// What is between `${` and `}` in a value.
fn references(value: &str) -> impl Iterator<Item = &str> {
    value.split("${").skip(1).filter_map(|after| after.split_once('}').map(|(reference, _)| reference))
}

/// A value shorter than this is not looked for in texts: it would be found anywhere.
const SHORTEST_SECRET: usize = 4;

/// Values that must not be shown. They do not print.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// The error without them, whatever it was caused by.
    pub(super) fn hide_in(&self, error: ConnectError) -> ConnectError {
        if !self.0.iter().any(|secret| error.trace().contains(secret.as_str())) {
            return error;
        }
        let mut texts = vec![error.to_string()];
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            texts.push(error.to_string());
            cause = error.source();
        }
        let retriable = error.is_retriable();
        let one = |mut text: String| {
            self.hide(&mut text);
            if retriable { ConnectError::retriable(text) } else { ConnectError::fatal(text) }
        };
        let whole = texts.into_iter().rev().map(one).reduce(|cause, error| error.caused_by(cause));
        whole.unwrap_or(error)
    }

    /// Takes them out of a text.
    pub(super) fn hide(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), "[hidden]");
            }
        }
    }
}

fn pattern(name: &str, text: &str) -> Result<Regex, WorkerConfigError> {
    Regex::new(&format!("^(?:{text})$")).map_err(|_| WorkerConfigError::Invalid {
        key: format!("config.providers.{name}.param.allowlist.pattern"),
        value: text.to_owned(),
        allowed: "a regular expression",
    })
}

/// `allowed.paths`: absolute paths that exist, as the JVM wants them.
fn allowed_paths(name: &str, paths: Option<&str>) -> Result<Vec<PathBuf>, WorkerConfigError> {
    let paths = paths.unwrap_or_default().split(',').map(str::trim).filter(|path| !path.is_empty());
    let check = |path: &str| {
        let invalid = |allowed| WorkerConfigError::Invalid {
            key: format!("config.providers.{name}.param.allowed.paths"),
            value: path.to_owned(),
            allowed,
        };
        match Path::new(path) {
            path if !path.is_absolute() => Err(invalid("the path is not absolute")),
            path if !path.exists() => Err(invalid("the path does not exist")),
            path => Ok(normal(path)),
        }
    };
    paths.map(check).collect()
}

/// The path without `.` and `..`, which are not looked up.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

fn is_allowed(allowed: &[PathBuf], path: &Path) -> bool {
    let path = normal(path);
    allowed.is_empty() || allowed.iter().any(|folder| path.starts_with(folder))
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
        let resolved = providers(&[]).resolve_known(&config).unwrap();
        assert_eq!(resolved["a"], "ada@user=ada\npass\\:word=s3cret\n!");
        assert_eq!(resolved["b"], config["b"]);
        assert_eq!(resolved["c"], "s3cret");
        assert_eq!(resolved["d"], config["d"]);
        let only = |allowed: &str| providers(&[("config.providers.file.param.allowed.paths", allowed)]);
        let outside = only("/proc").resolve_known(&config).unwrap();
        assert_eq!(outside["c"], config["c"]);
        let folder = folder.path().to_str().unwrap();
        let ways = map(&[
            ("in", &format!("${{file:/proc/..{folder}/./p.properties:user}}")),
            ("out", &format!("${{file:{folder}/../p.properties:user}}")),
        ]);
        let resolved_ways = only(folder).resolve_known(&ways).unwrap();
        assert_eq!((resolved_ways["in"].as_str(), &resolved_ways["out"]), ("ada", &ways["out"]));
        let secrets = providers(&[]).secrets(&config);
        let mut text = "is it s3cret or ada?".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "is it [hidden] or ada?");
        let error =
            ConnectError::retriable("outer").caused_by(ConnectError::fatal("no s3cret").caused_by("why"));
        let hidden = secrets.hide_in(error);
        assert!(hidden.is_retriable());
        assert!(
            hidden.trace().ends_with("outer\nCaused by: no [hidden]\nCaused by: why\n"),
            "{}",
            hidden.trace()
        );
        assert!(
            providers(&[])
                .resolve_known(&map(&[("k", "${file:/nope:x}")]))
                .unwrap_err()
                .to_string()
                .starts_with("k: ")
        );

        let mut task = map(&[("c", "s3cret"), ("d", "other")]);
        put_references_back(&mut task, &config, &resolved);
        assert_eq!(task["c"], config["c"]);
    }

    #[test]
    fn allowed_paths_have_to_be_there() {
        for path in ["relative", "/not/there"] {
            let worker = map(&[
                ("config.providers", "f"),
                ("config.providers.f.class", "FileConfigProvider"),
                ("config.providers.f.param.allowed.paths", path),
            ]);
            let error = ConfigProviders::from_worker(&worker).unwrap_err().to_string();
            assert!(
                error.contains("config.providers.f.param.allowed.paths") && error.contains(path),
                "{error}"
            );
        }
    }

    #[test]
    fn unknown_classes_are_refused() {
        let worker = map(&[("config.providers", "v"), ("config.providers.v.class", "x.Vault")]);
        let error = ConfigProviders::from_worker(&worker).unwrap_err().to_string();
        assert!(error.contains("config.providers.v.class") && error.contains("x.Vault"), "{error}");
    }
}

//! Levels of loggers, as `/admin/loggers` shows and changes them while the worker runs (KIP-495).
//!
//! A logger's name is a dotted path; it has the level of the longest known prefix, or that of `root`. The modules of this program
//! are loggers under their own paths (`aqueduct_engine.worker`), and the JVM's packages are other names for them
//! ([`ALIASES`]), so that the usual scripts work. `connector.NAME` has the level of one connector's lines, wherever they come from.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use parking_lot::RwLock;

use crate::herder::HerderError;

/// The logger above all others.
pub const ROOT: &str = "root";
/// Prefix of the loggers of single connectors.
pub const CONNECTOR: &str = "connector.";
/// The JVM's packages, and the modules that do their work here; longer ones first.
pub const ALIASES: [(&str, &str); 7] = [
    ("org.apache.kafka.connect.runtime.rest", "aqueduct_engine.rest"),
    ("org.apache.kafka.connect.runtime", "aqueduct_engine.worker"),
    ("org.apache.kafka.connect.storage", "aqueduct_engine.store"),
    ("org.apache.kafka.connect", "aqueduct_engine"),
    ("org.apache.kafka.clients.consumer", "aqueduct_protocol.client.consumer"),
    ("org.apache.kafka.clients.producer", "aqueduct_protocol.client.producer"),
    ("org.apache.kafka.clients", "aqueduct_protocol.client"),
];
/// Loggers that exist without anybody having set a level.
const KNOWN: [&str; 7] = [
    "aqueduct_engine",
    "aqueduct_engine.herder",
    "aqueduct_engine.rest",
    "aqueduct_engine.store",
    "aqueduct_engine.worker",
    "aqueduct_protocol",
    "aqueduct_connectors",
];
/// Most loggers with a level of their own; more are refused.
const MOST: usize = 10_000;

/// How much a logger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// As ERROR: there is nothing above it here.
    Fatal,
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And how.
    Debug,
    /// And everything else.
    Trace,
}

const ALL: [Level; 7] =
    [Level::Off, Level::Fatal, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

impl Level {
    /// Reads a level, in any case.
    pub fn parse(text: &str) -> Option<Level> {
        const ALL: [Level; 7] =
            [Level::Off, Level::Fatal, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text.trim()))
    }

    /// The word of the REST API.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Off => "OFF",
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        }
    }
}

/// A logger's level as REST shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggerLevel {
    /// The level.
    pub level: Level,
    /// When REST changed it, in milliseconds since 1970; none if never.
    pub last_modified: Option<u64>,
}

/// All levels; clones share them.
#[derive(Debug, Clone)]
pub struct Loggers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    levels: RwLock<IndexMap<String, LoggerLevel>>,
    /// The most that any logger says.
    most: AtomicU8,
    /// Whether a connector has a level of its own.
    connectors: AtomicBool,
    /// Called after each change.
    changed: OnceLock<fn()>,
}

impl Default for Loggers {
    fn default() -> Loggers {
        Loggers::new(Level::Info, &[])
    }
}

impl Loggers {
    /// The root's level, and those of other loggers.
    pub fn new(root: Level, others: &[(String, Level)]) -> Loggers {
        let mut levels = IndexMap::new();
        levels.insert(ROOT.to_owned(), LoggerLevel { level: root, last_modified: None });
        for (name, level) in others {
            levels.insert(own_name(name), LoggerLevel { level: *level, last_modified: None });
        }
        let loggers = Loggers {
            shared: Arc::new(Shared {
                levels: RwLock::new(levels),
                most: AtomicU8::new(0),
                connectors: AtomicBool::new(false),
                changed: OnceLock::new(),
            }),
        };
        loggers.summarize();
        loggers
    }

    /// Every logger with a level of its own, by name.
    pub fn all(&self) -> Vec<(String, LoggerLevel)> {
        let mut all: Vec<_> =
            self.shared.levels.read().iter().map(|(name, level)| (shown_name(name), *level)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// The level of a logger that is known: it has a level of its own, or it is a module of this program.
    pub fn get(&self, name: &str) -> Option<LoggerLevel> {
        let own = own_name(name);
        let levels = self.shared.levels.read();
        levels.get(&own).copied().or_else(|| {
            let known = KNOWN.contains(&own.as_str());
            known.then(|| LoggerLevel { level: effective(&levels, &own), last_modified: None })
        })
    }

    /// Sets the level of a logger and all below it; gives the names of those that exist.
    pub fn set(&self, name: &str, level: &str) -> Result<Vec<String>, HerderError> {
        let Some(level) = Level::parse(level) else {
            return Err(HerderError::new(404, format!("invalid log level '{level}'.")));
        };
        let own = own_name(name);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let value = LoggerLevel { level, last_modified: Some(now) };
        let mut levels = self.shared.levels.write();
        if levels.len() >= MOST {
            return Err(HerderError::new(400, format!("{MOST} loggers have a level already")));
        }
        let below = |name: &str| own == ROOT || name == own || is_below(name, &own);
        let changes = |name: &str| effective(&levels, name) != level;
        let mut affected: Vec<String> = KNOWN
            .iter()
            .map(|name| (*name).to_owned())
            .chain(levels.keys().cloned())
            .filter(|name| below(name) && changes(name))
            .collect();
        affected.sort();
        affected.dedup();
        for name in &affected {
            levels.insert(name.clone(), value);
        }
        // a logger that nothing uses yet is remembered
        levels.entry(own).or_insert(LoggerLevel { level, last_modified: None }).level = level;
        drop(levels);
        self.summarize();
        let mut shown: Vec<String> = affected.iter().map(|name| shown_name(name)).collect();
        shown.sort();
        Ok(shown)
    }

    /// Sets what is called after each change of a level.
    pub fn on_change(&self, changed: fn()) {
        let _ = self.shared.changed.set(changed);
    }

    fn summarize(&self) {
        let levels = self.shared.levels.read();
        let most = levels.values().map(|found| found.level as u8).max().unwrap_or(Level::Info as u8);
        let connectors = levels.keys().any(|name| name.starts_with(CONNECTOR));
        drop(levels);
        self.shared.most.store(most, Ordering::Release);
        self.shared.connectors.store(connectors, Ordering::Release);
        if let Some(changed) = self.shared.changed.get() {
            changed();
        }
    }

    /// The level of a dotted path.
    pub fn level(&self, path: &str) -> Level {
        effective(&self.shared.levels.read(), path)
    }

    /// The level of one connector's lines, if it has one of its own.
    pub fn connector_level(&self, connector: &str) -> Option<Level> {
        let levels = self.shared.levels.read();
        levels.get(format!("{CONNECTOR}{connector}").as_str()).map(|found| found.level)
    }

    /// Whether a connector has a level of its own.
    pub fn has_connectors(&self) -> bool {
        self.shared.connectors.load(Ordering::Acquire)
    }

    /// The most that any logger says: what is above it need not be looked at. Costs one atomic load.
    pub fn most(&self) -> Level {
        let most = self.shared.most.load(Ordering::Acquire);
        ALL.into_iter().find(|level| *level as u8 == most).unwrap_or(Level::Trace)
    }
}

fn effective(levels: &IndexMap<String, LoggerLevel>, path: &str) -> Level {
    let mut prefix = path;
    loop {
        if let Some(found) = levels.get(prefix) {
            return found.level;
        }
        match prefix.rsplit_once('.') {
            Some((above, _)) => prefix = above,
            None => return levels.get(ROOT).map_or(Level::Info, |root| root.level),
        }
    }
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// The name under which a logger is kept.
fn own_name(name: &str) -> String {
    renamed(name, ALIASES.iter().copied())
}

/// The name that REST shows: the JVM's where there is one.
fn shown_name(name: &str) -> String {
    renamed(name, ALIASES.iter().map(|(theirs, ours)| (*ours, *theirs)))
}

fn renamed<'a>(name: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    for (from, to) in names {
        if name == from || is_below(name, from) {
            return format!("{to}{}", &name[from.len()..]);
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_inherited_and_set_below() {
        let loggers = Loggers::default();
        assert_eq!(loggers.level("aqueduct_engine.worker.sink"), Level::Info);
        let affected = loggers.set("org.apache.kafka.connect", "debug").unwrap();
        assert!(affected.contains(&"org.apache.kafka.connect".to_owned()), "{affected:?}");
        assert!(affected.contains(&"org.apache.kafka.connect.runtime.rest".to_owned()), "{affected:?}");
        assert_eq!(loggers.level("aqueduct_engine.worker.sink"), Level::Debug);
        assert_eq!(loggers.level("aqueduct_protocol.client"), Level::Info);
        loggers.set("root", "WARN").unwrap();
        assert_eq!(loggers.level("aqueduct_engine.worker.sink"), Level::Warn);
        assert_eq!(loggers.get("root").unwrap().level, Level::Warn);
        assert_eq!(loggers.connector_level("c"), None);
        assert_eq!(loggers.set("connector.c", "TRACE").unwrap(), Vec::<String>::new());
        assert_eq!(
            loggers.set("root", "WARN").unwrap(),
            ["connector.c"],
            "the others have that level already"
        );
        loggers.set("connector.c", "TRACE").unwrap();
        assert_eq!(loggers.connector_level("c"), Some(Level::Trace));
        assert_eq!(loggers.most(), Level::Trace);
    }

    #[test]
    fn unknown_loggers_are_remembered_and_bad_levels_refused() {
        let loggers = Loggers::default();
        assert!(loggers.get("foo.bar").is_none());
        assert_eq!(loggers.set("foo.bar", "debug").unwrap(), Vec::<String>::new());
        assert_eq!(loggers.get("foo.bar").unwrap().level, Level::Debug);
        assert!(loggers.all().iter().any(|(name, _)| name == "foo.bar"));
        let error = loggers.set("foo", "nope").unwrap_err();
        assert_eq!((error.status, error.message.as_str()), (404, "invalid log level 'nope'."));
    }
}

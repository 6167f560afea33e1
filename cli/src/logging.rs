//! Logs go to standard error, so that a sink may have standard output for itself.

use std::fmt;
use std::io::IsTerminal as _;

use aqueduct_engine::loggers::{Level, Loggers};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata};
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The level without `AQUEDUCT_LOG`.
#[derive(Clone, Copy)]
pub(crate) enum Default {
    Info,
    Warn,
}

/// Starts logging; gives the levels, which may change. `AQUEDUCT_LOG` sets them at first, as in `info,aqueduct_protocol=debug`;
/// `AQUEDUCT_LOG_FORMAT=json` writes one JSON object a line.
pub(crate) fn start(level: Default) -> Loggers {
    let mut root = match level {
        Default::Info => Level::Info,
        Default::Warn => Level::Warn,
    };
    let mut others = Vec::new();
    for item in std::env::var("AQUEDUCT_LOG").unwrap_or_default().split(',') {
        match item.split_once('=') {
            None => root = Level::parse(item).unwrap_or(root),
            Some((target, level)) => {
                others.extend(Level::parse(level).map(|level| (target.trim().replace("::", "."), level)));
            }
        }
    }
    let loggers = Loggers::new(root, &others);
    // what the program skips without looking is worked out anew when a level changes
    loggers.on_change(tracing::callsite::rebuild_interest_cache);
    let filter = Levels(loggers.clone());
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let json = std::env::var("AQUEDUCT_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    let layer = if json {
        format.json().with_filter(filter).boxed()
    } else {
        format.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
    };
    let _ = tracing_subscriber::registry().with(layer).try_init();
    loggers
}

/// Asks the loggers.
struct Levels(Loggers);

impl Levels {
    /// What a module says, without regard to connectors.
    fn of_module(&self, metadata: &Metadata<'_>) -> bool {
        let level = match metadata.target().contains("::") {
            true => self.0.level(&metadata.target().replace("::", ".")),
            false => self.0.level(metadata.target()),
        };
        *metadata.level() <= filter_of(level)
    }
}

impl<S: tracing::Subscriber> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        // a connector's own level is known with the event only
        self.of_module(metadata) || (self.0.has_connectors() && *metadata.level() <= filter_of(self.0.most()))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match *metadata.level() <= filter_of(self.0.most()) {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        if !self.0.has_connectors() {
            return true;
        }
        let mut connector = Connector(None);
        event.record(&mut connector);
        match connector.0.and_then(|name| self.0.connector_level(&name)) {
            Some(level) => *event.metadata().level() <= filter_of(level),
            None => self.of_module(event.metadata()),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter_of(self.0.most()))
    }
}

/// The field `connector` of an event.
struct Connector(Option<String>);

impl Visit for Connector {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "connector" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "connector" {
            self.0 = Some(format!("{value:?}").trim_matches('"').to_owned());
        }
    }
}

fn filter_of(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Fatal | Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

//! Logs go to standard error, so that a sink may have standard output for itself.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The level without `AQUEDUCT_LOG`.
#[derive(Clone, Copy)]
pub(crate) enum Default {
    Info,
    Warn,
}

/// Starts logging; `AQUEDUCT_LOG` sets levels as in `info,aqueduct_protocol=debug`.
pub(crate) fn start(level: Default) {
    let level = match level {
        Default::Info => "info",
        Default::Warn => "warn",
    };
    let filter = EnvFilter::try_from_env("AQUEDUCT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .try_init();
}

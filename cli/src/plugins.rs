//! `aqueduct plugins`.

use std::io::Write as _;

use crate::Failure;

/// Prints class, kind and version of every connector.
pub(crate) fn print() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for plugin in aqueduct_connectors::registry().plugins() {
        writeln!(out, "{:<6}  {}  {}", plugin.kind().as_str(), plugin.class(), plugin.version())?;
    }
    Ok(())
}

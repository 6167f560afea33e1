//! `DropHeaders`: headers left out by name.

use super::Transform;
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, Range32, Side};

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[ConfigKey::required(
        "headers",
        ConfigType::List,
        Importance::High,
        "The names of the headers to be removed.",
    )
    .valid(Validator::Names { empty: false })],
};

pub(super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let headers = config.set("headers").into_iter().map(str::to_owned).collect();
    Ok(Box::new(DropHeaders { headers }))
}

struct DropHeaders {
    headers: Vec<String>,
}

impl Transform for DropHeaders {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        for row in rows {
            let index = *row as usize;
            let old = batch.records[index].headers;
            let drops = |batch: &Batch, at: usize| {
                batch.headers.get(at).is_some_and(|header| {
                    self.headers.iter().any(|name| name.as_bytes() == batch.bytes(header.key))
                })
            };
            if !old.places().any(|at| drops(batch, at)) {
                continue;
            }
            let start = batch.headers.len() as u32;
            for at in old.places() {
                if !drops(batch, at) {
                    batch.headers.push(batch.headers[at]);
                }
            }
            let len = batch.headers.len() as u32 - start;
            batch.records[index].headers = Range32 { start, len };
        }
    }
}

//! `InsertHeader`: a header whose value is a literal.

use super::Transform;
use super::field_plan::{Text, add_header};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, Header, Side, parse_literal};

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required("header", ConfigType::String, Importance::High, "The name of the header."),
        ConfigKey::required(
            "value.literal",
            ConfigType::String,
            Importance::High,
            "The literal value that is to be set as the header value on all records.",
        ),
    ],
};

pub(super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let text = |key| Text::new(config.string(key).unwrap_or_default());
    Ok(Box::new(InsertHeader { header: text("header"), literal: text("value.literal") }))
}

struct InsertHeader {
    header: Text,
    literal: Text,
}

impl Transform for InsertHeader {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.header.begin();
        self.literal.begin();
        let key = self.header.span(batch);
        let literal = self.literal.span(batch);
        let (schema, value) = parse_literal(batch, literal);
        for row in rows {
            add_header(batch, *row as usize, Header { key, schema, value, raw: None });
        }
    }
}

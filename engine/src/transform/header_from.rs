//! `HeaderFrom`: fields moved or copied to headers.

use super::Transform;
use super::field_plan::{
    Copies, MapBuilder, Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, Text, add_header,
    each_row, field_value, map_get, null_error, null_pointer, operand, schema_of,
};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, Header, Range32, RecordError, SchemaRef, Side, Value};

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(
            "fields",
            ConfigType::List,
            Importance::High,
            "Field names in the record whose values are to be copied or moved to headers.",
        )
        .valid(Validator::NonEmptyList),
        ConfigKey::required(
            "headers",
            ConfigType::List,
            Importance::High,
            "Header names, in the same order as the field names.",
        )
        .valid(Validator::NonEmptyList),
        ConfigKey::required(
            "operation",
            ConfigType::String,
            Importance::High,
            "move: the fields leave the key or value; copy: they stay.",
        )
        .valid(Validator::OneOf(&["move", "copy"])),
        REPLACE_NULL_KEY,
    ],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let (fields, headers) = (config.list("fields"), config.list("headers"));
    if fields.len() != headers.len() {
        let message = "'fields' config must have the same number of elements as 'headers' config.";
        return Err(ConfigError::new("fields", message));
    }
    let moves = config.string("operation") == Some("move");
    Ok(Box::new(HeaderFrom {
        side,
        settings: Settings {
            fields: fields.into_iter().map(str::to_owned).collect(),
            moves,
            replace_null: config.boolean(REPLACE_NULL),
        },
        headers: headers.into_iter().map(Text::new).collect(),
        purpose: if moves { "header move" } else { "header copy" },
        plans: PlanCache::default(),
        map: MapBuilder::default(),
    }))
}

struct Settings {
    fields: Vec<String>,
    moves: bool,
    replace_null: bool,
}

/// Where a header's value lies, and its schema.
struct HeaderField {
    at: usize,
    target: Target,
}

struct Plan {
    /// `None` for a field that is not there.
    headers: Vec<Option<HeaderField>>,
    /// The struct without what has moved.
    rest: Option<(Target, Copies)>,
}

struct HeaderFrom {
    side: Side,
    settings: Settings,
    headers: Vec<Text>,
    purpose: &'static str,
    plans: PlanCache<Plan>,
    map: MapBuilder,
}

fn compile(settings: &Settings, schema: &SchemaRef) -> Plan {
    let header = |name: &String| {
        let (at, field) = schema.field(name)?;
        Some(HeaderField { at, target: Target::new(SchemaRef::clone(&field.schema)) })
    };
    let rest = settings.moves.then(|| {
        let stays = |at: &usize| !settings.fields.iter().any(|name| **name == *schema.fields[*at].name);
        let places: Vec<usize> = (0..schema.fields.len()).filter(stays).collect();
        let mut builder = schema.like();
        for at in &places {
            let field = &schema.fields[*at];
            builder = builder.field(&*field.name, SchemaRef::clone(&field.schema));
        }
        (Target::new(builder.build()), Copies::new(schema, places, settings.replace_null))
    });
    Plan { headers: settings.fields.iter().map(header).collect(), rest }
}

impl HeaderFrom {
    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: u32,
        range: Range32,
    ) -> Result<(), RecordError> {
        let settings = &self.settings;
        let plan = self.plans.get(schema_of(batch, id), |schema| compile(settings, schema));
        let rest = match &mut plan.rest {
            Some((target, copies)) => Some((target.id(batch), Value::Struct(copies.run(batch, range)?))),
            None => None,
        };
        for (header, name) in plan.headers.iter_mut().zip(&mut self.headers) {
            let header = header.as_mut().ok_or_else(|| {
                null_pointer("Cannot invoke \"org.apache.kafka.connect.data.Field.schema()\" because the field is not there")
            })?;
            let value = batch.items(range).get(header.at).copied().unwrap_or_default();
            let value = field_value(batch, &header.target.schema, value, settings.replace_null);
            let schema = header.target.id(batch);
            let key = name.span(batch);
            add_header(batch, index, Header { key, schema, value, raw: None });
        }
        if let Some((schema, value)) = rest {
            batch.records[index].set_side(self.side, schema, value);
        }
        Ok(())
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, range: Range32) {
        for (field, name) in self.settings.fields.iter().zip(&mut self.headers) {
            let value = map_get(batch, range, field);
            let key = name.span(batch);
            add_header(batch, index, Header { key, schema: 0, value, raw: None });
        }
        if self.settings.moves {
            self.map.copy(batch, range);
            for field in &self.settings.fields {
                self.map.remove(batch, field);
            }
            let map = self.map.finish(batch);
            batch.records[index].set_side(self.side, 0, map);
        }
    }
}

impl Transform for HeaderFrom {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.headers.iter_mut().for_each(Text::begin);
        each_row(batch, rows, |batch, index| match operand(batch, index, self.side, self.purpose)? {
            Operand::Null => {
                let schema = batch.records[index].side(self.side).0;
                Err(null_error(schema, self.purpose))
            }
            Operand::Map(range) => {
                self.without_schema(batch, index, range);
                Ok(())
            }
            Operand::Struct(id, range) => self.with_schema(batch, index, id, range),
        });
    }
}

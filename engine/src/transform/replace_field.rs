//! `ReplaceField`: fields left out or renamed.

use super::field_plan::{
    Copies, MapBuilder, Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, check_fields, each_row,
    operand, schema_of,
};
use super::{Transform, java_hash};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, Range32, RecordError, SchemaRef, Side, Value};

const PURPOSE: &str = "field replacement";

/// A key that is a list.
const fn list(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::List, "", Importance::Medium, doc)
}

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        list("exclude", "Fields to exclude. This takes precedence over the fields to include.")
            .valid(Validator::Names { empty: true }),
        list("include", "Fields to include. If specified, only these fields are used.")
            .valid(Validator::Names { empty: true }),
        list("renames", "Field rename mappings: old:new, ..."),
        REPLACE_NULL_KEY,
    ],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(ReplaceField::new(config, side)?))
}

struct Settings {
    exclude: Vec<String>,
    include: Vec<String>,
    renames: Vec<(String, String)>,
    replace_null: bool,
}

impl Settings {
    fn keeps(&self, name: &str) -> bool {
        !self.exclude.iter().any(|excluded| excluded == name)
            && (self.include.is_empty() || self.include.iter().any(|included| included == name))
    }

    /// The new name of a field that gets one.
    fn new_name(&self, name: &str) -> Option<&str> {
        self.renames.iter().rev().find(|(from, _)| from == name).map(|(_, to)| to.as_str())
    }

    /// The old name of a new one. Where two fields got the same one, Java's map keeps one of them.
    fn old<'a>(&'a self, name: &'a str) -> &'a str {
        self.renames.iter().rev().find(|(_, to)| to == name).map_or(name, |(from, _)| from)
    }

    fn compile(&self, schema: &SchemaRef) -> Result<Plan, RecordError> {
        let mut builder = schema.like();
        for field in schema.fields.iter().filter(|field| self.keeps(&field.name)) {
            builder = builder
                .field(self.new_name(&field.name).unwrap_or(&field.name), SchemaRef::clone(&field.schema));
        }
        let target = builder.build();
        check_fields(&target)?;
        let mut places = Vec::with_capacity(target.fields.len());
        for field in &target.fields {
            let old = self.old(&field.name);
            let missing = || super::data_error(format!("{old} is not a valid field name"));
            places.push(schema.field(old).ok_or_else(missing)?.0);
        }
        Ok(Plan { target: Target::new(target), copies: Copies::new(schema, places, self.replace_null) })
    }
}

struct Plan {
    target: Target,
    copies: Copies,
}

struct ReplaceField {
    side: Side,
    settings: Settings,
    plans: PlanCache<Result<Plan, RecordError>>,
    map: MapBuilder,
    order: Vec<u32>,
}

impl ReplaceField {
    fn new(config: &ParsedConfig, side: Side) -> Result<Self, ConfigError> {
        let mut renames = Vec::new();
        for rename in config.set("renames") {
            // String.split drops empty parts at the end.
            let parts: Vec<&str> = rename.trim_end_matches(':').split(':').collect();
            match parts[..] {
                [from, to] => renames.push((from.to_owned(), to.to_owned())),
                _ => {
                    let list = config.list("renames").join(", ");
                    let why = format!("Invalid rename mapping: {rename}");
                    return Err(ConfigError::invalid("renames", format!("[{list}]"), why));
                }
            }
        }
        let names = |key| config.set(key).into_iter().map(str::to_owned).collect();
        let settings = Settings {
            exclude: names("exclude"),
            include: names("include"),
            renames,
            replace_null: config.boolean(REPLACE_NULL),
        };
        Ok(Self {
            side,
            settings,
            plans: PlanCache::default(),
            map: MapBuilder::default(),
            order: Vec::new(),
        })
    }

    fn one(&mut self, batch: &mut Batch, index: usize) -> Result<(), RecordError> {
        match operand(batch, index, self.side, PURPOSE)? {
            Operand::Null => Ok(()),
            Operand::Map(range) => {
                self.without_schema(batch, index, range);
                Ok(())
            }
            Operand::Struct(id, range) => self.with_schema(batch, index, id, range),
        }
    }

    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: u32,
        range: Range32,
    ) -> Result<(), RecordError> {
        let settings = &self.settings;
        let plan = self.plans.get(schema_of(batch, id), |schema| settings.compile(schema));
        let plan = plan.as_mut().map_err(|error| error.clone())?;
        let range = plan.copies.take(batch, range)?;
        let schema = plan.target.id(batch);
        batch.records[index].set_side(self.side, schema, Value::Struct(range));
        Ok(())
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, range: Range32) {
        self.map.clear();
        self.order.clear();
        self.order.extend(0..range.len);
        if !self.settings.renames.is_empty() {
            // Where two fields get one name, the later one in Java's hash table wins.
            java_hash::sort(batch, range, &mut self.order);
        }
        for at in &self.order {
            let entry = batch.items(Range32 { start: range.start + at * 2, len: 2 });
            let &[key, value] = entry else { break };
            let Value::String(span) = key else {
                self.map.put_key(batch, key, value);
                continue;
            };
            let name = batch.str(span);
            if !self.settings.keeps(name) {
                continue;
            }
            let key = match self.settings.new_name(name) {
                Some(new) => batch.put_str(new),
                None => span,
            };
            self.map.put_key(batch, Value::String(key), value);
        }
        let map = self.map.finish(batch);
        batch.records[index].set_side(self.side, 0, map);
    }
}

impl Transform for ReplaceField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| self.one(batch, index));
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }
}

/// Leaves out fields of one record, as a transform with this `exclude` does.
pub(super) fn exclude(batch: &mut Batch, index: usize, side: Side, names: &str) -> Result<(), RecordError> {
    let config = [("exclude".to_owned(), names.to_owned())].into_iter().collect();
    let bad =
        |error: ConfigError| RecordError { java_class: error.java_class, ..super::data_error(error.message) };
    let mut replace = ReplaceField::new(&DEF.parse(&config).map_err(bad)?, side).map_err(bad)?;
    replace.one(batch, index)
}

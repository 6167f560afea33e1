//! What a record asks of its table: which row operation, and which fields become which columns.

use std::sync::Arc;

use aqueduct_engine::data::{Batch, Constant, Record, Schema, SchemaId, SchemaRef, Type, Value};

use super::config::{Flavour, KeyMode, Quoting, Settings};
use super::debezium;

/// Where a column's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Topic,
    Partition,
    Offset,
    /// The key itself.
    Key,
    KeyField(usize),
    /// The value itself.
    Value,
    ValueField(usize),
}

/// A column that a record asks for.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// The column's name.
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) schema: SchemaRef,
    pub(super) key: bool,
    /// Whether a value of INT64 or STRING is a timestamp.
    pub(super) is_timestamp: bool,
}

impl Field {
    /// What stands for null.
    pub(super) fn default(&self) -> Option<&Constant> {
        self.schema.default.as_ref().filter(|default| **default != Constant::Null)
    }
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Write,
    Delete,
    /// Of the whole table.
    Truncate,
}

/// A record as its table sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) action: Action,
    /// Schema of the row; 0 for none.
    pub(super) schema: RowSchema,
    /// Its fields, or the text.
    pub(super) value: Value,
}

/// The schema of a row: the value's own, or that of a field of it (Debezium's envelope).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowSchema {
    None,
    Value(SchemaId),
    Field(SchemaId, usize),
}

impl RowSchema {
    /// The schema itself.
    pub(super) fn get(self, batch: &Batch) -> Option<&SchemaRef> {
        match self {
            RowSchema::None => None,
            RowSchema::Value(id) => batch.schema_ref(id),
            RowSchema::Field(id, field) => Some(&batch.schema(id)?.fields.get(field)?.schema),
        }
    }
}

/// What a record wants; `None`: nothing at all. The text says what is wrong and the remedy.
pub(super) fn row(settings: &Settings, batch: &Batch, record: &Record) -> Result<Option<Row>, String> {
    if settings.flavour == Flavour::Debezium
        && let Some(row) = debezium::enveloped(settings, batch, record)?
    {
        return Ok(row);
    }
    if record.value.is_null() {
        return match settings.flavour {
            _ if settings.delete_enabled => {
                Ok(Some(Row { action: Action::Delete, schema: RowSchema::None, value: Value::Null }))
            }
            Flavour::Debezium => Ok(None),
            Flavour::Confluent => Err(
                "it has no value: set delete.enabled=true with pk.mode=record_key to delete the row of its key, or drop such records by the TombstoneHandler transform"
                    .to_owned(),
            ),
        };
    }
    match (batch.schema(record.value_schema).map(|schema| schema.kind), record.value) {
        (Some(Type::Struct), Value::Struct(_)) | (Some(Type::String), Value::String(_)) => {
            let schema = RowSchema::Value(record.value_schema);
            Ok(Some(Row { action: Action::Write, schema, value: record.value }))
        }
        (schema, value) => Err(format!(
            "its value is a {} {}; a struct with a schema is needed: set value.converter to one that has schemas (JsonConverter with schemas.enable=true, AvroConverter)",
            value.java_class(),
            schema.map_or("without schema".to_owned(), |kind| format!("of schema {}", kind.name())),
        )),
    }
}

fn primitive(kind: Type) -> SchemaRef {
    Arc::clone(Schema::primitive(kind, false))
}

/// The columns for records of these schemas, those of the key first.
pub(super) fn fields(
    settings: &Settings,
    topic: &str,
    key_schema: Option<&SchemaRef>,
    row_schema: Option<&SchemaRef>,
) -> Result<Vec<Field>, String> {
    let mut fields = match settings.key_mode {
        KeyMode::None => Vec::new(),
        KeyMode::Kafka => kafka_fields(settings),
        KeyMode::RecordKey => record_key_fields(settings, key_schema)?,
        KeyMode::RecordValue => Vec::new(),
    };
    // the key's fields belong to it whatever they are called in the value
    let in_key: Vec<Arc<str>> = match (settings.key_mode, key_schema) {
        (KeyMode::RecordKey, Some(schema)) if schema.kind == Type::Struct => schema
            .fields
            .iter()
            .map(|field| Arc::clone(&field.name))
            .filter(|name| takes_key(settings, name))
            .collect(),
        (KeyMode::RecordKey, _) => settings.key_fields.iter().map(|name| name.as_str().into()).collect(),
        _ => Vec::new(),
    };
    match row_schema {
        Some(schema) if schema.kind == Type::Struct => {
            value_fields(settings, topic, schema, &in_key, &mut fields)?;
        }
        Some(schema) => {
            let name = settings.text_column.clone();
            fields.push(Field {
                name,
                source: Source::Value,
                schema: Arc::clone(schema),
                key: false,
                is_timestamp: false,
            });
        }
        None => {}
    }
    if fields.is_empty() {
        return Err("no field of it becomes a column: check fields.whitelist and pk.fields".to_owned());
    }
    for field in &mut fields {
        field.name = column_name(settings, &field.name);
    }
    if let Some(twice) = fields.iter().enumerate().find_map(|(at, field)| {
        fields[..at].iter().any(|other| other.name == field.name).then_some(&field.name)
    }) {
        return Err(format!("two of its fields would be column {twice:?}"));
    }
    Ok(fields)
}

/// The name of a field's column.
pub(super) fn column_name(settings: &Settings, name: &str) -> String {
    let name = settings.column_names.apply(name);
    if settings.quoting == Quoting::Never { name.to_lowercase() } else { name }
}

fn takes_key(settings: &Settings, name: &str) -> bool {
    settings.key_fields.is_empty() || settings.key_fields.iter().any(|wanted| wanted == name)
}

fn kafka_fields(settings: &Settings) -> Vec<Field> {
    let names = ["__connect_topic", "__connect_partition", "__connect_offset"];
    let sources =
        [(Source::Topic, Type::String), (Source::Partition, Type::Int32), (Source::Offset, Type::Int64)];
    let names = (0..3).map(|at| settings.key_fields.get(at).map_or(names[at], String::as_str));
    names
        .zip(sources)
        .map(|(name, (source, kind))| Field {
            name: name.to_owned(),
            source,
            schema: primitive(kind),
            key: true,
            is_timestamp: false,
        })
        .collect()
}

fn record_key_fields(settings: &Settings, key_schema: Option<&SchemaRef>) -> Result<Vec<Field>, String> {
    let no_key = || {
        "it has no key with a schema, which pk.mode=record_key needs: set key.converter to one that has schemas, or take another pk.mode"
            .to_owned()
    };
    let schema = key_schema.ok_or_else(no_key)?;
    match schema.kind {
        Type::Struct => {
            for wanted in &settings.key_fields {
                if schema.field(wanted).is_none() {
                    return Err(format!("its key has no field {wanted:?}, which pk.fields names"));
                }
            }
            let all = schema.fields.iter().enumerate();
            Ok(all
                .filter(|(_, field)| takes_key(settings, &field.name))
                .map(|(at, field)| Field {
                    name: field.name.to_string(),
                    source: Source::KeyField(at),
                    schema: Arc::clone(&field.schema),
                    key: true,
                    is_timestamp: false,
                })
                .collect())
        }
        Type::Array | Type::Map => {
            Err(format!("its key is a {}; a struct or a primitive is needed", schema.kind.name()))
        }
        _ => match settings.key_fields.as_slice() {
            [name] => Ok(vec![Field {
                name: name.clone(),
                source: Source::Key,
                // a key column is never null
                schema: Arc::clone(schema),
                key: true,
                is_timestamp: false,
            }]),
            _ => {
                Err("its key is primitive: pk.fields has to give exactly one name for its column".to_owned())
            }
        },
    }
}

fn value_fields(
    settings: &Settings,
    topic: &str,
    schema: &SchemaRef,
    in_key: &[Arc<str>],
    fields: &mut Vec<Field>,
) -> Result<(), String> {
    let from_value = settings.key_mode == KeyMode::RecordValue;
    if from_value {
        for wanted in &settings.key_fields {
            if schema.field(wanted).is_none() {
                return Err(format!("its value has no field {wanted:?}, which pk.fields names"));
            }
        }
    }
    let mut others = Vec::new();
    for (at, field) in schema.fields.iter().enumerate() {
        let key = from_value && takes_key(settings, &field.name);
        if in_key.contains(&field.name) || (!key && !settings.fields.takes(topic, &field.name)) {
            continue;
        }
        let listed = settings.timestamp_fields.iter().any(|listed| **listed == *field.name);
        let made = Field {
            name: field.name.to_string(),
            source: Source::ValueField(at),
            schema: Arc::clone(&field.schema),
            key,
            is_timestamp: listed && matches!(field.schema.kind, Type::Int64 | Type::String),
        };
        if key { fields.push(made) } else { others.push(made) }
    }
    fields.append(&mut others);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_engine::connector::ConfigMap;
    use aqueduct_engine::data::SchemaBuilder;

    fn settings(given: &[(&str, &str)]) -> Settings {
        let base = [("connection.url", "jdbc:postgresql://h/d"), ("connection.user", "u")];
        let config: ConfigMap =
            base.iter().chain(given).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        super::super::confluent::settings(&config).unwrap()
    }

    fn structure(names: &[&str]) -> SchemaRef {
        names
            .iter()
            .fold(SchemaBuilder::structure(), |builder, name| builder.field(*name, Schema::string()))
            .build()
    }

    fn names(
        given: &[(&str, &str)],
        key: Option<&SchemaRef>,
        row: Option<&SchemaRef>,
    ) -> Result<String, String> {
        let found = fields(&settings(given), "t", key, row)?;
        let name = |field: &Field| format!("{}{}", if field.key { "*" } else { "" }, field.name);
        Ok(found.iter().map(name).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_key_mode() {
        let (key, row) = (structure(&["id", "x"]), structure(&["a", "id", "b"]));
        let (key, row) = (Some(&key), Some(&row));
        let text = Schema::string();
        assert_eq!(names(&[], key, row).unwrap(), "a id b");
        assert_eq!(
            names(&[("pk.mode", "kafka")], key, row).unwrap(),
            "*__connect_topic *__connect_partition *__connect_offset a id b"
        );
        assert_eq!(names(&[("pk.mode", "record_key")], key, row).unwrap(), "*id *x a b");
        let one = ("pk.fields", "id");
        assert_eq!(names(&[("pk.mode", "record_key"), one], key, row).unwrap(), "*id a b");
        assert_eq!(names(&[("pk.mode", "record_key"), one], Some(&text), row).unwrap(), "*id a b");
        assert_eq!(names(&[("pk.mode", "record_value"), one], None, row).unwrap(), "*id a b");
        assert_eq!(names(&[("pk.mode", "record_value")], None, row).unwrap(), "*a *id *b");
        let list = ("fields.whitelist", "b");
        assert_eq!(names(&[("pk.mode", "record_key"), one, list], key, row).unwrap(), "*id b");
        assert_eq!(names(&[], None, Some(&text)).unwrap(), "record_value");
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let row = structure(&["a"]);
        let text = Schema::string();
        for (given, key, expected) in [
            (vec![("pk.mode", "record_key")], None, "no key with a schema"),
            (vec![("pk.mode", "record_key")], Some(&text), "exactly one name"),
            (vec![("pk.mode", "record_key"), ("pk.fields", "id")], Some(&row), "no field \"id\""),
            (vec![("pk.mode", "record_value"), ("pk.fields", "id")], None, "no field \"id\""),
            (vec![("fields.whitelist", "other")], None, "no field of it becomes a column"),
        ] {
            let error = names(&given, key, Some(&row)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}

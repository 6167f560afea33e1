//! A table's plan: topic, schemas of key and envelope, and where each field comes from. Made once per version of the table.

use std::sync::{Arc, LazyLock};

use aqueduct_engine::data::{Constant, Schema, SchemaBuilder, SchemaRef, Type};

use super::catalog::Structure;
use super::config::Settings;
use super::types::{ColumnInfo, ColumnPlan};

/// The plan.
#[derive(Debug)]
pub(super) struct TablePlan {
    pub(super) schema: Arc<str>,
    pub(super) table: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) envelope: SchemaRef,
    pub(super) fields: Vec<ColumnPlan>,
    /// For each column as the server sends them: its field, if it has one.
    pub(super) columns: Vec<Option<usize>>,
    pub(super) key: Option<KeyPlan>,
}

/// The key: which fields of the row.
#[derive(Debug)]
pub(super) struct KeyPlan {
    pub(super) schema: SchemaRef,
    pub(super) fields: Vec<usize>,
}

fn optional(kind: Type) -> SchemaRef {
    SchemaBuilder::new(kind).optional().build()
}

fn required(kind: Type) -> SchemaRef {
    SchemaBuilder::new(kind).build()
}

/// `io.debezium.connector.postgresql.Source`.
pub(super) static SOURCE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let snapshot = SchemaBuilder::new(Type::String)
        .optional()
        .name("io.debezium.data.Enum")
        .version(1)
        .parameter(
            "allowed",
            "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental",
        )
        .default_value(Some(Constant::String("false".into())))
        .build();
    SchemaBuilder::structure()
        .name("io.debezium.connector.postgresql.Source")
        .version(1)
        .field("version", Schema::string())
        .field("connector", Schema::string())
        .field("name", Schema::string())
        .field("ts_ms", required(Type::Int64))
        .field("snapshot", snapshot)
        .field("db", Schema::string())
        .field("sequence", Schema::optional_string())
        .field("ts_us", optional(Type::Int64))
        .field("ts_ns", optional(Type::Int64))
        .field("schema", Schema::string())
        .field("table", Schema::string())
        .field("txId", optional(Type::Int64))
        .field("lsn", optional(Type::Int64))
        .field("xmin", optional(Type::Int64))
        .field("origin", Schema::optional_string())
        .field("origin_lsn", optional(Type::Int64))
        .build()
});

/// `event.block`: an event's place in its transaction.
pub(super) static TRANSACTION: LazyLock<SchemaRef> = LazyLock::new(|| {
    SchemaBuilder::structure()
        .optional()
        .name("event.block")
        .version(1)
        .field("id", Schema::string())
        .field("total_order", required(Type::Int64))
        .field("data_collection_order", required(Type::Int64))
        .build()
});

impl TablePlan {
    /// The plan of a table whose columns come in this order; `structure` says what the catalogue knows of them.
    pub(super) fn new(
        settings: &Settings,
        schema: &str,
        table: &str,
        columns: &[ColumnInfo],
        key: &[String],
    ) -> TablePlan {
        let (filters, naming) = (&settings.filters, &settings.naming);
        let named_key = filters.key_columns(schema, table);
        let key_columns = named_key.unwrap_or(key);
        let mut fields: Vec<ColumnPlan> = Vec::new();
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            let wanted = filters.column(schema, table, &column.name) || key_columns.contains(&column.name);
            let mask = filters.mask(schema, table, &column.name);
            let plan = wanted.then(|| ColumnPlan::new(column, &settings.types, mask)).flatten();
            if wanted && plan.is_none() {
                tracing::warn!(
                    table = format!("{schema}.{table}"),
                    column = column.name,
                    data_type = &*column.data_type.name,
                    "the column's type is not known: the column is left out (include.unknown.datatypes=true has it as bytes)"
                );
            }
            places.push(plan.is_some().then_some(fields.len()));
            fields.extend(plan);
        }
        let mut row = SchemaBuilder::structure().name(&naming.schema_name(schema, table, "Value")).optional();
        for field in &fields {
            row = row.field(naming.field_name(&field.name), Arc::clone(&field.schema));
        }
        let row = row.build();
        let key = key_plan(settings, schema, table, key_columns, &fields);
        let envelope = SchemaBuilder::structure()
            .name(&naming.schema_name(schema, table, "Envelope"))
            .version(2)
            .field("before", Arc::clone(&row))
            .field("after", row)
            .field("source", Arc::clone(&SOURCE))
            .field("transaction", Arc::clone(&TRANSACTION))
            .field("op", Schema::string())
            .field("ts_ms", optional(Type::Int64))
            .field("ts_us", optional(Type::Int64))
            .field("ts_ns", optional(Type::Int64))
            .build();
        TablePlan {
            schema: Arc::from(schema),
            table: Arc::from(table),
            topic: Arc::from(naming.table_topic(schema, table)),
            envelope,
            fields,
            columns: places,
            key,
        }
    }

    /// The plan for reading a whole table, in the catalogue's order.
    pub(super) fn of_structure(
        settings: &Settings,
        schema: &str,
        table: &str,
        structure: &Structure,
    ) -> TablePlan {
        TablePlan::new(settings, schema, table, &structure.columns, &structure.key)
    }

    /// Names of the columns that have a field, in the server's order.
    pub(super) fn column_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| &*field.name)
    }
}

fn key_plan(
    settings: &Settings,
    schema: &str,
    table: &str,
    key: &[String],
    fields: &[ColumnPlan],
) -> Option<KeyPlan> {
    let mut builder = SchemaBuilder::structure().name(&settings.naming.schema_name(schema, table, "Key"));
    let mut places = Vec::with_capacity(key.len());
    for name in key {
        let Some(place) = fields.iter().position(|field| *field.name == **name) else {
            tracing::warn!(
                table = format!("{schema}.{table}"),
                column = name,
                "a column of the key is not captured or not there: it is left out of the key"
            );
            continue;
        };
        builder = builder.field(settings.naming.field_name(name), Arc::clone(&fields[place].schema));
        places.push(place);
    }
    (!places.is_empty()).then(|| KeyPlan { schema: builder.build(), fields: places })
}

//! Source partitions and offsets, member for member those of Confluent's connector.

use std::sync::Arc;

use aqueduct_engine::connector::OffsetMap;
use serde_json::Value;

use crate::jdbc::sink::TableId;

const INCREMENTING: &str = "incrementing";
const TIMESTAMP: &str = "timestamp";
const NANOS: &str = "timestamp_nanos";

/// How far a table has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Offset {
    /// Value of the incrementing column.
    pub(super) incrementing: Option<i64>,
    /// Microseconds since 1970.
    pub(super) timestamp: Option<i64>,
}

impl Offset {
    /// Reads a stored offset.
    pub(super) fn read(map: &OffsetMap) -> Offset {
        let number = |name: &str| map.get(name).and_then(Value::as_i64);
        let timestamp = number(TIMESTAMP).map(|millis| {
            // the nanoseconds are those of the second, the milliseconds among them
            let second = millis.div_euclid(1000);
            match number(NANOS) {
                Some(nanos) => second.saturating_mul(1_000_000).saturating_add(nanos / 1000),
                None => millis.saturating_mul(1000),
            }
        });
        Offset { incrementing: number(INCREMENTING), timestamp }
    }

    /// As it is stored.
    pub(super) fn write(&self) -> Arc<OffsetMap> {
        let mut map = OffsetMap::new();
        if let Some(number) = self.incrementing {
            map.insert(INCREMENTING.to_owned(), number.into());
        }
        if let Some(micros) = self.timestamp {
            map.insert(TIMESTAMP.to_owned(), micros.div_euclid(1000).into());
            map.insert(NANOS.to_owned(), (micros.rem_euclid(1_000_000) * 1000).into());
        }
        Arc::new(map)
    }
}

fn partition(members: &[(&str, &str)]) -> OffsetMap {
    members.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}

/// The partition of a table, as it is written since version 1 of the protocol.
pub(super) fn of_table(table: &TableId) -> OffsetMap {
    let name = match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    };
    partition(&[("protocol", "1"), ("table", &name)])
}

/// The same in version 0.
pub(super) fn of_table_before(table: &TableId) -> OffsetMap {
    partition(&[("table", &table.name)])
}

/// The partition of a query.
pub(super) fn of_query() -> OffsetMap {
    partition(&[("query", "query")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_jvm_stores_them() {
        let table = TableId { schema: Some("public".into()), name: "t".into() };
        assert_eq!(Value::Object(of_table(&table)).to_string(), r#"{"protocol":"1","table":"public.t"}"#);
        assert_eq!(Value::Object(of_table_before(&table)).to_string(), r#"{"table":"t"}"#);
        let offset = Offset { incrementing: Some(7), timestamp: Some(1_700_000_000_123_456) };
        let map = offset.write();
        assert_eq!(
            Value::Object((*map).clone()).to_string(),
            r#"{"incrementing":7,"timestamp":1700000000123,"timestamp_nanos":123456000}"#
        );
        assert_eq!(Offset::read(&map), offset);
        let initial = partition(&[]);
        assert_eq!(Offset::read(&initial), Offset::default());
        let only_millis: OffsetMap = serde_json::from_str(r#"{"timestamp":-1}"#).unwrap();
        assert_eq!(Offset::read(&only_millis).timestamp, Some(-1000));
        let before: OffsetMap =
            serde_json::from_str(r#"{"timestamp":-1,"timestamp_nanos":999000000}"#).unwrap();
        assert_eq!(Offset::read(&before).timestamp, Some(-1000));
    }
}

//! Offsets in the target database, in the transaction of the rows: every record is written exactly once.
//!
//! A transaction moves the offsets on only from where this task believes them to be. So a task that has lost its partitions
//! without knowing cannot write, and a commit whose answer was lost is recognized.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use aqueduct_engine::connector::TopicPartition;
use aqueduct_engine::data::{Batch, RecordState};

use super::table::TableId;
use crate::postgres::{PgError, Wire, quote_literal};

/// Where partitions go on.
#[derive(Debug)]
pub(super) struct Offsets {
    connector: String,
    table: TableId,
    created: bool,
    /// As the database had them last; none is stored for a partition with `None`.
    stored: HashMap<TopicPartition, Option<i64>>,
}

impl Offsets {
    pub(super) fn new(connector: &str, table: &str) -> Offsets {
        Offsets {
            connector: connector.to_owned(),
            table: TableId::parse(table),
            created: false,
            stored: HashMap::new(),
        }
    }

    /// What is known may be out of date.
    pub(super) fn forget(&mut self) {
        self.stored.clear();
    }

    /// What is known was wrong: the offsets were moved by somebody else, or their table is gone.
    pub(super) fn start_over(&mut self) {
        self.stored.clear();
        self.created = false;
    }

    /// The first offset of a partition that is not stored yet; 0 if there is none.
    pub(super) fn next(&self, partition: &TopicPartition) -> i64 {
        self.stored.get(partition).copied().flatten().unwrap_or(0)
    }

    /// Reads what is stored for partitions that nothing is known of.
    pub(super) async fn load(
        &mut self,
        wire: &mut Wire,
        partitions: impl Iterator<Item = TopicPartition>,
    ) -> Result<(), PgError> {
        let unknown: Vec<TopicPartition> =
            partitions.filter(|partition| !self.stored.contains_key(partition)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let table = self.table.quoted();
        if !self.created {
            let create = format!(
                "CREATE TABLE IF NOT EXISTS {table} (connector text NOT NULL, topic text NOT NULL, partition integer NOT NULL, \
                 next_offset bigint NOT NULL, updated timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (connector, topic, partition))"
            );
            match wire.query(&create).await {
                Ok(_) => {}
                // two tasks at once: one of them has made it; or it is there and no right to create is needed
                Err(PgError::Server(error)) if error.is_class("23") || error.is_class("42") => {
                    tracing::debug!("{create}: {error}");
                }
                Err(error) => return Err(error),
            }
            self.created = true;
        }
        let connector = quote_literal(&self.connector);
        let rows = wire
            .query(&format!(
                "SELECT topic, partition, next_offset FROM {table} WHERE connector = {connector}"
            ))
            .await?;
        for partition in unknown {
            let number = partition.partition.to_string();
            let row = rows.iter().find(|row| {
                matches!(row.as_slice(), [Some(topic), Some(at), _] if **topic == *partition.topic && *at == number)
            });
            let next = row.and_then(|row| row[2].as_deref()?.parse().ok());
            self.stored.insert(partition, next);
        }
        Ok(())
    }

    /// Statements that move the offsets on behind all records of the batches; they fail if somebody else has moved them.
    pub(super) fn statements(&self, batches: &[Arc<Batch>]) -> Vec<String> {
        let (mut moved, mut new) = (Vec::new(), Vec::new());
        for (partition, next) in ends(batches) {
            match self.stored.get(&partition).copied().flatten() {
                Some(stored) if stored >= next => {}
                Some(stored) => moved.push((partition, stored, next)),
                None => new.push((partition, next)),
            }
        }
        let (table, connector) = (self.table.quoted(), quote_literal(&self.connector));
        let mut statements = Vec::new();
        if !moved.is_empty() {
            let mut values = String::new();
            for (partition, stored, next) in &moved {
                let comma = if values.is_empty() { "" } else { ", " };
                let topic = quote_literal(&partition.topic);
                let _ = write!(
                    values,
                    "{comma}({topic}, {}, {stored}::bigint, {next}::bigint)",
                    partition.partition
                );
            }
            // a division by zero ends the transaction unless all of them were where they should be
            statements.push(format!(
                "WITH moved AS (UPDATE {table} AS o SET next_offset = v.next, updated = now() FROM (VALUES {values}) AS v(topic, partition, stored, next) \
                 WHERE o.connector = {connector} AND o.topic = v.topic AND o.partition = v.partition AND o.next_offset = v.stored RETURNING 1) \
                 SELECT 1 / (count(*) = {})::int FROM moved",
                moved.len()
            ));
        }
        if !new.is_empty() {
            let values: Vec<String> = new
                .iter()
                .map(|(partition, next)| {
                    format!(
                        "({connector}, {}, {}, {next})",
                        quote_literal(&partition.topic),
                        partition.partition
                    )
                })
                .collect();
            statements.push(format!(
                "INSERT INTO {table} (connector, topic, partition, next_offset) VALUES {}",
                values.join(", ")
            ));
        }
        statements
    }

    /// The transaction of the batches is committed.
    pub(super) fn committed(&mut self, batches: &[Arc<Batch>]) {
        for (partition, next) in ends(batches) {
            let stored = self.stored.entry(partition).or_default();
            *stored = Some(stored.unwrap_or(0).max(next));
        }
    }
}

/// Partitions of batches.
pub(super) fn partitions(batches: &[Arc<Batch>]) -> impl Iterator<Item = TopicPartition> + '_ {
    ends(batches).into_iter().map(|(partition, _)| partition)
}

/// Where each partition goes on after the batches. Records that were dropped on their way here do not count: they may be of
/// partitions that were taken away.
fn ends(batches: &[Arc<Batch>]) -> Vec<(TopicPartition, i64)> {
    let mut all: Vec<(TopicPartition, i64)> = Vec::new();
    for (partition, next) in batches.iter().flat_map(|batch| ends_of(batch)) {
        match all.iter_mut().find(|(known, _)| *known == partition) {
            Some((_, last)) => *last = (*last).max(next),
            None => all.push((partition, next)),
        }
    }
    all
}

fn ends_of(batch: &Batch) -> Vec<(TopicPartition, i64)> {
    let mut ends: Vec<(u32, i32, i64)> = Vec::new();
    for record in batch.records.iter().filter(|record| record.state != RecordState::Dropped) {
        let origin = record.origin;
        match ends
            .iter_mut()
            .rev()
            .find(|(topic, partition, _)| *topic == origin.topic && *partition == origin.partition)
        {
            Some((_, _, next)) => *next = (*next).max(origin.offset + 1),
            None => ends.push((origin.topic, origin.partition, origin.offset + 1)),
        }
    }
    let named = |(topic, partition, next)| (TopicPartition::new(batch.topic(topic), partition), next);
    ends.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_engine::data::{Origin, Record};

    #[test]
    fn offsets_move_from_where_they_are() {
        let mut batch = Batch::default();
        let topic = batch.intern_topic("it's");
        for (partition, offset) in [(0, 7), (1, 3), (0, 9)] {
            batch.records.push(Record { origin: Origin { topic, partition, offset }, ..Record::default() });
        }
        let batch = [Arc::new(batch)];
        let mut offsets = Offsets::new("c", "s.offsets");
        let part = |partition| TopicPartition::new("it's", partition);
        offsets.stored.insert(part(0), Some(5));
        offsets.stored.insert(part(1), None);
        let statements = offsets.statements(&batch);
        assert_eq!(statements.len(), 2);
        assert!(statements[0].contains("('it''s', 0, 5::bigint, 10::bigint)"), "{}", statements[0]);
        assert!(statements[1].contains("('c', 'it''s', 1, 4)"), "{}", statements[1]);
        offsets.committed(&batch);
        assert_eq!((offsets.next(&part(0)), offsets.next(&part(1)), offsets.next(&part(2))), (10, 4, 0));
        assert!(offsets.statements(&batch).is_empty(), "nothing to move");
    }
}

//! A connection with the statements that it knows, and runs of rows as units of a flight.

use std::collections::HashMap;
use std::sync::Arc;

use aqueduct_engine::data::{Batch, Record, Value};

use super::fields::Action;
use super::group::{Placed, Run};
use super::plan::{Plan, Unfit};
use crate::postgres::{Flight, Outcome, PgError, ServerError, Wire};

/// The mark behind the last row of a binary COPY, and what comes before the first.
const COPY_END: [u8; 2] = [0xFF, 0xFF];
const COPY_START: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A row that cannot be encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnfitRow {
    pub(super) row: Placed,
    pub(super) unfit: Unfit,
}

/// The connection of a task.
pub(super) struct Session {
    pub(super) wire: Wire,
    flight: Flight,
    /// Names of prepared statements by their plan's number.
    prepared: HashMap<usize, String>,
    /// Those that the flight under way prepares.
    preparing: Vec<(usize, String)>,
    names: usize,
}

impl Session {
    pub(super) fn new(wire: Wire) -> Session {
        Session { wire, flight: Flight::default(), prepared: HashMap::new(), preparing: Vec::new(), names: 0 }
    }

    /// Begins a new flight.
    pub(super) fn begin(&mut self) {
        self.flight.clear();
        self.preparing.clear();
    }

    /// A statement without parameters.
    pub(super) fn query(&mut self, sql: &str) {
        self.flight.query(sql);
    }

    /// Units of the flight so far.
    pub(super) const fn units(&self) -> usize {
        self.flight.units()
    }

    /// Bytes of the flight so far.
    pub(super) const fn len(&self) -> usize {
        self.flight.len()
    }

    /// Rows of a run, by COPY or in statements of `most` rows.
    pub(super) fn run(
        &mut self,
        batches: &[Arc<Batch>],
        run: &Run,
        most: usize,
        copy: bool,
    ) -> Result<(), UnfitRow> {
        if run.plan.action == Action::Truncate {
            self.flight.query(&run.plan.sql);
            return Ok(());
        }
        match &run.plan.copy {
            Some(sql) if copy => self.copy(batches, &run.plan, sql, &run.rows),
            _ => run.rows.chunks(most).try_for_each(|rows| self.rows(batches, &run.plan, rows)),
        }
    }

    fn copy(
        &mut self,
        batches: &[Arc<Batch>],
        plan: &Plan,
        sql: &str,
        rows: &[Placed],
    ) -> Result<(), UnfitRow> {
        let mut failed = Ok(());
        self.flight.copy_in(sql, |copy| {
            copy.part(|out| out.extend_from_slice(COPY_START));
            for row in rows {
                let Some((batch, record)) = row.find(batches) else { continue };
                if let Err(unfit) = copy.part(|out| plan.put_row(batch, record, row.value, out)) {
                    failed = Err(UnfitRow { row: *row, unfit });
                    break;
                }
            }
            copy.part(|out| out.extend_from_slice(&COPY_END));
        });
        failed
    }

    /// One statement with an array per column.
    pub(super) fn rows(
        &mut self,
        batches: &[Arc<Batch>],
        plan: &Plan,
        rows: &[Placed],
    ) -> Result<(), UnfitRow> {
        let known = self.prepared.get(&plan.number).cloned();
        let pending = || self.preparing.iter().find(|(number, _)| *number == plan.number);
        let name = match known.or_else(|| pending().map(|(_, name)| name.clone())) {
            Some(name) => name,
            None => {
                self.names += 1;
                let name = format!("s{}", self.names);
                self.flight.prepare(&name, &plan.sql, &plan.types);
                self.preparing.push((plan.number, name.clone()));
                name
            }
        };
        let mut failed = Ok(());
        let place = |row: &Placed| row.find(batches).map(|(batch, record)| (batch, record, row.value));
        let places: Vec<(&Batch, &Record, Value)> = rows.iter().filter_map(place).collect();
        self.flight.execute(&name, plan.columns.len(), |out| {
            for column in 0..plan.columns.len() {
                if let Err((place, unfit)) = plan.put_array(column, &places, out) {
                    failed = Err(UnfitRow { row: rows[place], unfit });
                    return;
                }
            }
        });
        failed
    }

    /// Sends the flight; what its statements are called is remembered if all of it went well.
    pub(super) async fn fly(&mut self) -> Result<Vec<Result<Outcome, ServerError>>, PgError> {
        let outcomes = self.wire.fly(&self.flight).await?;
        if outcomes.iter().all(Result::is_ok) {
            self.prepared.extend(self.preparing.drain(..));
        }
        Ok(outcomes)
    }

    /// Statements may be of tables that have changed.
    pub(super) async fn forget_statements(&mut self) -> Result<(), PgError> {
        self.prepared.clear();
        self.wire.query("DEALLOCATE ALL").await.map(drop)
    }
}

//! What a statement gives, without running it.

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::Message;

use super::flight::Flight;
use super::wire::Wire;
use super::{PgError, ServerError};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResultColumn {
    /// The column's label.
    pub(crate) name: String,
    /// Its type, beneath domains.
    pub(crate) type_id: u32,
    /// Its type's modifier, -1 for none.
    pub(crate) modifier: i32,
    /// The table that it is of, 0 if it is of none.
    pub(crate) table: u32,
    /// Its number in that table.
    pub(crate) number: i16,
}

impl Wire {
    /// The columns that a statement gives.
    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Vec<ResultColumn>, PgError> {
        let mut flight = Flight::default();
        flight.describe(sql);
        self.write(flight.bytes()).await?;
        let mut columns = Vec::new();
        let mut failed: Option<ServerError> = None;
        loop {
            match self.message().await {
                Ok(Message::RowDescription(body)) => {
                    let column = |field: postgres_protocol::message::backend::Field<'_>| {
                        Ok(ResultColumn {
                            name: field.name().to_owned(),
                            type_id: field.type_oid(),
                            modifier: field.type_modifier(),
                            table: field.table_oid(),
                            number: field.column_id(),
                        })
                    };
                    columns = body
                        .fields()
                        .map(column)
                        .collect()
                        .map_err(|error| PgError::Protocol(error.to_string()))?;
                }
                Ok(Message::ReadyForQuery(_)) => {
                    return failed.map_or(Ok(columns), |error| Err(PgError::Server(error)));
                }
                Ok(_) => {}
                Err(PgError::Server(error)) if !error.ends_the_connection() => {
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

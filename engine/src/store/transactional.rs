//! A producer with a `transactional.id`: what it writes is there as a whole or not at all, and whoever claims the id later
//! shuts it out (KIP-98).

use aqueduct_protocol::client::Properties;
use aqueduct_protocol::client::producer::Producer;
use aqueduct_protocol::{Error, ErrorKind};

use super::kafka_log;

/// A record to write: a value of none is a tombstone.
pub(crate) type KeyValue = (Vec<u8>, Option<Vec<u8>>);

/// `transaction.timeout.ms` of a producer that only shuts others out.
const FENCING_TIMEOUT: &str = "1";

/// The producer, after it has claimed its id.
pub(crate) struct TransactionalWriter {
    producer: Producer,
}

impl TransactionalWriter {
    /// Claims the id: older producers of it are fenced off, their open transaction is aborted.
    pub(crate) async fn claim(client: &Properties, id: &str) -> Result<TransactionalWriter, Error> {
        let mut properties = client.clone();
        for (key, value) in
            [("transactional.id", id), ("acks", "all"), ("enable.idempotence", "true"), ("linger.ms", "0")]
        {
            properties.insert(key.to_owned(), value.to_owned());
        }
        let producer = Producer::new(&properties).await?;
        producer.init_transactions().await?;
        Ok(TransactionalWriter { producer })
    }

    /// Writes the records in one transaction. After an error nothing of them is ever seen, unless it is the end of the
    /// transaction that was not answered; the id has to be claimed again.
    pub(crate) async fn write(&self, topic: &str, records: &[KeyValue]) -> Result<(), Error> {
        let handle = self.producer.topic(topic).await?;
        self.producer.begin_transaction()?;
        let appended = kafka_log::append(&self.producer, &handle, records).await;
        match appended {
            Ok(_) => self.producer.commit_transaction().await,
            Err(error) => {
                if let Err(abort) = self.producer.abort_transaction().await {
                    tracing::debug!(topic, "the transaction is left to the coordinator: {abort}");
                }
                Err(error)
            }
        }
    }
}

/// Shuts out every producer that has one of these ids now.
pub(crate) async fn fence(client: &Properties, ids: impl Iterator<Item = String>) -> Result<(), Error> {
    for id in ids {
        let mut properties = client.clone();
        properties.insert("transactional.id".to_owned(), id.clone());
        properties.insert("transaction.timeout.ms".to_owned(), FENCING_TIMEOUT.to_owned());
        let producer = Producer::new(&properties).await?;
        producer.init_transactions().await.map_err(|error| {
            let message = format!("transactional.id {id}: its former producer cannot be fenced off");
            Error::new(ErrorKind::State, message).with_source(error)
        })?;
    }
    Ok(())
}

//! Producers of transactions, as an administrator stops them.

use kafka_protocol::messages::{InitProducerIdRequest, ProducerId, TransactionalId};

use super::Admin;
use crate::Result;
use crate::client::messages::{check, text};
use crate::client::{CoordinatorKind, NodeTarget};

const INIT_PRODUCER_ID: std::ops::RangeInclusive<i16> = 0..=5;
/// Nobody is going to use the transaction: as the JVM's, the shortest there is.
const TRANSACTION_TIMEOUT_MS: i32 = 1;

impl Admin {
    /// Ends the producers with these transactional ids: their open transactions are aborted, and whoever still has an id
    /// is refused from then on. Gives producer id and epoch of each, in their order.
    ///
    /// # Errors
    /// The first id that could not be fenced; those before it in the list are fenced then.
    pub async fn fence_producers(&self, ids: &[&str]) -> Result<Vec<(i64, i16)>> {
        let mut fenced = Vec::with_capacity(ids.len());
        for id in ids {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(text(id))))
                .with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            let (client, request) = (&self.client, &request);
            let ask = |node: i32| async move {
                let (target, request) = (NodeTarget::Id(node), request.clone());
                let answer = client.send_versioned(target, request, INIT_PRODUCER_ID, None).await?;
                check(answer.error_code, || format!("fencing the producer {id}"))?;
                Ok((answer.producer_id.0, answer.producer_epoch))
            };
            fenced.push(self.ask_coordinator(CoordinatorKind::Transaction, id, ask).await?);
        }
        Ok(fenced)
    }
}

//! Offsets by time, of many partitions at once: one request per leader, all at the same time.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::messages::{check, topic_name};
use super::{Client, NodeTarget};
use crate::wire::TopicPartition;
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Version 10 has a time limit for tiered storage that is of no use here.
const LIST_OFFSETS: std::ops::RangeInclusive<i16> = 4..=9;
/// The time of the first record.
pub(super) const EARLIEST: i64 = -2;
/// The time behind the last record.
pub(super) const LATEST: i64 = -1;

/// What a leader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// -1 if there is no such record.
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    /// -1 if not known.
    pub(super) epoch: i32,
}

type Wanted = (TopicPartition, i64);

/// One attempt; the outcomes are in the order of `wanted`.
pub(super) async fn list_once(
    client: &Client,
    read_committed: bool,
    wanted: &[Wanted],
) -> Result<Vec<Result<Listed>>> {
    let mut topics: Vec<&str> = wanted.iter().map(|(name, _)| &*name.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    let metadata = client.topic_metadata(&topics).await?;
    let mut found: Vec<Option<Result<Listed>>> = wanted.iter().map(|_| None).collect();
    let mut leaders: HashMap<i32, Vec<(usize, Wanted, i32)>> = HashMap::new();
    for (index, (name, timestamp)) in wanted.iter().enumerate() {
        match metadata.partition(&name.topic, name.partition).filter(|found| found.leader >= 0) {
            Some(of) => leaders.entry(of.leader).or_default().push((
                index,
                (name.clone(), *timestamp),
                of.leader_epoch,
            )),
            None => {
                let code = metadata.topics.get(&name.topic).and_then(|topic| topic.error);
                let code = code.unwrap_or(ErrorCode::LeaderNotAvailable);
                found[index] = Some(Err(Error::broker(code, format_args!("the offset of {name}"))));
            }
        }
    }
    let mut requests = JoinSet::new();
    for (leader, asked) in leaders {
        let client = client.clone();
        requests.spawn(async move {
            let answer = ask(&client, leader, read_committed, &asked).await;
            (asked, answer)
        });
    }
    while let Some(done) = requests.join_next().await {
        let Ok((asked, answer)) = done else { continue };
        let by_name = answer.map(by_name);
        for (index, (name, _), _) in asked {
            found[index] = Some(match &by_name {
                Ok(answers) => answers.get(&name).cloned().unwrap_or_else(|| missing(&name)),
                Err(error) => Err(error.clone()),
            });
        }
    }
    let outcomes: Vec<_> = found
        .into_iter()
        .zip(wanted)
        .map(|(found, (name, _))| found.unwrap_or_else(|| missing(name)))
        .collect();
    if outcomes.iter().any(|outcome| outcome.as_ref().is_err_and(Error::is_retriable)) {
        client.request_metadata_update();
    }
    Ok(outcomes)
}

fn missing(name: &TopicPartition) -> Result<Listed> {
    Err(Error::new(ErrorKind::Protocol, format!("the broker gave no offset of {name}")))
}

fn by_name(answer: ListOffsetsResponse) -> HashMap<TopicPartition, Result<Listed>> {
    let mut found = HashMap::new();
    for topic in answer.topics {
        let name: std::sync::Arc<str> = topic.name.as_str().into();
        for of in topic.partitions {
            let partition = TopicPartition::new(std::sync::Arc::clone(&name), of.partition_index);
            let outcome = check(of.error_code, || format!("the offset of {partition}"));
            let listed = Listed { offset: of.offset, timestamp: of.timestamp, epoch: of.leader_epoch };
            found.insert(partition, outcome.map(|()| listed));
        }
    }
    found
}

async fn ask(
    client: &Client,
    leader: i32,
    read_committed: bool,
    asked: &[(usize, Wanted, i32)],
) -> Result<ListOffsetsResponse> {
    let mut topics: HashMap<&str, Vec<ListOffsetsPartition>> = HashMap::new();
    for (_, (name, timestamp), epoch) in asked {
        let entry = ListOffsetsPartition::default()
            .with_partition_index(name.partition)
            .with_current_leader_epoch(*epoch)
            .with_timestamp(*timestamp);
        topics.entry(&name.topic).or_default().push(entry);
    }
    let topic = |(name, partitions): (&str, _)| {
        ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
    };
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(i8::from(read_committed))
        .with_topics(topics.into_iter().map(topic).collect());
    client.send_versioned(NodeTarget::Id(leader), request, LIST_OFFSETS, None).await
}

/// The same, with what may pass repeated until `default.api.timeout.ms` is over.
pub(super) async fn list(client: &Client, read_committed: bool, wanted: &[Wanted]) -> Result<Vec<Listed>> {
    let deadline = Instant::now() + client.config().api_timeout;
    let (mut wait, most) = client.config().retry_backoff;
    let mut found: Vec<Option<Listed>> = vec![None; wanted.len()];
    loop {
        let open: Vec<usize> = (0..wanted.len()).filter(|index| found[*index].is_none()).collect();
        let ask: Vec<Wanted> = open.iter().map(|index| wanted[*index].clone()).collect();
        let mut failed = None;
        for (index, outcome) in open.into_iter().zip(list_once(client, read_committed, &ask).await?) {
            match outcome {
                Ok(listed) => found[index] = Some(listed),
                Err(error) if error.is_retriable() => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        let Some(error) = failed else { return Ok(found.into_iter().flatten().collect()) };
        if Instant::now() + wait > deadline {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(most);
    }
}

/// The time `ago` before now, as records have it.
pub(super) fn timestamp_before_now(ago: Duration) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.saturating_sub(ago).as_millis()).unwrap_or(0)
}

//! ConsumerGroupHeartbeat, ConsumerGroupDescribe.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment as DescribedAssignment, DescribedGroup, Member as DescribedMember,
    TopicPartitions as Described,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, GroupId, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Kind;
use super::assignor::{NAMES, Partitions};
use super::consumer::{Beat, ConsumerGroup, ConsumerMember, JOIN_EPOCH, TopicView, compile};
use crate::dispatch::Context;
use crate::state::{Refusal, text};

/// INVALID_REGULAR_EXPRESSION, newer than the crate's list of errors.
const INVALID_REGEX: i16 = 128;

/// Member type of the new protocol in ConsumerGroupDescribe.
const CONSUMER_MEMBER: i8 = 1;

/// First version of ConsumerGroupDescribe with a member type.
const MEMBER_TYPES: i16 = 1;

/// ConsumerGroupHeartbeat.
pub(crate) fn heartbeat(
    c: &Context<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let config = &c.shared.config;
    let interval = i32::try_from(config.consumer_heartbeat_interval.as_millis()).unwrap_or(i32::MAX);
    let group_id = request.group_id.clone();
    let member_id = request.member_id.clone();
    let outcome = read_beat(c, request).and_then(|beat| {
        let view = topic_view(c);
        c.shared.groups.with_new(&group_id, |group| {
            let Some(consumer) = group.consumer() else {
                let reason = format!("Group {} is not a consumer group.", group_id.as_str());
                return Err(Refusal::new(ResponseError::GroupIdNotFound, reason));
            };
            let timeout = config.consumer_session_timeout;
            consumer.beat(beat, &view, timeout, Instant::now()).map_err(|error| {
                let reason = format!("Member {member_id} of group {}: {error}", group_id.as_str());
                Refusal::new(error, reason)
            })
        })
    });
    match outcome {
        Ok(reply) => ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(reply.member_id))
            .with_member_epoch(reply.epoch)
            .with_heartbeat_interval_ms(interval)
            .with_assignment(reply.assignment.map(assignment)),
        Err(refusal) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(refusal.code)
            .with_error_message(Some(text(&refusal.reason))),
    }
}

fn assignment(partitions: Partitions) -> Assignment {
    let one = |(id, partitions): (Uuid, std::collections::BTreeSet<i32>)| {
        TopicPartitions::default().with_topic_id(id).with_partitions(partitions.into_iter().collect())
    };
    Assignment::default().with_topic_partitions(partitions.into_iter().map(one).collect())
}

fn read_beat(c: &Context<'_>, request: ConsumerGroupHeartbeatRequest) -> Result<Beat, Refusal> {
    let invalid = |reason: &str| Refusal::new(ResponseError::InvalidRequest, reason);
    if request.group_id.is_empty() {
        return Err(Refusal::new(ResponseError::InvalidGroupId, "GroupId can't be empty."));
    }
    let joining = request.member_epoch == JOIN_EPOCH;
    let mut member_id = request.member_id;
    if member_id.is_empty() {
        if !joining || c.version > 0 {
            return Err(invalid("MemberId can't be empty."));
        }
        member_id = StrBytes::from_string(Uuid::new_v4().to_string());
    }
    let subscribes = request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    if joining && !subscribes {
        return Err(invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ));
    }
    if let Some(regex) = &request.subscribed_topic_regex
        && let Err(error) = compile(regex)
    {
        return Err(Refusal {
            code: INVALID_REGEX,
            reason: format!("SubscribedTopicRegex '{regex}': {error}"),
        });
    }
    let assignor = request.server_assignor.map(|a| a.to_string());
    if let Some(assignor) = assignor.as_ref().filter(|a| !NAMES.contains(&a.as_str())) {
        let reason =
            format!("ServerAssignor {assignor} is not supported. Supported assignors: {}.", NAMES.join(", "));
        return Err(Refusal::new(ResponseError::UnsupportedAssignor, reason));
    }
    let owned = request.topic_partitions.map(|owned| {
        owned
            .into_iter()
            .map(|t| (t.topic_id, t.partitions.into_iter().collect()))
            .collect::<BTreeMap<_, _>>()
    });
    Ok(Beat {
        member_id,
        epoch: request.member_epoch,
        instance: request.instance_id,
        rack: request.rack_id,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        names: request.subscribed_topic_names.map(|names| names.iter().map(|n| n.to_string()).collect()),
        regex: request.subscribed_topic_regex,
        assignor,
        owned,
        client_id: c.client_id.clone(),
        host: format!("/{}", c.peer.addr.ip()),
    })
}

fn topic_view(c: &Context<'_>) -> TopicView {
    let topics = c.shared.topics.read().all();
    topics.iter().map(|t| (t.name.to_string(), (t.id, t.partition_count()))).collect()
}

/// ConsumerGroupDescribe.
pub(crate) fn describe(
    c: &Context<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let names: BTreeMap<Uuid, StrBytes> =
        c.shared.topics.read().all().iter().map(|t| (t.id, t.name.clone())).collect();
    let one = |id: GroupId| {
        let found = c.shared.groups.with(&id, |group| match &group.kind {
            Kind::Consumer(consumer) => Some(describe_group(consumer, &names, c.version)),
            Kind::Classic(_) => None,
        });
        let described = found.flatten().unwrap_or_else(|| {
            let reason = format!("Group {} is not a consumer group.", id.as_str());
            DescribedGroup::default()
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(StrBytes::from_string(reason)))
        });
        described.with_group_id(id)
    };
    ConsumerGroupDescribeResponse::default().with_groups(request.group_ids.into_iter().map(one).collect())
}

fn describe_group(group: &ConsumerGroup, names: &BTreeMap<Uuid, StrBytes>, version: i16) -> DescribedGroup {
    let member = |(id, m): (&StrBytes, &ConsumerMember)| {
        DescribedMember::default()
            .with_member_id(id.clone())
            .with_instance_id(m.instance.clone())
            .with_rack_id(m.rack.clone())
            .with_member_epoch(m.epoch)
            .with_client_id(m.client_id.clone())
            .with_client_host(text(&m.host))
            .with_subscribed_topic_names(m.names.iter().map(|n| TopicName(text(n))).collect())
            .with_subscribed_topic_regex(m.regex.clone())
            .with_assignment(described(&m.assigned, names))
            .with_target_assignment(described(&m.target, names))
            .with_member_type(if version >= MEMBER_TYPES { CONSUMER_MEMBER } else { -1 })
    };
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(group.state_name()))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(&group.assignor))
        .with_members(group.members.iter().map(member).collect())
}

fn described(partitions: &Partitions, names: &BTreeMap<Uuid, StrBytes>) -> DescribedAssignment {
    let one = |(id, partitions): (&Uuid, &std::collections::BTreeSet<i32>)| {
        Described::default()
            .with_topic_id(*id)
            .with_topic_name(TopicName(names.get(id).cloned().unwrap_or_default()))
            .with_partitions(partitions.iter().copied().collect())
    };
    DescribedAssignment::default().with_topic_partitions(partitions.iter().map(one).collect())
}

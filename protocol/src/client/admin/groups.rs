//! Groups of either protocol: listed, described, deleted.

use kafka_protocol::messages::consumer_group_describe_response::{self as modern, Assignment};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
};

use super::{Admin, unanswered};
use crate::client::messages::{check, check_said, group_id};
use crate::client::{CoordinatorKind, NodeTarget};
use crate::wire::TopicPartition;
use crate::wire::assignor::Assignment as ClassicAssignment;
use crate::{ErrorCode, ErrorKind, Result};

const LIST_GROUPS: std::ops::RangeInclusive<i16> = 0..=5;
const DESCRIBE_GROUPS: std::ops::RangeInclusive<i16> = 0..=6;
const CONSUMER_GROUP_DESCRIBE: std::ops::RangeInclusive<i16> = 0..=1;
const DELETE_GROUPS: std::ops::RangeInclusive<i16> = 0..=2;
/// Protocol type of groups whose members are consumers.
const CONSUMER: &str = "consumer";

/// A group as a coordinator lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct GroupListing {
    /// The group.
    pub group_id: String,
    /// `consumer`, `connect`, …; empty for a group that only has offsets.
    pub protocol_type: String,
    /// `Stable`, `Empty`, …; empty from brokers before 2.6.
    pub state: String,
    /// `Classic`, `Consumer`, …; empty from brokers before 3.8.
    pub group_type: String,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMemberDescription {
    /// The member's id.
    pub member_id: String,
    /// `group.instance.id`, of a static member.
    pub instance_id: Option<String>,
    /// Its `client.id`.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// What it has; nothing for members that are no consumers.
    pub assignment: Vec<TopicPartition>,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// The group.
    pub group_id: String,
    /// `Stable`, `Empty`, …
    pub state: String,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// Whether it is of the new protocol (KIP-848).
    pub is_modern: bool,
    /// The assignor, or the protocol that its members agreed on.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMemberDescription>,
}

impl Admin {
    /// Every group, from every broker.
    ///
    /// # Errors
    /// The first broker that does not answer.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let brokers = self.client.topics_now(&[]).await?.nodes;
        let mut groups = Vec::new();
        for broker in brokers.keys() {
            // a broker that metadata of others does not have yet is asked for by its address
            self.client.network.learn_node(brokers[broker].clone());
            let request = ListGroupsRequest::default();
            let answer =
                self.client.send_versioned(NodeTarget::Id(*broker), request, LIST_GROUPS, None).await?;
            check(answer.error_code, || format!("listing the groups of broker {broker}"))?;
            groups.extend(answer.groups.into_iter().map(|group| GroupListing {
                group_id: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                group_type: group.group_type.to_string(),
            }));
        }
        groups.sort();
        groups.dedup_by(|a, b| a.group_id == b.group_id);
        Ok(groups)
    }

    /// A group with its members, whichever protocol it has.
    ///
    /// # Errors
    /// [`ErrorCode::GroupIdNotFound`] if there is no such group, among others.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        match self.describe_modern(group).await {
            Err(error)
                if error.kind() == ErrorKind::UnsupportedVersion
                    || error.code() == Some(ErrorCode::GroupIdNotFound)
                    || error.code() == Some(ErrorCode::UnsupportedVersion) =>
            {
                self.describe_classic(group).await
            }
            described => described,
        }
    }

    async fn describe_modern(&self, group: &str) -> Result<GroupDescription> {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
        let (client, request) = (&self.client, &request);
        let what = || format!("describing group {group}");
        let ask = |node: i32| async move {
            let (target, request) = (NodeTarget::Id(node), request.clone());
            let answer = client.send_versioned(target, request, CONSUMER_GROUP_DESCRIBE, None).await?;
            let found =
                answer.groups.into_iter().next().ok_or_else(|| unanswered(format_args!("{}", what())))?;
            check_said(found.error_code, found.error_message.as_deref(), what)?;
            Ok(found)
        };
        let found = self.ask_coordinator(CoordinatorKind::Group, group, ask).await?;
        let member = |member: modern::Member| GroupMemberDescription {
            member_id: member.member_id.to_string(),
            instance_id: member.instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assignment: partitions(&member.assignment),
        };
        Ok(GroupDescription {
            group_id: group.to_owned(),
            state: found.group_state.to_string(),
            protocol_type: CONSUMER.to_owned(),
            is_modern: true,
            protocol: found.assignor_name.to_string(),
            members: found.members.into_iter().map(member).collect(),
        })
    }

    async fn describe_classic(&self, group: &str) -> Result<GroupDescription> {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let (client, request) = (&self.client, &request);
        let what = || format!("describing group {group}");
        let ask = |node: i32| async move {
            let (target, request) = (NodeTarget::Id(node), request.clone());
            let answer = client.send_versioned(target, request, DESCRIBE_GROUPS, None).await?;
            let found =
                answer.groups.into_iter().next().ok_or_else(|| unanswered(format_args!("{}", what())))?;
            check_said(found.error_code, found.error_message.as_deref(), what)?;
            Ok(found)
        };
        let found = self.ask_coordinator(CoordinatorKind::Group, group, ask).await?;
        // before version 6 a group that is not there is a dead one
        if found.group_state.as_str() == "Dead" {
            return Err(crate::Error::broker(ErrorCode::GroupIdNotFound, what()));
        }
        Ok(classic(group, found))
    }

    /// Deletes a group and its offsets; one that is not there is no error.
    ///
    /// # Errors
    /// If the group still has members, among others.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
        let (client, request) = (&self.client, &request);
        let what = || format!("deleting group {group}");
        let ask = |node: i32| async move {
            let (target, request) = (NodeTarget::Id(node), request.clone());
            let answer = client.send_versioned(target, request, DELETE_GROUPS, None).await?;
            let result = answer.results.first().ok_or_else(|| unanswered(format_args!("{}", what())))?;
            match ErrorCode::try_from_code(result.error_code) {
                Some(ErrorCode::GroupIdNotFound) => Ok(()),
                _ => check(result.error_code, what),
            }
        };
        self.ask_coordinator(CoordinatorKind::Group, group, ask).await
    }
}

fn classic(group: &str, found: DescribedGroup) -> GroupDescription {
    let are_consumers = found.protocol_type.as_str() == CONSUMER;
    let member = |member: DescribedGroupMember| {
        let assignment = are_consumers.then(|| ClassicAssignment::decode(member.member_assignment));
        GroupMemberDescription {
            member_id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            // an assignment that is none was made by another member: there is nothing to tell
            assignment: assignment.and_then(Result::ok).unwrap_or_default().partitions,
        }
    };
    GroupDescription {
        group_id: group.to_owned(),
        state: found.group_state.to_string(),
        protocol_type: found.protocol_type.to_string(),
        is_modern: false,
        protocol: found.protocol_data.to_string(),
        members: found.members.into_iter().map(member).collect(),
    }
}

fn partitions(of: &Assignment) -> Vec<TopicPartition> {
    let mut found = Vec::new();
    for topic in &of.topic_partitions {
        let name: std::sync::Arc<str> = topic.topic_name.as_str().into();
        let partitions = topic.partitions.iter();
        found.extend(
            partitions.map(|partition| TopicPartition::new(std::sync::Arc::clone(&name), *partition)),
        );
    }
    found
}

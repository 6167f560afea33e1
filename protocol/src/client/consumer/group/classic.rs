//! A consumer's membership by the classic protocol: what it offers, and what it does as the leader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::interest::Interest;
use super::{News, Subscription};
use crate::client::Client;
use crate::client::consumer::background::Slot;
use crate::client::consumer::offsets::Membership;
use crate::client::consumer::settings::Settings;
use crate::client::group::{Election, GroupConfig, GroupEvent, GroupMember, GroupProtocol};
use crate::wire::TopicPartition;
use crate::wire::assignor::{
    Assignment, Assignor, Member, NO_GENERATION, PartitionCounts, RebalanceProtocol, rebalance_protocol,
};
use crate::{Error, ErrorKind, Result};

const PROTOCOL_TYPE: &str = "consumer";
/// How often a leader asks for topics that do not exist yet.
const LOOK_FOR_MISSING: Duration = Duration::from_millis(500);

/// What a leader has worked out.
struct Plan {
    generation: i32,
    assignments: Vec<(String, Bytes)>,
    /// What it is based on.
    counts: PartitionCounts,
    /// Every topic that a member wants, also those that do not exist.
    topics: Vec<Arc<str>>,
}

/// Where a leader's assignment came from: it is made anew when this changes.
struct Basis {
    counts: PartitionCounts,
    topics: Vec<Arc<str>>,
    metadata_version: u64,
    missing_at: Instant,
}

pub(super) struct Classic {
    client: Client,
    settings: Arc<Settings>,
    member: GroupMember,
    interest: Interest,
    /// The topics that were told when joining; none before.
    offered: Option<Vec<Arc<str>>>,
    electing: Slot<Plan>,
    leads: Option<Basis>,
    /// What the last generation gave, and which it was.
    previous: Vec<TopicPartition>,
    generation: i32,
}

impl Classic {
    pub(super) fn new(client: Client, settings: Arc<Settings>, subscription: Subscription) -> Result<Self> {
        check(&subscription)?;
        let mut config = GroupConfig::new(settings.group()?.as_str(), PROTOCOL_TYPE);
        config.instance_id = settings.instance.as_ref().map(|id| id.to_string());
        config.session_timeout = settings.session_timeout;
        config.heartbeat_interval = settings.heartbeat_interval;
        config.rebalance_timeout = settings.max_poll_interval;
        config.idle_limit = Some(settings.max_poll_interval);
        let member = GroupMember::start(client.clone(), config)?;
        let interest = Interest::new(client.clone(), subscription, settings.exclude_internal);
        Ok(Self {
            client,
            settings,
            member,
            interest,
            offered: None,
            electing: Slot::default(),
            leads: None,
            previous: Vec::new(),
            generation: NO_GENERATION,
        })
    }

    pub(super) fn subscribe(&mut self, subscription: Subscription) -> Result<()> {
        check(&subscription)?;
        self.interest = Interest::new(self.client.clone(), subscription, self.settings.exclude_internal);
        Ok(())
    }

    pub(super) fn membership(&self) -> Membership {
        let identity = self.member.identity();
        Membership {
            member: StrBytes::from_string(identity.member_id),
            generation: identity.generation,
            by_epoch: false,
        }
    }

    pub(super) fn is_cooperative(&self) -> bool {
        rebalance_protocol(&self.settings.assignors) == RebalanceProtocol::Cooperative
    }

    /// Topics whose metadata a leader watches.
    pub(super) fn watched(&self) -> &[Arc<str>] {
        self.leads.as_ref().map_or(&[], |basis| &basis.topics)
    }

    /// What has happened since the last time, if anything.
    pub(super) fn news(&mut self) -> Result<Option<News>> {
        self.member.attend();
        if let Some(plan) = self.electing.take() {
            let plan = plan?;
            self.member.assign(plan.generation, plan.assignments);
            let metadata_version = self.client.metadata().version;
            let (counts, topics) = (plan.counts, plan.topics);
            self.leads = Some(Basis { counts, topics, metadata_version, missing_at: Instant::now() });
        }
        while let Some(event) = self.member.try_event() {
            match event {
                GroupEvent::Elected(election) => self.elect(election),
                GroupEvent::Joined(joined) => {
                    if !joined.is_leader() {
                        self.leads = None;
                    }
                    tracing::info!(group = self.group(), generation = joined.generation, "joined the group");
                    let assignment = self.read_assignment(joined.assignment)?;
                    self.previous.clone_from(&assignment);
                    self.generation = joined.generation;
                    return Ok(Some(News::Assigned(assignment)));
                }
                GroupEvent::Rebalance { .. } => return Ok(Some(News::Rejoin)),
                GroupEvent::Lost { reason, .. } => {
                    tracing::warn!(
                        group = self.group(),
                        "this member is out of the group and joins again: {reason}"
                    );
                    (self.generation, self.leads) = (NO_GENERATION, None);
                    return Ok(Some(News::Lost));
                }
                GroupEvent::Unreachable { silent_for } => {
                    tracing::warn!(
                        group = self.group(),
                        "the coordinator has not answered a heartbeat for {} ms",
                        silent_for.as_millis()
                    );
                }
                GroupEvent::Failed(error) => {
                    (self.generation, self.leads) = (NO_GENERATION, None);
                    return Ok(Some(News::Failed(error)));
                }
            }
        }
        let offered = self.offered.as_deref();
        let wanted = self.interest.names()?;
        let differs = wanted.is_some() && wanted != offered;
        if differs || self.basis_has_changed() {
            return Ok(Some(News::Rejoin));
        }
        Ok(None)
    }

    fn group(&self) -> &str {
        self.settings.group.as_ref().map_or("", |id| id.as_str())
    }

    /// Whether topics or partitions have come or gone since this leader assigned them.
    fn basis_has_changed(&mut self) -> bool {
        let Some(basis) = &mut self.leads else { return false };
        let metadata = self.client.metadata();
        if metadata.version == basis.metadata_version {
            if basis.counts.len() < basis.topics.len() && basis.missing_at <= Instant::now() {
                basis.missing_at = Instant::now() + LOOK_FOR_MISSING;
                self.client.request_metadata_update();
            }
            return false;
        }
        basis.metadata_version = metadata.version;
        let counts = partition_counts(&metadata, &basis.topics);
        if counts == basis.counts {
            return false;
        }
        // this generation's basis is out of date, and said so once
        self.leads = None;
        true
    }

    /// Joins, or joins again, telling what is kept.
    pub(super) fn join(&mut self, owned: &[TopicPartition]) {
        self.electing.clear();
        let topics = match self.interest.names() {
            Ok(Some(names)) => names.to_vec(),
            _ => self.offered.clone().unwrap_or_default(),
        };
        let rack = Some(self.client.config().client_rack.as_str()).filter(|rack| !rack.is_empty());
        let offer = |assignor: &Assignor| {
            let subscription = assignor.subscription(&topics, owned, &self.previous, self.generation, rack);
            GroupProtocol::new(assignor.name(), subscription.encode())
        };
        self.member.join(self.settings.assignors.iter().map(offer).collect());
        self.offered = Some(topics);
    }

    pub(super) async fn leave(&mut self, reason: &'static str) {
        self.electing.clear();
        self.member.leave(reason).await;
        (self.offered, self.leads, self.generation) = (None, None, NO_GENERATION);
    }

    /// Waits until [`Self::news`] may have something.
    pub(super) async fn changed(&mut self) {
        let (electing, interest) = (&mut self.electing, &mut self.interest);
        let work = std::future::poll_fn(|context| {
            let electing = electing.poll_done(context);
            match electing | interest.poll_done(context) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        });
        tokio::select! {
            () = self.member.ready() => {}
            () = work => {}
        }
    }

    fn read_assignment(&self, assignment: Bytes) -> Result<Vec<TopicPartition>> {
        if assignment.is_empty() {
            return Ok(Vec::new());
        }
        let assignment = Assignment::decode(assignment).map_err(|error| {
            Error::new(ErrorKind::Protocol, format!("group {}: the assignment is malformed", self.group()))
                .with_source(error)
        })?;
        Ok(assignment.partitions)
    }

    fn elect(&mut self, election: Election) {
        let (client, group) = (self.client.clone(), self.group().to_owned());
        self.electing.start(async move { plan(&client, &group, election).await });
    }
}

/// A pattern for the broker is of no use here.
fn check(subscription: &Subscription) -> Result<()> {
    let Subscription::ServerPattern(pattern) = subscription else { return Ok(()) };
    let message =
        format!("the pattern {pattern} is for the broker: set group.protocol=consumer, or match topics here");
    Err(Error::new(ErrorKind::Config, message))
}

/// Computes everybody's assignment. Cost: O(members + partitions), for most assignors times a logarithm.
async fn plan(client: &Client, group: &str, election: Election) -> Result<Plan> {
    let Some(assignor) = Assignor::from_name(&election.protocol) else {
        let message = format!(
            "group {group} has chosen the assignor {}, which is none of partition.assignment.strategy",
            election.protocol
        );
        return Err(Error::new(ErrorKind::Protocol, message));
    };
    let mut members = Vec::with_capacity(election.members.len());
    for member in election.members.iter() {
        let decoded =
            Member::decode(&member.member_id, member.instance_id.as_deref(), member.metadata.clone());
        members.push(decoded.map_err(|error| {
            let message = format!("group {group}: the subscription of {} is malformed", member.member_id);
            Error::new(ErrorKind::Protocol, message).with_source(error)
        })?);
    }
    let mut topics: Vec<Arc<str>> =
        members.iter().flat_map(|member| member.subscription.topics.iter().cloned()).collect();
    topics.sort_unstable();
    topics.dedup();
    let names: Vec<&str> = topics.iter().map(|name| &**name).collect();
    let metadata = client.topic_metadata(&names).await?;
    let counts = partition_counts(&metadata, &topics);
    let assigned = assignor.assign(&counts, &members);
    let entry = |(member, partitions): (String, Vec<TopicPartition>)| {
        (member, Assignment { partitions, user_data: None }.encode())
    };
    let assignments = assigned.into_iter().map(entry).collect();
    Ok(Plan { generation: election.generation, assignments, counts, topics })
}

fn partition_counts(metadata: &crate::client::Metadata, topics: &[Arc<str>]) -> PartitionCounts {
    let known = topics.iter().filter_map(|name| metadata.topic(name));
    known.map(|topic| (Arc::clone(&topic.name), topic.partitions.len() as i32)).collect()
}

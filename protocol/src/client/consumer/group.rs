//! Membership in a group by the classic protocol.
//!
//! Joining and syncing happen inside a poll; a task of its own sends heartbeats and tells what the coordinator says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::fetcher::Fetcher;
use super::offsets::{self, Committer, Membership, check};
use super::settings::Settings;
use super::{RebalanceListener, Subscription};
use crate::client::{Client, CoordinatorKind, NodeTarget};
use crate::wire::TopicPartition;
use crate::wire::assignor::{
    Assignment, Assignor, Member, NO_GENERATION, PartitionCounts, RebalanceProtocol,
};
use crate::{Error, ErrorCode, ErrorKind, Result};

const PROTOCOL_TYPE: &str = "consumer";
/// Time that a JoinGroup may take beyond the rebalance timeout.
const JOIN_GRACE: Duration = Duration::from_secs(5);
/// How often a subscription by pattern looks at all topics.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(30);

/// What heartbeats have learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// All is well.
    None,
    /// The group rebalances: join again, with what we own.
    Rebalance,
    /// We are not a member any more: what we owned is lost.
    Lost,
}

pub(super) struct Group {
    client: Client,
    settings: Arc<Settings>,
    subscription: Subscription,
    id: StrBytes,
    membership: Membership,
    joined: bool,
    /// Topics and partition counts of the subscription when we last joined.
    topics: PartitionCounts,
    previous: Vec<TopicPartition>,
    looked_at: Option<Instant>,
    metadata_version: u64,
    heartbeat: Option<Heartbeat>,
    retry_at: Option<Instant>,
}

/// The heartbeat task; it ends with this.
struct Heartbeat {
    news: watch::Receiver<News>,
    polled: Arc<Mutex<Instant>>,
    task: AbortHandle,
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Group {
    pub(super) fn new(client: Client, settings: Arc<Settings>, subscription: Subscription) -> Result<Self> {
        let id = settings.group()?.clone();
        Ok(Self {
            client,
            settings,
            subscription,
            id,
            membership: Membership::default(),
            joined: false,
            topics: PartitionCounts::new(),
            previous: Vec::new(),
            looked_at: None,
            metadata_version: 0,
            heartbeat: None,
            retry_at: None,
        })
    }

    pub(super) fn membership(&self) -> Membership {
        self.membership.clone()
    }

    /// Resolves when the coordinator has told something.
    pub(super) async fn changed(&mut self) {
        match &mut self.heartbeat {
            Some(heartbeat) => {
                if *heartbeat.news.borrow() == News::None && heartbeat.news.changed().await.is_ok() {
                    return;
                }
                std::future::pending().await
            }
            None => match self.retry_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            },
        }
    }

    /// Joins if that is due, and brings the fetcher's partitions in line.
    pub(super) async fn maintain(
        &mut self,
        fetcher: &mut Fetcher,
        listener: &mut dyn RebalanceListener,
    ) -> Result<()> {
        if let Some(heartbeat) = &self.heartbeat {
            *heartbeat.polled.lock() = Instant::now();
            let news = *heartbeat.news.borrow();
            match news {
                News::None => {}
                News::Rebalance => self.joined = false,
                News::Lost => self.lose(fetcher, listener).await?,
            }
        }
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        if self.look_at_topics().await? {
            self.joined = false;
        }
        while !self.joined {
            match self.rejoin(fetcher, listener).await {
                Ok(()) => self.retry_at = None,
                Err(error) => return self.join_failed(error, fetcher, listener).await,
            }
        }
        Ok(())
    }

    /// Decides whether an error of joining passes.
    async fn join_failed(
        &mut self,
        error: Error,
        fetcher: &mut Fetcher,
        listener: &mut dyn RebalanceListener,
    ) -> Result<()> {
        match error.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.lose(fetcher, listener).await?
            }
            Some(ErrorCode::RebalanceInProgress | ErrorCode::MemberIdRequired) => {}
            _ if error.is_retriable() => {
                tracing::debug!("joining group {} is repeated: {error}", self.id);
                self.client.forget_coordinator(CoordinatorKind::Group, &self.id);
            }
            _ => return Err(error),
        }
        self.retry_at = Some(Instant::now() + self.client.config().retry_backoff.0);
        Ok(())
    }

    /// We are out: everything is somebody else's.
    async fn lose(&mut self, fetcher: &mut Fetcher, listener: &mut dyn RebalanceListener) -> Result<()> {
        self.heartbeat = None;
        self.joined = false;
        self.membership = Membership::default();
        let owned = fetcher.partitions();
        fetcher.remove(&owned);
        if !owned.is_empty() {
            tracing::warn!("group {}: this member was put out of the group; it joins again", self.id);
            listener.lost(&owned).await?;
        }
        Ok(())
    }

    /// Whether the topics of the subscription, or their partitions, have changed.
    async fn look_at_topics(&mut self) -> Result<bool> {
        let metadata = match &self.subscription {
            Subscription::Topics(topics) => {
                let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
                self.client.topic_metadata(&names).await
            }
            Subscription::Matching(_) => {
                let due = self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_FOR_TOPICS);
                let looked = if due { self.client.all_topics().await } else { Ok(self.client.metadata()) };
                if due {
                    self.looked_at = Some(Instant::now());
                }
                looked
            }
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) if error.is_retriable() => {
                tracing::debug!("no metadata for group {}: {error}", self.id);
                self.retry_at = Some(Instant::now() + self.client.config().retry_backoff.0);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if metadata.version == self.metadata_version {
            return Ok(false);
        }
        self.metadata_version = metadata.version;
        let known = |name: &str| {
            metadata.topic(name).map(|topic| (Arc::clone(&topic.name), topic.partitions.len() as i32))
        };
        let topics: PartitionCounts = match &self.subscription {
            Subscription::Topics(topics) => topics.iter().filter_map(|topic| known(topic)).collect(),
            Subscription::Matching(fits) => metadata
                .topics
                .values()
                .filter(|topic| !topic.is_internal && fits(&topic.name))
                .filter_map(|topic| known(&topic.name))
                .collect(),
        };
        let changed = topics != self.topics;
        self.topics = topics;
        Ok(changed)
    }

    fn is_cooperative(&self) -> bool {
        self.settings
            .assignors
            .iter()
            .all(|assignor| assignor.rebalance_protocol() == RebalanceProtocol::Cooperative)
    }

    /// One round: give back what has to be given back, join, sync, take over.
    async fn rejoin(&mut self, fetcher: &mut Fetcher, listener: &mut dyn RebalanceListener) -> Result<()> {
        let owned = fetcher.partitions();
        if !self.is_cooperative() && !owned.is_empty() {
            self.revoke(&owned, fetcher, listener).await?;
        }
        let coordinator = self.client.coordinator(CoordinatorKind::Group, &self.id).await?;
        let joined = self.join(coordinator, &fetcher.partitions()).await?;
        self.membership = Membership { member: joined.member_id.clone(), generation: joined.generation_id };
        let assigned = self.sync(coordinator, &joined).await?;
        self.heartbeat = Some(self.start_heartbeat());
        tracing::info!(group = %self.id, generation = joined.generation_id, partitions = assigned.len(), "joined the group");
        let owned = fetcher.partitions();
        let gone: Vec<TopicPartition> =
            owned.iter().filter(|partition| !assigned.contains(partition)).cloned().collect();
        if !gone.is_empty() {
            self.revoke(&gone, fetcher, listener).await?;
        }
        let added: Vec<TopicPartition> =
            assigned.iter().filter(|partition| !owned.contains(partition)).cloned().collect();
        self.previous = assigned;
        let committed = offsets::committed(&self.client, &self.settings, &added).await?;
        let mut positions = Vec::with_capacity(added.len());
        for (partition, offset) in added.into_iter().zip(committed) {
            let offset = match offset {
                Some(offset) => offset,
                None => offsets::reset(&self.client, &self.settings, &partition).await?,
            };
            positions.push((partition, offset));
        }
        fetcher.add(&positions);
        // Only now: had a position not been found, the next poll would join again rather than leave a partition unread.
        // A cooperative member that gave something back joins once more, to tell that it is free.
        self.joined = gone.is_empty();
        listener.assigned(&positions).await
    }

    async fn revoke(
        &mut self,
        partitions: &[TopicPartition],
        fetcher: &mut Fetcher,
        listener: &mut dyn RebalanceListener,
    ) -> Result<()> {
        let committer = Committer::new(self.client.clone(), Arc::clone(&self.settings), self.membership());
        let result = listener.revoked(partitions, &committer).await;
        fetcher.remove(partitions);
        result
    }

    async fn join(&mut self, coordinator: i32, owned: &[TopicPartition]) -> Result<JoinGroupResponse> {
        let topics: Vec<Arc<str>> = match &self.subscription {
            Subscription::Topics(topics) => topics.clone(),
            Subscription::Matching(_) => self.topics.keys().cloned().collect(),
        };
        let generation =
            if self.membership.generation < 0 { NO_GENERATION } else { self.membership.generation };
        let offer = |assignor: &Assignor| {
            let subscription = assignor.subscription(&topics, owned, &self.previous, generation, None);
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(subscription.encode())
        };
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(self.id.clone()))
            .with_session_timeout_ms(self.settings.session_timeout.as_millis() as i32)
            .with_rebalance_timeout_ms(self.settings.max_poll_interval.as_millis() as i32)
            .with_member_id(self.membership.member.clone())
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(self.settings.assignors.iter().map(offer).collect());
        let limit = self.settings.max_poll_interval + JOIN_GRACE;
        let instance = self.settings.instance.clone();
        let make =
            |version: i16| if version >= 5 { request.with_group_instance_id(instance) } else { request };
        let answer = self.client.send_with(NodeTarget::Id(coordinator), 2..=9, Some(limit), make).await?;
        if ErrorCode::try_from_code(answer.error_code) == Some(ErrorCode::MemberIdRequired) {
            self.membership = Membership { member: answer.member_id.clone(), generation: NO_GENERATION };
        }
        check(answer.error_code, || format!("joining group {}", self.id))?;
        Ok(answer)
    }

    /// The leader hands the assignments in, everybody gets its own.
    async fn sync(&self, coordinator: i32, joined: &JoinGroupResponse) -> Result<Vec<TopicPartition>> {
        let name = joined.protocol_name.as_ref().map(|name| name.as_str()).unwrap_or_default();
        let Some(assignor) = Assignor::from_name(name) else {
            let message = format!(
                "group {} has chosen the assignor {name}, which is none of partition.assignment.strategy",
                self.id
            );
            return Err(Error::new(ErrorKind::Protocol, message));
        };
        let assignments = match joined.leader == joined.member_id && !joined.skip_assignment {
            true => self.assign(assignor, joined).await?,
            false => Vec::new(),
        };
        let protocol = joined.protocol_name.clone();
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(self.id.clone()))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_assignments(assignments);
        let instance = self.settings.instance.clone();
        let make = |version: i16| {
            let request = if version >= 3 { request.with_group_instance_id(instance) } else { request };
            match version >= 5 {
                true => request
                    .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
                    .with_protocol_name(protocol),
                false => request,
            }
        };
        let limit = self.settings.max_poll_interval + JOIN_GRACE;
        let answer = self.client.send_with(NodeTarget::Id(coordinator), 1..=5, Some(limit), make).await?;
        check(answer.error_code, || format!("the assignment of group {}", self.id))?;
        if answer.assignment.is_empty() {
            return Ok(Vec::new());
        }
        let assignment = Assignment::decode(answer.assignment).map_err(|error| {
            Error::new(ErrorKind::Protocol, format!("group {}: the assignment is malformed", self.id))
                .with_source(error)
        })?;
        Ok(assignment.partitions)
    }

    async fn assign(
        &self,
        assignor: Assignor,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>> {
        let mut members = Vec::with_capacity(joined.members.len());
        for member in &joined.members {
            let instance = member.group_instance_id.as_ref().map(|id| id.as_str());
            let decoded = Member::decode(&member.member_id, instance, member.metadata.clone());
            members.push(decoded.map_err(|error| {
                let message =
                    format!("group {}: the subscription of {} is malformed", self.id, member.member_id);
                Error::new(ErrorKind::Protocol, message).with_source(error)
            })?);
        }
        let mut names: Vec<&str> = members
            .iter()
            .flat_map(|member| member.subscription.topics.iter().map(|topic| &**topic))
            .collect();
        names.sort_unstable();
        names.dedup();
        let metadata = self.client.topic_metadata(&names).await?;
        let counts: PartitionCounts = names
            .iter()
            .filter_map(|name| metadata.topic(name))
            .map(|topic| (Arc::clone(&topic.name), topic.partitions.len() as i32))
            .collect();
        let assigned = assignor.assign(&counts, &members);
        let entry = |(member, partitions): (String, Vec<TopicPartition>)| {
            let assignment = Assignment { partitions, user_data: None };
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member))
                .with_assignment(assignment.encode())
        };
        Ok(assigned.into_iter().collect::<HashMap<_, _>>().into_iter().map(entry).collect())
    }

    fn start_heartbeat(&self) -> Heartbeat {
        let (sender, news) = watch::channel(News::None);
        let polled = Arc::new(Mutex::new(Instant::now()));
        let beat = Beat {
            client: self.client.clone(),
            settings: Arc::clone(&self.settings),
            id: self.id.clone(),
            membership: self.membership(),
            polled: Arc::clone(&polled),
        };
        let task = tokio::spawn(beat.run(sender)).abort_handle();
        Heartbeat { news, polled, task }
    }

    /// Gives everything back and leaves; a static member only gives back.
    pub(super) async fn leave(
        &mut self,
        fetcher: &mut Fetcher,
        listener: &mut dyn RebalanceListener,
    ) -> Result<()> {
        let owned = fetcher.partitions();
        let revoked = if owned.is_empty() { Ok(()) } else { self.revoke(&owned, fetcher, listener).await };
        self.heartbeat = None;
        if !self.membership.member.is_empty() && self.settings.instance.is_none() {
            leave(&self.client, &self.id, &self.membership, "the consumer is being closed").await;
        }
        revoked
    }
}

async fn leave(client: &Client, id: &StrBytes, membership: &Membership, reason: &'static str) {
    let Ok(coordinator) = client.coordinator(CoordinatorKind::Group, id).await else { return };
    let member = membership.member.clone();
    let make = |version: i16| {
        let request = LeaveGroupRequest::default().with_group_id(GroupId(id.clone()));
        if version < 3 {
            return request.with_member_id(member);
        }
        let identity = MemberIdentity::default().with_member_id(member);
        let reason = (version >= 5).then(|| StrBytes::from_static_str(reason));
        request.with_members(vec![identity.with_reason(reason)])
    };
    if let Err(error) = client.send_with(NodeTarget::Id(coordinator), 1..=5, None, make).await {
        tracing::debug!("leaving group {id}: {error}; the coordinator notices by itself");
    }
}

/// What the heartbeat task needs.
struct Beat {
    client: Client,
    settings: Arc<Settings>,
    id: StrBytes,
    membership: Membership,
    polled: Arc<Mutex<Instant>>,
}

impl Beat {
    async fn run(self, news: watch::Sender<News>) {
        let mut heard = Instant::now();
        loop {
            tokio::time::sleep(self.settings.heartbeat_interval).await;
            let idle = self.polled.lock().elapsed();
            if idle > self.settings.max_poll_interval {
                tracing::warn!(
                    "group {}: no poll for {} ms, more than max.poll.interval.ms: this member leaves the group",
                    self.id,
                    idle.as_millis()
                );
                leave(&self.client, &self.id, &self.membership, "no poll within max.poll.interval.ms").await;
                let _ = news.send(News::Lost);
                return;
            }
            match self.beat().await {
                Ok(()) => heard = Instant::now(),
                Err(error) => match error.code() {
                    Some(ErrorCode::RebalanceInProgress) => {
                        heard = Instant::now();
                        let _ = news.send(News::Rebalance);
                    }
                    Some(
                        ErrorCode::UnknownMemberId
                        | ErrorCode::IllegalGeneration
                        | ErrorCode::FencedInstanceId,
                    ) => {
                        let _ = news.send(News::Lost);
                        return;
                    }
                    _ => {
                        tracing::debug!("heartbeat of group {}: {error}", self.id);
                        self.client.forget_coordinator(CoordinatorKind::Group, &self.id);
                        if heard.elapsed() > self.settings.session_timeout {
                            // the group may be gone on without us: ask by joining again
                            let _ = news.send(News::Rebalance);
                        }
                    }
                },
            }
        }
    }

    async fn beat(&self) -> Result<()> {
        let coordinator = self.client.coordinator(CoordinatorKind::Group, &self.id).await?;
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(self.id.clone()))
            .with_generation_id(self.membership.generation)
            .with_member_id(self.membership.member.clone());
        let instance = self.settings.instance.clone();
        let make =
            |version: i16| if version >= 3 { request.with_group_instance_id(instance) } else { request };
        let answer = self
            .client
            .send_with(NodeTarget::Id(coordinator), 1..=4, Some(self.settings.session_timeout), make)
            .await?;
        check(answer.error_code, || format!("a heartbeat of group {}", self.id))
    }
}

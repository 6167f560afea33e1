//! Runs a member's machine: one task, at most one join or sync and one heartbeat under way.

use std::future::Future;
use std::pin::Pin;
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
use tokio::sync::Notify;
use tokio::time::Instant;

use super::config::millis;
use super::machine::{Answer, Backoff, Call, JoinAnswer, Machine};
use super::{GroupConfig, GroupIdentity, GroupProtocol, MemberMetadata};
use crate::client::{Client, CoordinatorKind, NodeTarget};
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Time that a JoinGroup may take beyond the rebalance timeout, as in the JVM's clients.
const JOIN_GRACE: Duration = Duration::from_secs(5);

/// What owner and driver share.
pub(super) struct Shared {
    client: Client,
    config: Arc<GroupConfig>,
    pub(super) machine: Mutex<Machine>,
    /// Something has changed for the driver.
    wake: Notify,
    /// There are events for the owner.
    pub(super) news: Notify,
}

impl Shared {
    pub(super) fn new(client: &Client, config: GroupConfig) -> Self {
        let config = Arc::new(config);
        let (first, most) = client.config().retry_backoff;
        let machine = Machine::new(Arc::clone(&config), Backoff { first, most }, Instant::now());
        Self {
            client: client.clone(),
            config,
            machine: Mutex::new(machine),
            wake: Notify::new(),
            news: Notify::new(),
        }
    }

    /// Changes the machine and wakes whom that concerns.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine.lock();
        let result = change(&mut machine);
        let news = machine.has_events();
        drop(machine);
        self.wake.notify_one();
        if news {
            self.news.notify_one();
        }
        result
    }

    fn step(&self) -> (Option<Call>, Option<Instant>, u64) {
        let mut machine = self.machine.lock();
        let (call, look_again) = machine.step(Instant::now());
        if machine.has_events() {
            self.news.notify_one();
        }
        (call, look_again, machine.round())
    }

    pub(super) fn identity(&self) -> GroupIdentity {
        let machine = self.machine.lock();
        GroupIdentity {
            member_id: machine.member_id().to_owned(),
            generation: machine.generation(),
            instance_id: self.config.instance_id.clone(),
        }
    }

    /// Says goodbye; that nobody hears it does no harm.
    pub(super) async fn send_leave(&self, member_id: String, reason: &'static str) {
        let id = StrBytes::from_string(self.config.group_id.clone());
        let Ok(coordinator) = self.client.coordinator(CoordinatorKind::Group, &self.config.group_id).await
        else {
            return;
        };
        let member = StrBytes::from_string(member_id);
        let make = |version: i16| {
            let request = LeaveGroupRequest::default().with_group_id(GroupId(id));
            if version < 3 {
                return request.with_member_id(member);
            }
            let identity = MemberIdentity::default().with_member_id(member);
            let reason = (version >= 5).then(|| StrBytes::from_static_str(reason));
            request.with_members(vec![identity.with_reason(reason)])
        };
        if let Err(error) = self.client.send_with(NodeTarget::Id(coordinator), 1..=5, None, make).await {
            tracing::debug!(group = %self.config.group_id, "leaving: {error}; the coordinator notices by itself");
        }
    }

    async fn call(self: Arc<Self>, call: Call) -> Option<Answer> {
        Some(match call {
            Call::Join { member_id, protocols } => {
                Answer::from_join(self.join(&member_id, &protocols).await, &self.config)
            }
            Call::Sync { generation, member_id, protocol, assignments } => {
                Answer::Synced(self.sync(generation, member_id, protocol, assignments).await)
            }
            Call::Heartbeat { generation, member_id } => Answer::Beat(self.beat(generation, member_id).await),
            Call::Leave { .. } => return None,
        })
    }

    /// Errors that mean that the coordinator is another one, or none.
    fn note(&self, error: &Error) {
        if error.is_retriable() && error.code() != Some(ErrorCode::CoordinatorLoadInProgress) {
            self.client.forget_coordinator(CoordinatorKind::Group, &self.config.group_id);
        }
    }

    /// How long a join or a sync may wait for the others.
    fn round_limit(&self) -> Duration {
        (self.config.rebalance_timeout + JOIN_GRACE).max(self.client.config().request_timeout)
    }

    fn instance(&self) -> Option<StrBytes> {
        self.config.instance_id.clone().map(StrBytes::from_string)
    }

    fn group(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.config.group_id.clone()))
    }

    async fn join(&self, member_id: &str, protocols: &[GroupProtocol]) -> Result<JoinGroupResponse> {
        let coordinator = self.client.coordinator(CoordinatorKind::Group, &self.config.group_id).await?;
        let offer = |protocol: &GroupProtocol| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_string(protocol.name.clone()))
                .with_metadata(protocol.metadata.clone())
        };
        let request = JoinGroupRequest::default()
            .with_group_id(self.group())
            .with_session_timeout_ms(millis(self.config.session_timeout))
            .with_rebalance_timeout_ms(millis(self.config.rebalance_timeout))
            .with_member_id(StrBytes::from_string(member_id.to_owned()))
            .with_protocol_type(StrBytes::from_string(self.config.protocol_type.clone()))
            .with_protocols(protocols.iter().map(offer).collect());
        let instance = self.instance();
        let make =
            |version: i16| if version >= 5 { request.with_group_instance_id(instance) } else { request };
        let limit = Some(self.round_limit());
        self.client.send_with(NodeTarget::Id(coordinator), 2..=9, limit, make).await
    }

    async fn sync(
        &self,
        generation: i32,
        member_id: String,
        protocol: String,
        assignments: Vec<(String, bytes::Bytes)>,
    ) -> Result<bytes::Bytes> {
        let coordinator = self.client.coordinator(CoordinatorKind::Group, &self.config.group_id).await?;
        let entry = |(member, assignment): (String, bytes::Bytes)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member))
                .with_assignment(assignment)
        };
        let request = SyncGroupRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation)
            .with_member_id(StrBytes::from_string(member_id))
            .with_assignments(assignments.into_iter().map(entry).collect());
        let (instance, protocol_type) = (self.instance(), self.config.protocol_type.clone());
        let make = |version: i16| {
            let request = if version >= 3 { request.with_group_instance_id(instance) } else { request };
            match version >= 5 {
                true => request
                    .with_protocol_type(Some(StrBytes::from_string(protocol_type)))
                    .with_protocol_name(Some(StrBytes::from_string(protocol))),
                false => request,
            }
        };
        let limit = Some(self.round_limit());
        let answer = self.client.send_with(NodeTarget::Id(coordinator), 1..=5, limit, make).await?;
        check(answer.error_code, || format!("the assignment of group {}", self.config.group_id))?;
        Ok(answer.assignment)
    }

    async fn beat(&self, generation: i32, member_id: String) -> Result<()> {
        let coordinator = self.client.coordinator(CoordinatorKind::Group, &self.config.group_id).await?;
        let request = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation)
            .with_member_id(StrBytes::from_string(member_id));
        let instance = self.instance();
        let make =
            |version: i16| if version >= 3 { request.with_group_instance_id(instance) } else { request };
        let limit = self.client.config().request_timeout.min(self.config.session_timeout);
        let answer = self.client.send_with(NodeTarget::Id(coordinator), 1..=4, Some(limit), make).await?;
        check(answer.error_code, || format!("a heartbeat of group {}", self.config.group_id))
    }
}

impl Answer {
    fn from_join(answer: Result<JoinGroupResponse>, config: &GroupConfig) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Self::Joined(Err(error)),
        };
        match ErrorCode::try_from_code(answer.error_code) {
            None => {}
            Some(ErrorCode::MemberIdRequired) => return Self::MemberId(answer.member_id.to_string()),
            Some(code) => {
                return Self::Joined(Err(Error::broker(
                    code,
                    format_args!("joining group {}", config.group_id),
                )));
            }
        }
        if answer.protocol_type.as_ref().is_some_and(|of| of.as_str() != config.protocol_type) {
            let message = format!(
                "group {} is of another protocol type than {}: give this member another group.id",
                config.group_id, config.protocol_type
            );
            return Self::Joined(Err(Error::new(ErrorKind::Protocol, message)));
        }
        let member =
            |member: kafka_protocol::messages::join_group_response::JoinGroupResponseMember| MemberMetadata {
                member_id: member.member_id.to_string(),
                instance_id: member.group_instance_id.map(|id| id.to_string()),
                metadata: member.metadata,
            };
        Self::Joined(Ok(JoinAnswer {
            generation: answer.generation_id,
            member_id: answer.member_id.to_string(),
            leader: answer.leader.to_string(),
            protocol: answer.protocol_name.map(|name| name.to_string()).unwrap_or_default(),
            skip_assignment: answer.skip_assignment,
            members: answer.members.into_iter().map(member).collect(),
        }))
    }
}

fn check(code: i16, what: impl FnOnce() -> String) -> Result<()> {
    match ErrorCode::try_from_code(code) {
        None => Ok(()),
        Some(code) => Err(Error::broker(code, what())),
    }
}

type UnderWay = Pin<Box<dyn Future<Output = (u64, Option<Answer>)> + Send>>;

async fn settle(slot: &mut Option<UnderWay>) -> (u64, Option<Answer>) {
    match slot {
        Some(call) => {
            let answer = call.await;
            *slot = None;
            answer
        }
        None => std::future::pending().await,
    }
}

/// Runs until the member is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let (mut round_call, mut beat): (Option<UnderWay>, Option<UnderWay>) = (None, None);
    loop {
        let (call, look_again, round) = shared.step();
        if let Some(Call::Leave { member_id }) = call {
            // apart, so that a join that follows does not replace it
            let shared = Arc::clone(&shared);
            tokio::spawn(
                async move { shared.send_leave(member_id, "no poll within max.poll.interval.ms").await },
            );
            continue;
        }
        if let Some(call) = call {
            let slot = if matches!(call, Call::Heartbeat { .. }) { &mut beat } else { &mut round_call };
            let shared = Arc::clone(&shared);
            // what was in the slot belongs to a round that has passed
            *slot = Some(Box::pin(async move { (round, shared.call(call).await) }));
            continue;
        }
        let answer = tokio::select! {
            () = shared.wake.notified() => None,
            () = sleep_until(look_again) => None,
            answer = settle(&mut round_call) => Some(answer),
            answer = settle(&mut beat) => Some(answer),
        };
        if let Some((round, Some(answer))) = answer {
            if let Answer::Joined(Err(error)) | Answer::Synced(Err(error)) | Answer::Beat(Err(error)) =
                &answer
            {
                shared.note(error);
            }
            shared.change(|machine| machine.answered(round, answer, Instant::now()));
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

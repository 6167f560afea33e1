//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::classic::{JoinReply, SyncReply};
use super::membership::Join;
use crate::dispatch::Context;

/// Longest session timeout (`group.max.session.timeout.ms`).
const MAX_SESSION: Duration = Duration::from_secs(30 * 60);

/// From this version a new member must come back with the id that it is given.
const KNOWN_ID: i16 = 4;

/// From this version the protocol name may be null.
const NULLABLE_PROTOCOL: i16 = 7;

/// From this version a static leader may be told to skip the assignment.
const SKIP_ASSIGNMENT: i16 = 9;

/// From this version LeaveGroup names several members.
const LEAVE_MANY: i16 = 3;

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// JoinGroup; waits until the group's rebalance completes.
pub(crate) async fn join_group(c: &Context<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let session_timeout = millis(request.session_timeout_ms);
    if request.group_id.is_empty() {
        return join_response(c, JoinReply::error(ResponseError::InvalidGroupId, member_id));
    }
    if !(c.shared.config.group_min_session_timeout..=MAX_SESSION).contains(&session_timeout) {
        return join_response(c, JoinReply::error(ResponseError::InvalidSessionTimeout, member_id));
    }
    let rebalance_timeout =
        if request.rebalance_timeout_ms > 0 { millis(request.rebalance_timeout_ms) } else { session_timeout };
    let join = Join {
        member_id: request.member_id,
        instance: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocols: request.protocols.into_iter().map(|p| (p.name, p.metadata)).collect(),
        session_timeout,
        rebalance_timeout,
        client_id: c.client_id.clone(),
        host: format!("/{}", c.peer.addr.ip()),
        known_id_required: c.version >= KNOWN_ID,
        can_skip: c.version >= SKIP_ASSIGNMENT,
        initial_delay: c.shared.config.initial_rebalance_delay,
    };
    let outcome = c.shared.groups.with_new(&request.group_id, |group| match group.classic() {
        Some(classic) => classic.join(join, Instant::now()),
        None => Err(Box::new(JoinReply::error(ResponseError::InconsistentGroupProtocol, member_id.clone()))),
    });
    let reply = match outcome {
        Ok(receiver) => receiver
            .await
            .unwrap_or_else(|_| JoinReply::error(ResponseError::CoordinatorNotAvailable, member_id)),
        Err(reply) => *reply,
    };
    join_response(c, reply)
}

fn join_response(c: &Context<'_>, reply: JoinReply) -> JoinGroupResponse {
    let member = |(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(id)
            .with_group_instance_id(instance)
            .with_metadata(metadata)
    };
    let protocol =
        if c.version < NULLABLE_PROTOCOL { Some(reply.protocol.unwrap_or_default()) } else { reply.protocol };
    JoinGroupResponse::default()
        .with_error_code(reply.code)
        .with_generation_id(reply.generation)
        .with_protocol_type(reply.protocol_type)
        .with_protocol_name(protocol)
        .with_leader(reply.leader)
        .with_skip_assignment(reply.skip_assignment)
        .with_member_id(reply.member_id)
        .with_members(reply.members.into_iter().map(member).collect())
}

/// SyncGroup; waits for the leader's assignments.
pub(crate) async fn sync_group(c: &Context<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    let assignments = request.assignments.into_iter().map(|a| (a.member_id, a.assignment)).collect();
    let outcome = c.shared.groups.with(&request.group_id, |group| {
        let classic = group.classic().ok_or_else(|| SyncReply::error(ResponseError::UnknownMemberId))?;
        classic.sync(
            &request.member_id,
            request.group_instance_id.as_ref(),
            request.generation_id,
            (request.protocol_type.as_ref(), request.protocol_name.as_ref()),
            &assignments,
            Instant::now(),
        )
    });
    let reply = match outcome {
        None => SyncReply::error(ResponseError::UnknownMemberId),
        Some(Err(reply)) => reply,
        Some(Ok(receiver)) => {
            receiver.await.unwrap_or_else(|_| SyncReply::error(ResponseError::CoordinatorNotAvailable))
        }
    };
    SyncGroupResponse::default()
        .with_error_code(reply.code)
        .with_protocol_type(reply.protocol_type)
        .with_protocol_name(reply.protocol)
        .with_assignment(reply.assignment)
}

/// Heartbeat of the classic protocol.
pub(crate) fn heartbeat(c: &Context<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let outcome = c.shared.groups.with(&request.group_id, |group| {
        let classic = group.classic().ok_or(ResponseError::UnknownMemberId)?;
        let instance = request.group_instance_id.as_ref();
        classic.heartbeat(&request.member_id, instance, request.generation_id, Instant::now())
    });
    let code = match outcome {
        Some(Ok(())) => 0,
        Some(Err(error)) => error.code(),
        None => ResponseError::UnknownMemberId.code(),
    };
    HeartbeatResponse::default().with_error_code(code)
}

/// LeaveGroup.
pub(crate) fn leave_group(c: &Context<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave = |member_id: &StrBytes, instance: Option<&StrBytes>| {
        let outcome = c.shared.groups.with(&request.group_id, |group| match &mut group.kind {
            super::Kind::Classic(classic) => classic.leave(member_id, instance, Instant::now()),
            super::Kind::Consumer(consumer) => consumer.remove_by(member_id, instance),
        });
        match outcome {
            Some(Ok(())) => 0,
            Some(Err(error)) => error.code(),
            None => ResponseError::UnknownMemberId.code(),
        }
    };
    if c.version < LEAVE_MANY {
        return LeaveGroupResponse::default().with_error_code(leave(&request.member_id, None));
    }
    let one = |member: &MemberIdentity| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(leave(&member.member_id, member.group_instance_id.as_ref()))
    };
    LeaveGroupResponse::default().with_members(request.members.iter().map(one).collect())
}

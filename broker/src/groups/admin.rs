//! ListGroups, DescribeGroups, DeleteGroups.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Kind;
use super::classic::Classic;
use crate::dispatch::Context;
use crate::journal::StateRecord;
use crate::state::text;

/// From this version a group that does not exist is an error with a message, not an empty dead group.
const NOT_FOUND_ERROR: i16 = 6;

/// The protocol type of groups of the new protocol.
const CONSUMER: &str = "consumer";

/// ListGroups.
pub(crate) fn list_groups(c: &Context<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[StrBytes], name: &str| {
        filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(name))
    };
    let groups = c.shared.groups.each(|id, group| {
        let matches = wanted(&request.states_filter, group.state_name())
            && wanted(&request.types_filter, group.type_name());
        matches.then(|| {
            let protocol_type = match &group.kind {
                Kind::Classic(classic) => classic.protocol_type.clone().unwrap_or_default(),
                Kind::Consumer(_) => StrBytes::from_static_str(CONSUMER),
            };
            ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(protocol_type)
                .with_group_state(StrBytes::from_static_str(group.state_name()))
                .with_group_type(StrBytes::from_static_str(group.type_name()))
        })
    });
    ListGroupsResponse::default().with_groups(groups.into_iter().flatten().collect())
}

/// DescribeGroups.
pub(crate) fn describe_groups(c: &Context<'_>, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let one = |id: GroupId| {
        let found = c.shared.groups.with(&id, |group| match &group.kind {
            Kind::Classic(classic) => Some(describe(classic)),
            Kind::Consumer(_) => None,
        });
        match found.flatten() {
            Some(described) => described.with_group_id(id),
            None => {
                let message = format!("Group {} not found.", id.as_str());
                let (code, message) = if c.version >= NOT_FOUND_ERROR {
                    (ResponseError::GroupIdNotFound.code(), Some(StrBytes::from_string(message)))
                } else {
                    (0, None)
                };
                DescribedGroup::default()
                    .with_error_code(code)
                    .with_error_message(message)
                    .with_group_id(id)
                    .with_group_state(StrBytes::from_static_str("Dead"))
            }
        }
    };
    DescribeGroupsResponse::default().with_groups(request.groups.into_iter().map(one).collect())
}

fn describe(classic: &Classic) -> DescribedGroup {
    let protocol = classic.protocol.clone().unwrap_or_default();
    let members = classic.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(id.clone())
            .with_group_instance_id(member.instance.clone())
            .with_client_id(member.client_id.clone())
            .with_client_host(text(&member.host))
            .with_member_metadata(member.metadata(&protocol))
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(classic.state.name()))
        .with_protocol_type(classic.protocol_type.clone().unwrap_or_default())
        .with_members(members.collect())
        .with_protocol_data(protocol)
}

/// DeleteGroups.
pub(crate) fn delete_groups(c: &Context<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let one = |id: GroupId| {
        let done = c.shared.groups.delete(&id).map_err(|e| e.code()).and_then(|()| {
            let record = StateRecord::GroupDeleted { group: id.to_string() };
            c.shared.record(&[record]).map_err(|refusal| refusal.code)
        });
        DeletableGroupResult::default().with_group_id(id).with_error_code(done.err().unwrap_or(0))
    };
    DeleteGroupsResponse::default().with_results(request.groups_names.into_iter().map(one).collect())
}

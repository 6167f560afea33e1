//! FindCoordinator: always this node.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::dispatch::Context;
use crate::state::NODE_ID;

/// First version that asks for several keys at a time.
const BATCHED: i16 = 4;

/// Groups and transactions; share coordinators (2) do not exist here.
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

/// FindCoordinator.
pub(crate) fn find_coordinator(c: &Context<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let (host, port) = c.shared.address();
    let known = KEY_TYPES.contains(&request.key_type);
    let code = if known { 0 } else { ResponseError::InvalidRequest.code() };
    let node = BrokerId(if known { NODE_ID } else { -1 });
    if c.version < BATCHED {
        return FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_node_id(node)
            .with_host(host)
            .with_port(port);
    }
    let one = |key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code)
            .with_node_id(node)
            .with_host(host.clone())
            .with_port(port)
    };
    FindCoordinatorResponse::default()
        .with_coordinators(request.coordinator_keys.into_iter().map(one).collect())
}

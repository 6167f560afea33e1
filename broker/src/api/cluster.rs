//! The cluster of one: FindCoordinator, DescribeCluster, DescribeLogDirs, and what there is not (ACLs, reassignments).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    BrokerId, CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
    DescribeAclsRequest, DescribeAclsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeLogDirsRequest, DescribeLogDirsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};

use super::metadata::NO_OPERATIONS;
use crate::dispatch::Context;
use crate::state::{NODE_ID, text};

/// Endpoint type of brokers in DescribeCluster.
const BROKERS: i8 = 1;

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

/// DescribeCluster.
pub(crate) fn describe_cluster(c: &Context<'_>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if c.version >= 1 && request.endpoint_type != BROKERS {
        return DescribeClusterResponse::default()
            .with_error_code(ResponseError::MismatchedEndpointType.code())
            .with_error_message(Some(text("this endpoint is a broker, not a controller")));
    }
    let (host, port) = c.shared.address();
    let me =
        DescribeClusterBroker::default().with_broker_id(BrokerId(NODE_ID)).with_host(host).with_port(port);
    DescribeClusterResponse::default()
        .with_cluster_id(text(&c.shared.cluster_id))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![me])
        .with_cluster_authorized_operations(NO_OPERATIONS)
}

const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// DescribeAcls: there is no security here, which is what Kafka answers without an authorizer.
pub(crate) fn describe_acls(_: &Context<'_>, _: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(text(NO_AUTHORIZER)))
}

/// CreateAcls.
pub(crate) fn create_acls(_: &Context<'_>, request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(text(NO_AUTHORIZER)));
    CreateAclsResponse::default().with_results(vec![refused; request.creations.len()])
}

/// DeleteAcls.
pub(crate) fn delete_acls(_: &Context<'_>, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(text(NO_AUTHORIZER)));
    DeleteAclsResponse::default().with_filter_results(vec![refused; request.filters.len()])
}

/// ListPartitionReassignments: nothing ever moves.
pub(crate) fn list_reassignments(
    _: &Context<'_>,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}

/// DescribeLogDirs: sizes of the partitions.
pub(crate) fn describe_log_dirs(c: &Context<'_>, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = |topic: &str, index: i32| {
        let topics = request.topics.as_ref();
        topics.is_none_or(|ts| ts.iter().any(|t| &*t.topic == topic && t.partitions.contains(&index)))
    };
    let mut topics = Vec::new();
    for topic in c.shared.topics.read().all() {
        let mut partitions = Vec::new();
        for (index, partition) in (0..).zip(topic.partitions.read().iter()) {
            if wanted(&topic.name, index) {
                let size = i64::try_from(partition.log.lock().size()).unwrap_or(i64::MAX);
                let shown = DescribeLogDirsPartition::default().with_partition_index(index);
                partitions.push(shown.with_partition_size(size));
            }
        }
        if !partitions.is_empty() {
            let name = TopicName(topic.name.clone());
            topics.push(DescribeLogDirsTopic::default().with_name(name).with_partitions(partitions));
        }
    }
    let dir = c.shared.config.data_dir.as_ref().map_or("memory".to_owned(), |d| d.display().to_string());
    let result = DescribeLogDirsResult::default().with_log_dir(text(&dir)).with_topics(topics);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

//! ApiVersions: what this broker speaks, and nothing else.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::dispatch::Context;

/// API, lowest and highest version.
pub(crate) const SUPPORTED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 13),
    (ApiKey::Fetch, 4, 18),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 6),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 4),
    (ApiKey::EndTxn, 0, 5),
    (ApiKey::WriteTxnMarkers, 1, 1),
    (ApiKey::TxnOffsetCommit, 0, 5),
    (ApiKey::DescribeAcls, 1, 3),
    (ApiKey::CreateAcls, 1, 3),
    (ApiKey::DeleteAcls, 1, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::DescribeLogDirs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::ListPartitionReassignments, 0, 0),
    (ApiKey::OffsetDelete, 0, 0),
    (ApiKey::DescribeCluster, 0, 2),
    (ApiKey::DescribeProducers, 0, 0),
    (ApiKey::DescribeTransactions, 0, 0),
    (ApiKey::ListTransactions, 0, 2),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1),
    (ApiKey::ConsumerGroupDescribe, 0, 1),
    (ApiKey::DescribeTopicPartitions, 0, 0),
];

/// Whether a request of this version is answered.
pub(crate) fn supports(key: i16, version: i16) -> bool {
    SUPPORTED.iter().any(|(api, min, max)| *api as i16 == key && (*min..=*max).contains(&version))
}

fn versions() -> Vec<ApiVersion> {
    let one = |(api, min, max): &(ApiKey, i16, i16)| {
        ApiVersion::default().with_api_key(*api as i16).with_min_version(*min).with_max_version(*max)
    };
    SUPPORTED.iter().map(one).collect()
}

/// The answer to a version of ApiVersions that is too new.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(versions())
}

/// Features with their highest level: the second transaction protocol (KIP-890), the new group protocol (KIP-848).
const FEATURES: &[(&str, i16)] = &[(TRANSACTIONS, 2), ("group.version", 1)];

const TRANSACTIONS: &str = "transaction.version";

/// First version that may carry features.
const FEATURES_SINCE: i16 = 3;

/// First version whose clients accept features that can be off (lowest level 0).
const ZERO_LEVELS: i16 = 4;

/// ApiVersions.
pub(crate) fn api_versions(c: &Context<'_>, _: ApiVersionsRequest) -> ApiVersionsResponse {
    let response = ApiVersionsResponse::default().with_api_keys(versions());
    if c.version < FEATURES_SINCE {
        return response;
    }
    let name = |name: &'static str| StrBytes::from_static_str(name);
    let allowed = c.shared.config.transaction_version;
    let finalized = FEATURES.iter().map(|(feature, level)| {
        let level = if *feature == TRANSACTIONS { allowed.min(*level) } else { *level };
        FinalizedFeatureKey::default()
            .with_name(name(feature))
            .with_max_version_level(level)
            .with_min_version_level(level)
    });
    let supported = FEATURES.iter().filter(|_| c.version >= ZERO_LEVELS).map(|(feature, level)| {
        SupportedFeatureKey::default().with_name(name(feature)).with_min_version(0).with_max_version(*level)
    });
    response
        .with_supported_features(supported.collect())
        .with_finalized_features(finalized.collect())
        .with_finalized_features_epoch(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_that_cannot_be_read() {
        for (api, min, max) in SUPPORTED {
            let readable = api.valid_versions();
            assert!(*min >= readable.min && *max <= readable.max, "{api:?}");
            assert!(supports(*api as i16, *max) && !supports(*api as i16, max + 1));
        }
    }
}

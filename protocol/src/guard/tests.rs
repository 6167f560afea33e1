use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use super::*;

fn walks_exactly<R: Request>(api: ApiKey, request: &R, versions: std::ops::RangeInclusive<i16>) {
    for version in versions {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes, version).unwrap();
        assert_eq!(
            rest_after(Direction::Request, api, version, &bytes),
            Some(&[][..]),
            "{api:?} version {version}"
        );
        for end in 0..bytes.len() {
            assert!(
                !is_backed(Direction::Request, api, version, &bytes[..end]),
                "{api:?} version {version} cut at {end}"
            );
        }
    }
}

#[test]
fn requests_with_everything_in_them_are_walked_to_the_last_byte() {
    let text = |t: &'static str| StrBytes::from_static_str(t);
    let partition = FetchPartition::default().with_partition(1).with_fetch_offset(3);
    let topic =
        |t: FetchTopic| FetchRequest::default().with_topics(vec![t.with_partitions(vec![partition.clone()])]);
    walks_exactly(ApiKey::Fetch, &topic(FetchTopic::default().with_topic(TopicName(text("t")))), 4..=12);
    let by_id = topic(FetchTopic::default().with_topic_id(uuid::Uuid::from_u128(1)));
    walks_exactly(
        ApiKey::Fetch,
        &by_id.with_replica_state(ReplicaState::default().with_replica_epoch(5)),
        15..=18,
    );
    let data = produce_request::PartitionProduceData::default().with_records(Some("abc".into()));
    let data = produce_request::TopicProduceData::default().with_partition_data(vec![data.clone(), data]);
    let produce = ProduceRequest::default().with_topic_data(vec![data.with_name(TopicName(text("topic")))]);
    walks_exactly(ApiKey::Produce, &produce, 3..=12);
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_metadata("abc".into());
    let join = JoinGroupRequest::default().with_protocols(vec![protocol]);
    walks_exactly(ApiKey::JoinGroup, &join, 0..=9);
    let cursor = describe_topic_partitions_request::Cursor::default();
    let describe = DescribeTopicPartitionsRequest::default().with_cursor(Some(cursor));
    walks_exactly(ApiKey::DescribeTopicPartitions, &describe, 0..=0);
}

#[test]
fn counts_that_nothing_backs_are_refused() {
    assert!(!is_backed(Direction::Request, ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']));
    assert!(!is_backed(Direction::Request, ApiKey::Metadata, 12, &[0xff, 0xff, 0xff, 0xff, 0x07, 1, 1]));
    assert!(is_backed(Direction::Request, ApiKey::Metadata, 1, &[0xff, 0xff, 0xff, 0xff]));
}

/// The version's bytes are walked to the last one, and refused when any of them is missing.
fn answers_walk_exactly<A: Encodable + Decodable + PartialEq + std::fmt::Debug>(
    api: ApiKey,
    versions: std::ops::RangeInclusive<i16>,
    make: impl Fn(i16) -> A,
) {
    for version in versions {
        let answer = make(version);
        let mut bytes = BytesMut::new();
        answer
            .encode(&mut bytes, version)
            .unwrap_or_else(|error| panic!("{api:?} version {version}: {error}"));
        let bytes = bytes.freeze();
        let rest = rest_after(Direction::Response, api, version, &bytes);
        assert_eq!(rest, Some(&[][..]), "{api:?} version {version}");
        for end in 0..bytes.len() {
            assert!(
                !is_backed(Direction::Response, api, version, &bytes[..end]),
                "{api:?} version {version} cut at {end}"
            );
        }
        let decoded: A = decode_response(api, version, &mut bytes.clone()).unwrap();
        assert_eq!(decoded, answer, "{api:?} version {version}");
        overwritten_bytes_end_walk_and_decoder_alike::<A>(api, version, &bytes);
    }
}

/// Whatever stands in an answer, the decoder takes as many bytes as the walk has looked at.
fn overwritten_bytes_end_walk_and_decoder_alike<A: Decodable>(api: ApiKey, version: i16, valid: &[u8]) {
    const TRIES: usize = 400;
    let mut random = fastrand::Rng::with_seed(u64::from(api as i16 as u16) << 16 | version as u64);
    for _ in 0..TRIES {
        let mut bytes = valid.to_vec();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(..bytes.len());
            // small numbers and the ends of ranges are what counts and lengths break at
            bytes[place] = match random.u8(..4) {
                0 => 0xff,
                1 => random.u8(..8),
                2 => 0x80 | random.u8(..4),
                _ => random.u8(..),
            };
        }
        let Some(rest) = rest_after(Direction::Response, api, version, &bytes) else { continue };
        let mut body = Bytes::from(bytes.clone());
        if A::decode(&mut body, version).is_ok() {
            assert_eq!(body.len(), rest.len(), "{api:?} version {version}: {bytes:02x?}");
        }
    }
}

/// The names of the requests that stand in the client's sources.
fn requests_of_the_client() -> std::collections::BTreeSet<String> {
    let mut names = std::collections::BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for word in text.split(|char: char| !char.is_ascii_alphanumeric()) {
                names.extend(word.strip_suffix("Request").filter(|name| !name.is_empty()).map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn every_request_of_the_client_has_a_layout_of_its_answer() {
    let sent = requests_of_the_client();
    let apis: Vec<ApiKey> = (0..200).filter_map(|key| ApiKey::try_from(key).ok()).collect();
    let mut checked = 0;
    for api in apis.into_iter().filter(|api| sent.contains(&format!("{api:?}"))) {
        // Fetch is read by `crate::wire`
        if api != ApiKey::Fetch {
            let has_layout = responses::LAYOUTS.iter().any(|(key, ..)| *key == api);
            assert!(has_layout, "the client sends {api:?}, and there is no layout of the answer");
            checked += 1;
        }
    }
    assert!(checked >= 30, "{checked} requests found");
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic(name: &'static str) -> TopicName {
    TopicName(text(name))
}

#[test]
fn answers_about_the_cluster() {
    use metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
    answers_walk_exactly(ApiKey::Metadata, 0..=13, |version| {
        let mut partition = MetadataResponsePartition::default().with_partition_index(3);
        partition.replica_nodes = vec![BrokerId(1), BrokerId(2)];
        partition.isr_nodes = vec![BrokerId(1)];
        let mut found =
            MetadataResponseTopic::default().with_name(Some(topic("t"))).with_partitions(vec![partition]);
        if version >= 10 {
            found.topic_id = uuid::Uuid::from_u128(7);
        }
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_host(text("host"));
        MetadataResponse::default().with_brokers(vec![broker.clone(), broker]).with_topics(vec![found])
    });
    answers_walk_exactly(ApiKey::FindCoordinator, 0..=6, |version| {
        if version < 4 {
            return FindCoordinatorResponse::default().with_host(text("host"));
        }
        let coordinator =
            find_coordinator_response::Coordinator::default().with_key(text("g")).with_host(text("h"));
        FindCoordinatorResponse::default().with_coordinators(vec![coordinator])
    });
    answers_walk_exactly(ApiKey::ApiVersions, 0..=4, |version| {
        let key = api_versions_response::ApiVersion::default().with_api_key(3).with_max_version(9);
        let answer = ApiVersionsResponse::default().with_api_keys(vec![key.clone(), key]);
        if version < 3 {
            return answer;
        }
        let feature = api_versions_response::FinalizedFeatureKey::default().with_name(text("f"));
        let supported = api_versions_response::SupportedFeatureKey::default().with_name(text("f"));
        answer
            .with_finalized_features(vec![feature])
            .with_supported_features(vec![supported])
            .with_finalized_features_epoch(5)
    });
    answers_walk_exactly(ApiKey::DescribeConfigs, 1..=4, |_| {
        use describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        };
        let synonym = DescribeConfigsSynonym::default().with_name(text("s"));
        let config =
            DescribeConfigsResourceResult::default().with_name(text("n")).with_synonyms(vec![synonym]);
        let result =
            DescribeConfigsResult::default().with_resource_name(text("t")).with_configs(vec![config]);
        DescribeConfigsResponse::default().with_results(vec![result])
    });
    answers_walk_exactly(ApiKey::CreateTopics, 2..=7, |version| {
        use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
        let mut result = CreatableTopicResult::default().with_name(topic("t"));
        if version >= 5 {
            result.configs = Some(vec![CreatableTopicConfigs::default().with_name(text("c"))]);
            result.topic_config_error_code = 29;
        }
        CreateTopicsResponse::default().with_topics(vec![result])
    });
    answers_walk_exactly(ApiKey::DeleteTopics, 1..=6, |_| {
        let result = delete_topics_response::DeletableTopicResult::default().with_name(Some(topic("t")));
        DeleteTopicsResponse::default().with_responses(vec![result])
    });
    answers_walk_exactly(ApiKey::DeleteGroups, 0..=2, |_| {
        let result =
            delete_groups_response::DeletableGroupResult::default().with_group_id(GroupId(text("g")));
        DeleteGroupsResponse::default().with_results(vec![result])
    });
    answers_walk_exactly(ApiKey::SaslHandshake, 0..=1, |_| {
        SaslHandshakeResponse::default().with_mechanisms(vec![text("PLAIN"), text("SCRAM-SHA-256")])
    });
    answers_walk_exactly(ApiKey::SaslAuthenticate, 0..=2, |_| {
        SaslAuthenticateResponse::default().with_auth_bytes("abc".into()).with_error_message(Some(text("no")))
    });
}

#[test]
fn answers_about_records_and_offsets() {
    answers_walk_exactly(ApiKey::Produce, 3..=13, |version| {
        use produce_response::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
            TopicProduceResponse,
        };
        let mut partition = PartitionProduceResponse::default().with_index(1).with_base_offset(9);
        let mut answer = ProduceResponse::default();
        if version >= 8 {
            partition.record_errors = vec![BatchIndexAndErrorMessage::default()];
        }
        if version >= 10 {
            partition.current_leader =
                LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(4);
            answer.node_endpoints =
                vec![NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(text("h"))];
        }
        let mut found =
            TopicProduceResponse::default().with_partition_responses(vec![partition.clone(), partition]);
        match version {
            13 => found.topic_id = uuid::Uuid::from_u128(7),
            _ => found.name = topic("t"),
        }
        answer.with_responses(vec![found])
    });
    answers_walk_exactly(ApiKey::ListOffsets, 1..=10, |_| {
        use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
        let partition = ListOffsetsPartitionResponse::default().with_offset(5);
        let found =
            ListOffsetsTopicResponse::default().with_name(topic("t")).with_partitions(vec![partition]);
        ListOffsetsResponse::default().with_topics(vec![found])
    });
    answers_walk_exactly(ApiKey::OffsetForLeaderEpoch, 2..=4, |_| {
        use offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
        let found = OffsetForLeaderTopicResult::default()
            .with_topic(topic("t"))
            .with_partitions(vec![EpochEndOffset::default()]);
        OffsetForLeaderEpochResponse::default().with_topics(vec![found])
    });
    answers_walk_exactly(ApiKey::OffsetCommit, 2..=9, |_| {
        use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
        let found = OffsetCommitResponseTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![OffsetCommitResponsePartition::default()]);
        OffsetCommitResponse::default().with_topics(vec![found])
    });
    answers_walk_exactly(ApiKey::OffsetFetch, 1..=9, |version| {
        use offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        };
        if version < 8 {
            let partition = OffsetFetchResponsePartition::default().with_metadata(Some(text("m")));
            let found =
                OffsetFetchResponseTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
            return OffsetFetchResponse::default().with_topics(vec![found]);
        }
        let partition = OffsetFetchResponsePartitions::default().with_metadata(Some(text("m")));
        let found =
            OffsetFetchResponseTopics::default().with_name(topic("t")).with_partitions(vec![partition]);
        let group =
            OffsetFetchResponseGroup::default().with_group_id(GroupId(text("g"))).with_topics(vec![found]);
        OffsetFetchResponse::default().with_groups(vec![group])
    });
}

#[test]
fn answers_about_groups_and_transactions() {
    answers_walk_exactly(ApiKey::JoinGroup, 0..=9, |_| {
        let member = join_group_response::JoinGroupResponseMember::default()
            .with_member_id(text("m"))
            .with_metadata("abc".into());
        JoinGroupResponse::default()
            .with_leader(text("m"))
            .with_protocol_name(Some(text("range")))
            .with_members(vec![member.clone(), member])
    });
    answers_walk_exactly(ApiKey::SyncGroup, 0..=5, |_| {
        SyncGroupResponse::default().with_assignment("abc".into())
    });
    answers_walk_exactly(ApiKey::Heartbeat, 0..=4, |_| HeartbeatResponse::default());
    answers_walk_exactly(ApiKey::LeaveGroup, 0..=5, |version| {
        let member = leave_group_response::MemberResponse::default().with_member_id(text("m"));
        LeaveGroupResponse::default().with_members(if version >= 3 { vec![member] } else { Vec::new() })
    });
    answers_walk_exactly(ApiKey::ConsumerGroupHeartbeat, 0..=1, |_| {
        use consumer_group_heartbeat_response::{Assignment, TopicPartitions};
        let partitions =
            TopicPartitions::default().with_topic_id(uuid::Uuid::from_u128(7)).with_partitions(vec![1, 2]);
        let assignment = Assignment::default().with_topic_partitions(vec![partitions]);
        ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text("m")))
            .with_assignment(Some(assignment))
    });
    answers_walk_exactly(ApiKey::InitProducerId, 0..=5, |_| {
        InitProducerIdResponse::default().with_producer_epoch(3)
    });
    answers_walk_exactly(ApiKey::AddPartitionsToTxn, 0..=5, |version| {
        use add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
        };
        let results = AddPartitionsToTxnTopicResult::default()
            .with_name(topic("t"))
            .with_results_by_partition(vec![AddPartitionsToTxnPartitionResult::default()]);
        if version < 4 {
            return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(vec![results]);
        }
        let result = AddPartitionsToTxnResult::default().with_topic_results(vec![results]);
        AddPartitionsToTxnResponse::default().with_results_by_transaction(vec![result])
    });
    answers_walk_exactly(ApiKey::AddOffsetsToTxn, 0..=4, |_| AddOffsetsToTxnResponse::default());
    answers_walk_exactly(ApiKey::EndTxn, 0..=5, |_| EndTxnResponse::default());
    answers_walk_exactly(ApiKey::TxnOffsetCommit, 0..=5, |_| {
        use txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic};
        let found = TxnOffsetCommitResponseTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![TxnOffsetCommitResponsePartition::default()]);
        TxnOffsetCommitResponse::default().with_topics(vec![found])
    });
}

#[test]
fn hostile_answers_are_refused_before_memory_is_reserved() {
    let refused = |api, version, bytes: &'static [u8]| {
        let decoded = decode_response::<MetadataResponse>(api, version, &mut Bytes::from_static(bytes));
        assert_eq!(decoded, Err(Malformed::Unbacked));
    };
    refused(ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff]);
    refused(ApiKey::Metadata, 12, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]);
    refused(ApiKey::DescribeAcls, 1, &[0; 64]);
    // a known tagged field whose content announces more than its size holds
    let features = [0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0];
    assert!(!is_backed(Direction::Response, ApiKey::ApiVersions, 3, &features));
}

#[test]
fn answers_to_administrators() {
    answers_walk_exactly(ApiKey::DescribeCluster, 0..=1, |_| {
        let broker = describe_cluster_response::DescribeClusterBroker::default()
            .with_broker_id(BrokerId(1))
            .with_host(text("h"))
            .with_rack(Some(text("r")));
        DescribeClusterResponse::default().with_cluster_id(text("c")).with_brokers(vec![broker])
    });
    answers_walk_exactly(ApiKey::CreatePartitions, 0..=3, |_| {
        let result = create_partitions_response::CreatePartitionsTopicResult::default()
            .with_name(topic("t"))
            .with_error_message(Some(text("no")));
        CreatePartitionsResponse::default().with_results(vec![result])
    });
    answers_walk_exactly(ApiKey::IncrementalAlterConfigs, 0..=1, |_| {
        let result = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_name(text("t"))
            .with_error_message(Some(text("no")));
        IncrementalAlterConfigsResponse::default().with_responses(vec![result.clone(), result])
    });
    answers_walk_exactly(ApiKey::DeleteRecords, 0..=2, |_| {
        use delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
        let partition = DeleteRecordsPartitionResult::default().with_low_watermark(5);
        let found =
            DeleteRecordsTopicResult::default().with_name(topic("t")).with_partitions(vec![partition]);
        DeleteRecordsResponse::default().with_topics(vec![found])
    });
    answers_walk_exactly(ApiKey::OffsetDelete, 0..=0, |_| {
        use offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
        let partition = OffsetDeleteResponsePartition::default().with_partition_index(5);
        let found =
            OffsetDeleteResponseTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        OffsetDeleteResponse::default().with_topics(vec![found])
    });
    answers_walk_exactly(ApiKey::ListGroups, 0..=5, |version| {
        let mut group = list_groups_response::ListedGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_protocol_type(text("consumer"));
        if version >= 4 {
            group.group_state = text("Stable");
        }
        if version >= 5 {
            group.group_type = text("classic");
        }
        ListGroupsResponse::default().with_groups(vec![group.clone(), group])
    });
    answers_walk_exactly(ApiKey::DescribeGroups, 0..=6, |version| {
        use describe_groups_response::{DescribedGroup, DescribedGroupMember};
        let member = DescribedGroupMember::default()
            .with_member_id(text("m"))
            .with_client_id(text("c"))
            .with_member_metadata("abc".into())
            .with_member_assignment("de".into());
        let group = DescribedGroup::default().with_group_id(GroupId(text("g"))).with_members(vec![member]);
        let said = (version >= 6).then(|| text("no"));
        DescribeGroupsResponse::default().with_groups(vec![group.with_error_message(said)])
    });
    answers_walk_exactly(ApiKey::ConsumerGroupDescribe, 0..=1, |_| {
        use consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
        let partitions = TopicPartitions::default().with_topic_name(topic("t")).with_partitions(vec![1, 2]);
        let has = Assignment::default().with_topic_partitions(vec![partitions]);
        let member = Member::default()
            .with_member_id(text("m"))
            .with_subscribed_topic_names(vec![topic("t")])
            .with_assignment(has.clone())
            .with_target_assignment(has);
        let group = DescribedGroup::default().with_group_id(GroupId(text("g"))).with_members(vec![member]);
        ConsumerGroupDescribeResponse::default().with_groups(vec![group])
    });
}

#[test]
fn the_throttle_time_of_answers_that_begin_with_it() {
    fn said<A: Encodable>(api: ApiKey, version: i16, answer: &A) -> Option<u128> {
        let mut bytes = BytesMut::new();
        answer.encode(&mut bytes, version).unwrap();
        throttle_time(api, version, &bytes).map(|time| time.as_millis())
    }
    let metadata = MetadataResponse::default().with_throttle_time_ms(70);
    assert_eq!(said(ApiKey::Metadata, 13, &metadata), Some(70));
    assert_eq!(said(ApiKey::Metadata, 1, &MetadataResponse::default().with_controller_id(BrokerId(9))), None);
    assert_eq!(said(ApiKey::Heartbeat, 0, &HeartbeatResponse::default()), None);
    assert_eq!(said(ApiKey::Heartbeat, 4, &HeartbeatResponse::default().with_throttle_time_ms(5)), Some(5));
    assert_eq!(said(ApiKey::InitProducerId, 4, &InitProducerIdResponse::default()), None, "no time at all");
    assert_eq!(said(ApiKey::OffsetDelete, 0, &OffsetDeleteResponse::default().with_error_code(1)), None);
}

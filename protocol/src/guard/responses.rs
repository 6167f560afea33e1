//! Layouts of the answers, by Kafka's message schemas: for each field its versions and kind, in order. Fetch is not among them: it
//! is decoded by [`crate::wire`], which looks at every length itself.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Array, Blob, Fixed, Maybe, Struct, Structs, Tagged, Text};
use super::{Field, Layout, NEVER, f};

/// Error code and message of a feature list.
const FEATURES: &[Field] = &[f(3, 5, Text), f(3, 5, Fixed(2)), f(3, 5, Fixed(2))];
/// Index and error code of a partition.
const PARTITION_ERROR: &[Field] = &[f(0, 20, Fixed(4)), f(0, 20, Fixed(2))];
/// What a member of a group of the new protocol has.
const GROUP_ASSIGNMENT: &[Field] =
    &[f(0, 1, Structs(&[f(0, 1, Fixed(16)), f(0, 1, Text), f(0, 1, Array(&Fixed(4)))]))];
/// A topic's name and the error codes of its partitions.
const TOPIC_ERRORS: &[Field] = &[f(0, 20, Text), f(0, 20, Structs(PARTITION_ERROR))];

pub(super) const LAYOUTS: &[Layout] = &[
    (
        ApiKey::ApiVersions,
        3,
        &[
            f(0, 5, Fixed(2)),
            f(0, 5, Structs(&[f(0, 5, Fixed(2)), f(0, 5, Fixed(2)), f(0, 5, Fixed(2))])),
            f(1, 5, Fixed(4)),
            f(3, 5, Tagged(0, &Structs(FEATURES))),
            f(3, 5, Tagged(1, &Fixed(8))),
            f(3, 5, Tagged(2, &Structs(FEATURES))),
            f(3, 5, Tagged(3, &Fixed(1))),
        ],
    ),
    (
        ApiKey::Metadata,
        9,
        &[
            f(3, 13, Fixed(4)),
            f(0, 13, Structs(&[f(0, 13, Fixed(4)), f(0, 13, Text), f(0, 13, Fixed(4)), f(1, 13, Text)])),
            f(2, 13, Text),
            f(1, 13, Fixed(4)),
            f(
                0,
                13,
                Structs(&[
                    f(0, 13, Fixed(2)),
                    f(0, 13, Text),
                    f(10, 13, Fixed(16)),
                    f(1, 13, Fixed(1)),
                    f(
                        0,
                        13,
                        Structs(&[
                            f(0, 13, Fixed(2)),
                            f(0, 13, Fixed(4)),
                            f(0, 13, Fixed(4)),
                            f(7, 13, Fixed(4)),
                            f(0, 13, Array(&Fixed(4))),
                            f(0, 13, Array(&Fixed(4))),
                            f(5, 13, Array(&Fixed(4))),
                        ]),
                    ),
                    f(8, 13, Fixed(4)),
                ]),
            ),
            f(8, 10, Fixed(4)),
            f(13, 13, Fixed(2)),
        ],
    ),
    (
        ApiKey::FindCoordinator,
        3,
        &[
            f(1, 6, Fixed(4)),
            f(0, 3, Fixed(2)),
            f(1, 3, Text),
            f(0, 3, Fixed(4)),
            f(0, 3, Text),
            f(0, 3, Fixed(4)),
            f(
                4,
                6,
                Structs(&[
                    f(4, 6, Text),
                    f(4, 6, Fixed(4)),
                    f(4, 6, Text),
                    f(4, 6, Fixed(4)),
                    f(4, 6, Fixed(2)),
                    f(4, 6, Text),
                ]),
            ),
        ],
    ),
    (
        ApiKey::Produce,
        9,
        &[
            f(
                0,
                13,
                Structs(&[
                    f(0, 12, Text),
                    f(13, 13, Fixed(16)),
                    f(
                        0,
                        13,
                        Structs(&[
                            f(0, 13, Fixed(4)),
                            f(0, 13, Fixed(2)),
                            f(0, 13, Fixed(8)),
                            f(2, 13, Fixed(8)),
                            f(5, 13, Fixed(8)),
                            f(8, 13, Structs(&[f(8, 13, Fixed(4)), f(8, 13, Text)])),
                            f(8, 13, Text),
                            f(10, 13, Tagged(0, &Struct(&[f(10, 13, Fixed(4)), f(10, 13, Fixed(4))]))),
                        ]),
                    ),
                ]),
            ),
            f(1, 13, Fixed(4)),
            f(
                10,
                13,
                Tagged(
                    0,
                    &Structs(&[f(10, 13, Fixed(4)), f(10, 13, Text), f(10, 13, Fixed(4)), f(10, 13, Text)]),
                ),
            ),
        ],
    ),
    (
        ApiKey::ListOffsets,
        6,
        &[
            f(2, 11, Fixed(4)),
            f(
                0,
                11,
                Structs(&[
                    f(0, 11, Text),
                    f(
                        0,
                        11,
                        Structs(&[
                            f(0, 11, Fixed(4)),
                            f(0, 11, Fixed(2)),
                            f(0, 0, Array(&Fixed(8))),
                            f(1, 11, Fixed(8)),
                            f(1, 11, Fixed(8)),
                            f(4, 11, Fixed(4)),
                        ]),
                    ),
                ]),
            ),
        ],
    ),
    (
        ApiKey::OffsetForLeaderEpoch,
        4,
        &[
            f(2, 4, Fixed(4)),
            f(
                0,
                4,
                Structs(&[
                    f(0, 4, Text),
                    f(
                        0,
                        4,
                        Structs(&[
                            f(0, 4, Fixed(2)),
                            f(0, 4, Fixed(4)),
                            f(1, 4, Fixed(4)),
                            f(0, 4, Fixed(8)),
                        ]),
                    ),
                ]),
            ),
        ],
    ),
    (
        ApiKey::OffsetCommit,
        8,
        &[
            f(3, 10, Fixed(4)),
            f(0, 10, Structs(&[f(0, 9, Text), f(10, 10, Fixed(16)), f(0, 10, Structs(PARTITION_ERROR))])),
        ],
    ),
    (
        ApiKey::OffsetFetch,
        6,
        &[
            f(3, 10, Fixed(4)),
            f(
                0,
                7,
                Structs(&[
                    f(0, 7, Text),
                    f(
                        0,
                        7,
                        Structs(&[
                            f(0, 7, Fixed(4)),
                            f(0, 7, Fixed(8)),
                            f(5, 7, Fixed(4)),
                            f(0, 7, Text),
                            f(0, 7, Fixed(2)),
                        ]),
                    ),
                ]),
            ),
            f(2, 7, Fixed(2)),
            f(
                8,
                10,
                Structs(&[
                    f(8, 10, Text),
                    f(
                        8,
                        10,
                        Structs(&[
                            f(8, 9, Text),
                            f(10, 10, Fixed(16)),
                            f(
                                8,
                                10,
                                Structs(&[
                                    f(8, 10, Fixed(4)),
                                    f(8, 10, Fixed(8)),
                                    f(8, 10, Fixed(4)),
                                    f(8, 10, Text),
                                    f(8, 10, Fixed(2)),
                                ]),
                            ),
                        ]),
                    ),
                    f(8, 10, Fixed(2)),
                ]),
            ),
        ],
    ),
    (
        ApiKey::JoinGroup,
        6,
        &[
            f(2, 9, Fixed(4)),
            f(0, 9, Fixed(2)),
            f(0, 9, Fixed(4)),
            f(7, 9, Text),
            f(0, 9, Text),
            f(0, 9, Text),
            f(9, 9, Fixed(1)),
            f(0, 9, Text),
            f(0, 9, Structs(&[f(0, 9, Text), f(5, 9, Text), f(0, 9, Blob)])),
        ],
    ),
    (
        ApiKey::SyncGroup,
        4,
        &[f(1, 5, Fixed(4)), f(0, 5, Fixed(2)), f(5, 5, Text), f(5, 5, Text), f(0, 5, Blob)],
    ),
    (ApiKey::Heartbeat, 4, &[f(1, 4, Fixed(4)), f(0, 4, Fixed(2))]),
    (
        ApiKey::LeaveGroup,
        4,
        &[
            f(1, 5, Fixed(4)),
            f(0, 5, Fixed(2)),
            f(3, 5, Structs(&[f(3, 5, Text), f(3, 5, Text), f(3, 5, Fixed(2))])),
        ],
    ),
    (
        ApiKey::ConsumerGroupHeartbeat,
        0,
        &[
            f(0, 1, Fixed(4)),
            f(0, 1, Fixed(2)),
            f(0, 1, Text),
            f(0, 1, Text),
            f(0, 1, Fixed(4)),
            f(0, 1, Fixed(4)),
            f(0, 1, Maybe(&[f(0, 1, Structs(&[f(0, 1, Fixed(16)), f(0, 1, Array(&Fixed(4)))]))])),
        ],
    ),
    (
        ApiKey::InitProducerId,
        2,
        &[
            f(0, 6, Fixed(4)),
            f(0, 6, Fixed(2)),
            f(0, 6, Fixed(8)),
            f(0, 6, Fixed(2)),
            f(6, 6, Fixed(8)),
            f(6, 6, Fixed(2)),
        ],
    ),
    (
        ApiKey::AddPartitionsToTxn,
        3,
        &[
            f(0, 5, Fixed(4)),
            f(4, 5, Fixed(2)),
            f(4, 5, Structs(&[f(4, 5, Text), f(4, 5, Structs(TOPIC_ERRORS))])),
            f(0, 3, Structs(TOPIC_ERRORS)),
        ],
    ),
    (ApiKey::AddOffsetsToTxn, 3, &[f(0, 4, Fixed(4)), f(0, 4, Fixed(2))]),
    (ApiKey::EndTxn, 3, &[f(0, 5, Fixed(4)), f(0, 5, Fixed(2)), f(5, 5, Fixed(8)), f(5, 5, Fixed(2))]),
    (ApiKey::TxnOffsetCommit, 3, &[f(0, 5, Fixed(4)), f(0, 5, Structs(TOPIC_ERRORS))]),
    (
        ApiKey::CreateTopics,
        5,
        &[
            f(2, 7, Fixed(4)),
            f(
                0,
                7,
                Structs(&[
                    f(0, 7, Text),
                    f(7, 7, Fixed(16)),
                    f(0, 7, Fixed(2)),
                    f(1, 7, Text),
                    f(5, 7, Fixed(4)),
                    f(5, 7, Fixed(2)),
                    f(
                        5,
                        7,
                        Structs(&[
                            f(5, 7, Text),
                            f(5, 7, Text),
                            f(5, 7, Fixed(1)),
                            f(5, 7, Fixed(1)),
                            f(5, 7, Fixed(1)),
                        ]),
                    ),
                    f(5, 7, Tagged(0, &Fixed(2))),
                ]),
            ),
        ],
    ),
    (
        ApiKey::DeleteTopics,
        4,
        &[
            f(1, 6, Fixed(4)),
            f(0, 6, Structs(&[f(0, 6, Text), f(6, 6, Fixed(16)), f(0, 6, Fixed(2)), f(5, 6, Text)])),
        ],
    ),
    (ApiKey::DeleteGroups, 2, &[f(0, 2, Fixed(4)), f(0, 2, Structs(&[f(0, 2, Text), f(0, 2, Fixed(2))]))]),
    (
        ApiKey::DescribeConfigs,
        4,
        &[
            f(0, 4, Fixed(4)),
            f(
                0,
                4,
                Structs(&[
                    f(0, 4, Fixed(2)),
                    f(0, 4, Text),
                    f(0, 4, Fixed(1)),
                    f(0, 4, Text),
                    f(
                        0,
                        4,
                        Structs(&[
                            f(0, 4, Text),
                            f(0, 4, Text),
                            f(0, 4, Fixed(1)),
                            f(0, 4, Fixed(1)),
                            f(0, 4, Fixed(1)),
                            f(1, 4, Structs(&[f(1, 4, Text), f(1, 4, Text), f(1, 4, Fixed(1))])),
                            f(3, 4, Fixed(1)),
                            f(3, 4, Text),
                        ]),
                    ),
                ]),
            ),
        ],
    ),
    (ApiKey::SaslHandshake, NEVER, &[f(0, 1, Fixed(2)), f(0, 1, Array(&Text))]),
    (ApiKey::SaslAuthenticate, 2, &[f(0, 2, Fixed(2)), f(0, 2, Text), f(0, 2, Blob), f(1, 2, Fixed(8))]),
    (
        ApiKey::DescribeGroups,
        5,
        &[
            f(1, 6, Fixed(4)),
            f(
                0,
                6,
                Structs(&[
                    f(0, 6, Fixed(2)),
                    f(6, 6, Text),
                    f(0, 6, Text),
                    f(0, 6, Text),
                    f(0, 6, Text),
                    f(0, 6, Text),
                    f(
                        0,
                        6,
                        Structs(&[
                            f(0, 6, Text),
                            f(4, 6, Text),
                            f(0, 6, Text),
                            f(0, 6, Text),
                            f(0, 6, Blob),
                            f(0, 6, Blob),
                        ]),
                    ),
                    f(3, 6, Fixed(4)),
                ]),
            ),
        ],
    ),
    (
        ApiKey::ConsumerGroupDescribe,
        0,
        &[
            f(0, 1, Fixed(4)),
            f(
                0,
                1,
                Structs(&[
                    f(0, 1, Fixed(2)),
                    f(0, 1, Text),
                    f(0, 1, Text),
                    f(0, 1, Text),
                    f(0, 1, Fixed(4)),
                    f(0, 1, Fixed(4)),
                    f(0, 1, Text),
                    f(
                        0,
                        1,
                        Structs(&[
                            f(0, 1, Text),
                            f(0, 1, Text),
                            f(0, 1, Text),
                            f(0, 1, Fixed(4)),
                            f(0, 1, Text),
                            f(0, 1, Text),
                            f(0, 1, Array(&Text)),
                            f(0, 1, Text),
                            f(0, 1, Struct(GROUP_ASSIGNMENT)),
                            f(0, 1, Struct(GROUP_ASSIGNMENT)),
                            f(1, 1, Fixed(1)),
                        ]),
                    ),
                    f(0, 1, Fixed(4)),
                ]),
            ),
        ],
    ),
    (
        ApiKey::ListGroups,
        3,
        &[
            f(1, 5, Fixed(4)),
            f(0, 5, Fixed(2)),
            f(0, 5, Structs(&[f(0, 5, Text), f(0, 5, Text), f(4, 5, Text), f(5, 5, Text)])),
        ],
    ),
    (
        ApiKey::DeleteRecords,
        2,
        &[
            f(0, 2, Fixed(4)),
            f(
                0,
                2,
                Structs(&[
                    f(0, 2, Text),
                    f(0, 2, Structs(&[f(0, 2, Fixed(4)), f(0, 2, Fixed(8)), f(0, 2, Fixed(2))])),
                ]),
            ),
        ],
    ),
    (
        ApiKey::CreatePartitions,
        2,
        &[f(0, 3, Fixed(4)), f(0, 3, Structs(&[f(0, 3, Text), f(0, 3, Fixed(2)), f(0, 3, Text)]))],
    ),
    (
        ApiKey::IncrementalAlterConfigs,
        1,
        &[
            f(0, 1, Fixed(4)),
            f(0, 1, Structs(&[f(0, 1, Fixed(2)), f(0, 1, Text), f(0, 1, Fixed(1)), f(0, 1, Text)])),
        ],
    ),
    (
        ApiKey::OffsetDelete,
        NEVER,
        &[
            f(0, 0, Fixed(2)),
            f(0, 0, Fixed(4)),
            f(0, 0, Structs(&[f(0, 0, Text), f(0, 0, Structs(&[f(0, 0, Fixed(4)), f(0, 0, Fixed(2))]))])),
        ],
    ),
    (
        ApiKey::DescribeCluster,
        0,
        &[
            f(0, 2, Fixed(4)),
            f(0, 2, Fixed(2)),
            f(0, 2, Text),
            f(1, 2, Fixed(1)),
            f(0, 2, Text),
            f(0, 2, Fixed(4)),
            f(
                0,
                2,
                Structs(&[
                    f(0, 2, Fixed(4)),
                    f(0, 2, Text),
                    f(0, 2, Fixed(4)),
                    f(0, 2, Text),
                    f(2, 2, Fixed(1)),
                ]),
            ),
            f(0, 2, Fixed(4)),
        ],
    ),
];

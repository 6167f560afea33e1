//! Layouts of the requests, by Kafka's message schemas: for each field its versions and kind, in order.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Array, Blob, Fixed, Maybe, Struct, Structs, Tagged, Text};
use super::{Layout, NEVER, f};

pub(super) const LAYOUTS: &[Layout] = &[
    (
        ApiKey::Produce,
        9,
        &[
            f(3, 13, Text),
            f(3, 13, Fixed(2)),
            f(3, 13, Fixed(4)),
            f(
                3,
                13,
                Structs(&[
                    f(3, 12, Text),
                    f(13, 13, Fixed(16)),
                    f(3, 13, Structs(&[f(3, 13, Fixed(4)), f(3, 13, Blob)])),
                ]),
            ),
        ],
    ),
    (
        ApiKey::Fetch,
        12,
        &[
            f(4, 14, Fixed(4)),
            f(4, 18, Fixed(4)),
            f(4, 18, Fixed(4)),
            f(4, 18, Fixed(4)),
            f(4, 18, Fixed(1)),
            f(7, 18, Fixed(4)),
            f(7, 18, Fixed(4)),
            f(
                4,
                18,
                Structs(&[
                    f(4, 12, Text),
                    f(13, 18, Fixed(16)),
                    f(
                        4,
                        18,
                        Structs(&[
                            f(4, 18, Fixed(4)),
                            f(9, 18, Fixed(4)),
                            f(4, 18, Fixed(8)),
                            f(12, 18, Fixed(4)),
                            f(5, 18, Fixed(8)),
                            f(4, 18, Fixed(4)),
                            f(17, 18, Tagged(0, &Fixed(16))),
                            f(18, 18, Tagged(1, &Fixed(8))),
                        ]),
                    ),
                ]),
            ),
            f(7, 18, Structs(&[f(7, 12, Text), f(13, 18, Fixed(16)), f(7, 18, Array(&Fixed(4)))])),
            f(11, 18, Text),
            f(12, 18, Tagged(0, &Text)),
            f(15, 18, Tagged(1, &Struct(&[f(15, 18, Fixed(4)), f(15, 18, Fixed(8))]))),
        ],
    ),
    (
        ApiKey::ListOffsets,
        6,
        &[
            f(1, 10, Fixed(4)),
            f(2, 10, Fixed(1)),
            f(
                1,
                10,
                Structs(&[
                    f(1, 10, Text),
                    f(1, 10, Structs(&[f(1, 10, Fixed(4)), f(4, 10, Fixed(4)), f(1, 10, Fixed(8))])),
                ]),
            ),
            f(10, 10, Fixed(4)),
        ],
    ),
    (
        ApiKey::Metadata,
        9,
        &[
            f(0, 13, Structs(&[f(10, 13, Fixed(16)), f(0, 13, Text)])),
            f(4, 13, Fixed(1)),
            f(8, 10, Fixed(1)),
            f(8, 13, Fixed(1)),
        ],
    ),
    (ApiKey::FindCoordinator, 3, &[f(0, 3, Text), f(1, 6, Fixed(1)), f(4, 6, Array(&Text))]),
    (ApiKey::ApiVersions, 3, &[f(3, 4, Text), f(3, 4, Text)]),
    (
        ApiKey::CreateTopics,
        5,
        &[
            f(
                2,
                7,
                Structs(&[
                    f(2, 7, Text),
                    f(2, 7, Fixed(4)),
                    f(2, 7, Fixed(2)),
                    f(2, 7, Structs(&[f(2, 7, Fixed(4)), f(2, 7, Array(&Fixed(4)))])),
                    f(2, 7, Structs(&[f(2, 7, Text), f(2, 7, Text)])),
                ]),
            ),
            f(2, 7, Fixed(4)),
            f(2, 7, Fixed(1)),
        ],
    ),
    (
        ApiKey::DeleteTopics,
        4,
        &[f(6, 6, Structs(&[f(6, 6, Text), f(6, 6, Fixed(16))])), f(1, 5, Array(&Text)), f(1, 6, Fixed(4))],
    ),
    (
        ApiKey::OffsetCommit,
        8,
        &[
            f(2, 9, Text),
            f(2, 9, Fixed(4)),
            f(2, 9, Text),
            f(7, 9, Text),
            f(2, 4, Fixed(8)),
            f(
                2,
                9,
                Structs(&[
                    f(2, 9, Text),
                    f(
                        2,
                        9,
                        Structs(&[f(2, 9, Fixed(4)), f(2, 9, Fixed(8)), f(6, 9, Fixed(4)), f(2, 9, Text)]),
                    ),
                ]),
            ),
        ],
    ),
    (
        ApiKey::OffsetFetch,
        6,
        &[
            f(1, 7, Text),
            f(1, 7, Structs(&[f(1, 7, Text), f(1, 7, Array(&Fixed(4)))])),
            f(
                8,
                9,
                Structs(&[
                    f(8, 9, Text),
                    f(9, 9, Text),
                    f(9, 9, Fixed(4)),
                    f(8, 9, Structs(&[f(8, 9, Text), f(8, 9, Array(&Fixed(4)))])),
                ]),
            ),
            f(7, 9, Fixed(1)),
        ],
    ),
    (
        ApiKey::JoinGroup,
        6,
        &[
            f(0, 9, Text),
            f(0, 9, Fixed(4)),
            f(1, 9, Fixed(4)),
            f(0, 9, Text),
            f(5, 9, Text),
            f(0, 9, Text),
            f(0, 9, Structs(&[f(0, 9, Text), f(0, 9, Blob)])),
            f(8, 9, Text),
        ],
    ),
    (ApiKey::Heartbeat, 4, &[f(0, 4, Text), f(0, 4, Fixed(4)), f(0, 4, Text), f(3, 4, Text)]),
    (
        ApiKey::LeaveGroup,
        4,
        &[f(0, 5, Text), f(0, 2, Text), f(3, 5, Structs(&[f(3, 5, Text), f(3, 5, Text), f(5, 5, Text)]))],
    ),
    (
        ApiKey::SyncGroup,
        4,
        &[
            f(0, 5, Text),
            f(0, 5, Fixed(4)),
            f(0, 5, Text),
            f(3, 5, Text),
            f(5, 5, Text),
            f(5, 5, Text),
            f(0, 5, Structs(&[f(0, 5, Text), f(0, 5, Blob)])),
        ],
    ),
    (ApiKey::DescribeGroups, 5, &[f(0, 6, Array(&Text)), f(3, 6, Fixed(1))]),
    (ApiKey::ListGroups, 3, &[f(4, 5, Array(&Text)), f(5, 5, Array(&Text))]),
    (
        ApiKey::DeleteRecords,
        2,
        &[
            f(0, 2, Structs(&[f(0, 2, Text), f(0, 2, Structs(&[f(0, 2, Fixed(4)), f(0, 2, Fixed(8))]))])),
            f(0, 2, Fixed(4)),
        ],
    ),
    (ApiKey::InitProducerId, 2, &[f(0, 5, Text), f(0, 5, Fixed(4)), f(3, 5, Fixed(8)), f(3, 5, Fixed(2))]),
    (
        ApiKey::OffsetForLeaderEpoch,
        4,
        &[
            f(3, 4, Fixed(4)),
            f(
                2,
                4,
                Structs(&[
                    f(2, 4, Text),
                    f(2, 4, Structs(&[f(2, 4, Fixed(4)), f(2, 4, Fixed(4)), f(2, 4, Fixed(4))])),
                ]),
            ),
        ],
    ),
    (
        ApiKey::AddPartitionsToTxn,
        3,
        &[
            f(
                4,
                5,
                Structs(&[
                    f(4, 5, Text),
                    f(4, 5, Fixed(8)),
                    f(4, 5, Fixed(2)),
                    f(4, 5, Fixed(1)),
                    f(4, 5, Structs(&[f(0, 5, Text), f(0, 5, Array(&Fixed(4)))])),
                ]),
            ),
            f(0, 3, Text),
            f(0, 3, Fixed(8)),
            f(0, 3, Fixed(2)),
            f(0, 3, Structs(&[f(0, 5, Text), f(0, 5, Array(&Fixed(4)))])),
        ],
    ),
    (ApiKey::AddOffsetsToTxn, 3, &[f(0, 4, Text), f(0, 4, Fixed(8)), f(0, 4, Fixed(2)), f(0, 4, Text)]),
    (ApiKey::EndTxn, 3, &[f(0, 5, Text), f(0, 5, Fixed(8)), f(0, 5, Fixed(2)), f(0, 5, Fixed(1))]),
    (
        ApiKey::WriteTxnMarkers,
        0,
        &[f(
            1,
            1,
            Structs(&[
                f(1, 1, Fixed(8)),
                f(1, 1, Fixed(2)),
                f(1, 1, Fixed(1)),
                f(1, 1, Structs(&[f(1, 1, Text), f(1, 1, Array(&Fixed(4)))])),
                f(1, 1, Fixed(4)),
            ]),
        )],
    ),
    (
        ApiKey::TxnOffsetCommit,
        3,
        &[
            f(0, 5, Text),
            f(0, 5, Text),
            f(0, 5, Fixed(8)),
            f(0, 5, Fixed(2)),
            f(3, 5, Fixed(4)),
            f(3, 5, Text),
            f(3, 5, Text),
            f(
                0,
                5,
                Structs(&[
                    f(0, 5, Text),
                    f(
                        0,
                        5,
                        Structs(&[f(0, 5, Fixed(4)), f(0, 5, Fixed(8)), f(2, 5, Fixed(4)), f(0, 5, Text)]),
                    ),
                ]),
            ),
        ],
    ),
    (
        ApiKey::DescribeAcls,
        2,
        &[
            f(1, 3, Fixed(1)),
            f(1, 3, Text),
            f(1, 3, Fixed(1)),
            f(1, 3, Text),
            f(1, 3, Text),
            f(1, 3, Fixed(1)),
            f(1, 3, Fixed(1)),
        ],
    ),
    (
        ApiKey::CreateAcls,
        2,
        &[f(
            1,
            3,
            Structs(&[
                f(1, 3, Fixed(1)),
                f(1, 3, Text),
                f(1, 3, Fixed(1)),
                f(1, 3, Text),
                f(1, 3, Text),
                f(1, 3, Fixed(1)),
                f(1, 3, Fixed(1)),
            ]),
        )],
    ),
    (
        ApiKey::DeleteAcls,
        2,
        &[f(
            1,
            3,
            Structs(&[
                f(1, 3, Fixed(1)),
                f(1, 3, Text),
                f(1, 3, Fixed(1)),
                f(1, 3, Text),
                f(1, 3, Text),
                f(1, 3, Fixed(1)),
                f(1, 3, Fixed(1)),
            ]),
        )],
    ),
    (
        ApiKey::DescribeConfigs,
        4,
        &[
            f(1, 4, Structs(&[f(1, 4, Fixed(1)), f(1, 4, Text), f(1, 4, Array(&Text))])),
            f(1, 4, Fixed(1)),
            f(3, 4, Fixed(1)),
        ],
    ),
    (
        ApiKey::AlterConfigs,
        2,
        &[
            f(
                0,
                2,
                Structs(&[
                    f(0, 2, Fixed(1)),
                    f(0, 2, Text),
                    f(0, 2, Structs(&[f(0, 2, Text), f(0, 2, Text)])),
                ]),
            ),
            f(0, 2, Fixed(1)),
        ],
    ),
    (ApiKey::DescribeLogDirs, 2, &[f(1, 4, Structs(&[f(1, 4, Text), f(1, 4, Array(&Fixed(4)))]))]),
    (
        ApiKey::CreatePartitions,
        2,
        &[
            f(
                0,
                3,
                Structs(&[f(0, 3, Text), f(0, 3, Fixed(4)), f(0, 3, Structs(&[f(0, 3, Array(&Fixed(4)))]))]),
            ),
            f(0, 3, Fixed(4)),
            f(0, 3, Fixed(1)),
        ],
    ),
    (ApiKey::DeleteGroups, 2, &[f(0, 2, Array(&Text))]),
    (
        ApiKey::IncrementalAlterConfigs,
        1,
        &[
            f(
                0,
                1,
                Structs(&[
                    f(0, 1, Fixed(1)),
                    f(0, 1, Text),
                    f(0, 1, Structs(&[f(0, 1, Text), f(0, 1, Fixed(1)), f(0, 1, Text)])),
                ]),
            ),
            f(0, 1, Fixed(1)),
        ],
    ),
    (
        ApiKey::ListPartitionReassignments,
        0,
        &[f(0, 0, Fixed(4)), f(0, 0, Structs(&[f(0, 0, Text), f(0, 0, Array(&Fixed(4)))]))],
    ),
    (
        ApiKey::OffsetDelete,
        NEVER,
        &[f(0, 0, Text), f(0, 0, Structs(&[f(0, 0, Text), f(0, 0, Structs(&[f(0, 0, Fixed(4))]))]))],
    ),
    (ApiKey::DescribeCluster, 0, &[f(0, 2, Fixed(1)), f(1, 2, Fixed(1)), f(2, 2, Fixed(1))]),
    (ApiKey::DescribeProducers, 0, &[f(0, 0, Structs(&[f(0, 0, Text), f(0, 0, Array(&Fixed(4)))]))]),
    (ApiKey::DescribeTransactions, 0, &[f(0, 0, Array(&Text))]),
    (
        ApiKey::ListTransactions,
        0,
        &[f(0, 2, Array(&Text)), f(0, 2, Array(&Fixed(8))), f(1, 2, Fixed(8)), f(2, 2, Text)],
    ),
    (
        ApiKey::ConsumerGroupHeartbeat,
        0,
        &[
            f(0, 1, Text),
            f(0, 1, Text),
            f(0, 1, Fixed(4)),
            f(0, 1, Text),
            f(0, 1, Text),
            f(0, 1, Fixed(4)),
            f(0, 1, Array(&Text)),
            f(1, 1, Text),
            f(0, 1, Text),
            f(0, 1, Structs(&[f(0, 1, Fixed(16)), f(0, 1, Array(&Fixed(4)))])),
        ],
    ),
    (ApiKey::ConsumerGroupDescribe, 0, &[f(0, 1, Array(&Text)), f(0, 1, Fixed(1))]),
    (
        ApiKey::DescribeTopicPartitions,
        0,
        &[
            f(0, 0, Structs(&[f(0, 0, Text)])),
            f(0, 0, Fixed(4)),
            f(0, 0, Maybe(&[f(0, 0, Text), f(0, 0, Fixed(4))])),
        ],
    ),
];

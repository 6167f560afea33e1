//! Kafka's documented assignments, the bytes as the generated codec makes them, and what must hold for any group.

use bytes::BytesMut;
use kafka_protocol::messages::consumer_protocol_assignment as generated_assignment;
use kafka_protocol::messages::consumer_protocol_subscription as generated_subscription;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::*;

fn topics(counts: &[(&str, i32)]) -> PartitionCounts {
    counts.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
}

fn partition(text: &str) -> TopicPartition {
    let (topic, partition) = text.rsplit_once('-').unwrap();
    TopicPartition::new(topic, partition.parse().unwrap())
}

fn partitions(text: &str) -> Vec<TopicPartition> {
    text.split_whitespace().map(partition).collect()
}

fn member(assignor: Assignor, id: &str, wanted: &str, owned: &str, generation: i32) -> Member {
    let wanted: Vec<Arc<str>> = wanted.split_whitespace().map(Arc::from).collect();
    let had = partitions(owned);
    let owned = if assignor == Assignor::CooperativeSticky { &had[..] } else { &[] };
    let subscription = assignor.subscription(&wanted, owned, &had, generation, None);
    // Through the wire and back, as the leader gets it.
    Member::decode(id, None, subscription.encode()).unwrap()
}

fn shown(assignment: &GroupAssignment) -> Vec<String> {
    let show = |(member, partitions): (&String, &Vec<TopicPartition>)| {
        let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        format!("{member}: {}", partitions.join(" "))
    };
    assignment.iter().map(show).collect()
}

/// The examples in the documentation of the JVM's `RangeAssignor` and `RoundRobinAssignor`.
#[test]
fn documented_examples() {
    let counts = topics(&[("t0", 3), ("t1", 3)]);
    let group = |assignor| [member(assignor, "C0", "t0 t1", "", -1), member(assignor, "C1", "t0 t1", "", -1)];
    assert_eq!(
        shown(&Assignor::Range.assign(&counts, &group(Assignor::Range))),
        ["C0: t0-0 t0-1 t1-0 t1-1", "C1: t0-2 t1-2"]
    );
    assert_eq!(
        shown(&Assignor::RoundRobin.assign(&counts, &group(Assignor::RoundRobin))),
        ["C0: t0-0 t0-2 t1-1", "C1: t0-1 t1-0 t1-2"]
    );
    let counts = topics(&[("t0", 1), ("t1", 2), ("t2", 3)]);
    let group = |assignor| {
        [
            member(assignor, "C0", "t0", "", -1),
            member(assignor, "C1", "t0 t1", "", -1),
            member(assignor, "C2", "t0 t1 t2", "", -1),
        ]
    };
    assert_eq!(
        shown(&Assignor::RoundRobin.assign(&counts, &group(Assignor::RoundRobin))),
        ["C0: t0-0", "C1: t1-0", "C2: t1-1 t2-0 t2-1 t2-2"]
    );
    assert_eq!(
        shown(&Assignor::Sticky.assign(&counts, &group(Assignor::Sticky))),
        ["C0: t0-0", "C1: t1-0 t1-1", "C2: t2-0 t2-1 t2-2"]
    );
}

#[test]
fn static_members_keep_their_place() {
    let counts = topics(&[("t", 3)]);
    let mut members = ["z9", "a1", "b2"].map(|id| member(Assignor::Range, id, "t", "", -1)).to_vec();
    members[0].instance_id = Some("i1".to_owned());
    members[2].instance_id = Some("i0".to_owned());
    let expected = ["a1: t-2", "b2: t-0", "z9: t-1"];
    assert_eq!(shown(&Assignor::Range.assign(&counts, &members)), expected);
}

/// The example in the documentation of the JVM's `StickyAssignor`: C1 of three leaves.
#[test]
fn sticky_moves_only_what_lost_its_owner() {
    let counts = topics(&[("t0", 2), ("t1", 2), ("t2", 2), ("t3", 2)]);
    let wanted = "t0 t1 t2 t3";
    let members = [
        member(Assignor::Sticky, "C0", wanted, "t0-0 t1-1 t3-0", 5),
        member(Assignor::Sticky, "C2", wanted, "t1-0 t2-1", 5),
    ];
    assert_eq!(
        shown(&Assignor::Sticky.assign(&counts, &members)),
        ["C0: t0-0 t0-1 t1-1 t3-0", "C2: t1-0 t2-0 t2-1 t3-1"]
    );
}

#[test]
fn later_generations_have_the_better_claim() {
    for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
        let counts = topics(&[("t", 4)]);
        let members = [member(assignor, "a", "t", "t-0 t-1", 4), member(assignor, "b", "t", "t-1 t-2", 5)];
        let assignment = sticky::assign(
            &counts,
            &members,
            if assignor == Assignor::Sticky {
                sticky::Claims::UserData
            } else {
                sticky::Claims::OwnedPartitions
            },
        );
        assert_eq!(assignment["b"], partitions("t-1 t-2"));
    }
}

#[test]
fn cooperative_members_get_what_moves_a_round_later() {
    let counts = topics(&[("t", 4)]);
    let assignor = Assignor::CooperativeSticky;
    let members = [member(assignor, "a", "t", "t-0 t-1 t-2 t-3", 1), member(assignor, "b", "t", "", -1)];
    let first = assignor.assign(&counts, &members);
    assert_eq!(shown(&first), ["a: t-0 t-1", "b: "]);
    let members = [member(assignor, "a", "t", "t-0 t-1", 2), member(assignor, "b", "t", "", 2)];
    assert_eq!(shown(&assignor.assign(&counts, &members)), ["a: t-0 t-1", "b: t-2 t-3"]);
}

#[test]
fn bytes_are_those_of_the_generated_codec() {
    let subscription = Assignor::CooperativeSticky.subscription(
        &["b".into(), "a".into()],
        &partitions("b-1 a-0 b-0"),
        &[],
        7,
        Some("rack1"),
    );
    let owned = |topic: &'static str, partitions: &[i32]| {
        generated_subscription::TopicPartition::default()
            .with_topic(TopicName(StrBytes::from_static_str(topic)))
            .with_partitions(partitions.to_vec())
    };
    let mut bytes = BytesMut::from(&3i16.to_be_bytes()[..]);
    ConsumerProtocolSubscription::default()
        .with_topics(vec![StrBytes::from_static_str("a"), StrBytes::from_static_str("b")])
        .with_user_data(Some(Bytes::from_static(&[0, 0, 0, 7])))
        .with_owned_partitions(vec![owned("a", &[0]), owned("b", &[0, 1])])
        .with_generation_id(7)
        .with_rack_id(Some(StrBytes::from_static_str("rack1")))
        .encode(&mut bytes, 3)
        .unwrap();
    assert_eq!(subscription.encode(), bytes);

    let assignment = Assignment { partitions: partitions("a-0 b-2"), user_data: None };
    let assigned = |topic: &'static str, partition| {
        generated_assignment::TopicPartition::default()
            .with_topic(TopicName(StrBytes::from_static_str(topic)))
            .with_partitions(vec![partition])
    };
    let mut bytes = BytesMut::from(&3i16.to_be_bytes()[..]);
    ConsumerProtocolAssignment::default()
        .with_assigned_partitions(vec![assigned("a", 0), assigned("b", 2)])
        .encode(&mut bytes, 3)
        .unwrap();
    assert_eq!(assignment.encode(), bytes);
    assert_eq!(Assignment::decode(bytes.freeze()), Ok(assignment));
    assert_eq!(Assignment::decode(Bytes::new()), Ok(Assignment::default()));
}

#[test]
fn older_versions_and_garbage() {
    for version in 0..=3 {
        let mut bytes = BytesMut::from(&i16::to_be_bytes(version)[..]);
        ConsumerProtocolSubscription::default()
            .with_topics(vec![StrBytes::from_static_str("a")])
            .with_generation_id(if version >= 2 { 9 } else { -1 })
            .encode(&mut bytes, version)
            .unwrap();
        let bytes = bytes.freeze();
        let back = Subscription::decode(bytes.clone()).unwrap();
        assert_eq!(
            (&back.topics[..], back.generation_id),
            (&["a".into()][..], if version >= 2 { 9 } else { -1 })
        );
        for len in 0..bytes.len() {
            assert!(Subscription::decode(bytes.slice(..len)).is_err());
        }
    }
    let huge = [&[0, 3][..], &i32::MAX.to_be_bytes(), &[0; 8]].concat();
    assert_eq!(Subscription::decode(huge.into()), Err(DecodeError::Length("topics")));
}

#[test]
fn names_and_classes() {
    for assignor in Assignor::ALL {
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
    }
    let class = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    assert_eq!(Assignor::from_class(class), Some(Assignor::CooperativeSticky));
    assert_eq!(Assignor::from_class("com.example.Mine"), None);
    let both = [Assignor::Range, Assignor::CooperativeSticky];
    assert_eq!(rebalance_protocol(&both), RebalanceProtocol::Eager);
    assert_eq!(rebalance_protocol(&both[1..]), RebalanceProtocol::Cooperative);
}

#[derive(Debug, Clone)]
struct Group {
    counts: PartitionCounts,
    wanted: Vec<Vec<usize>>,
}

fn any_group(same: bool) -> impl Strategy<Value = Group> {
    let counts = proptest::collection::vec(0..9i32, 1..5);
    let wanted = proptest::collection::vec(proptest::collection::btree_set(0..4usize, 1..5), 1..7);
    (counts, wanted).prop_map(move |(counts, wanted)| {
        let counts: PartitionCounts =
            counts.iter().enumerate().map(|(index, count)| (format!("t{index}").into(), *count)).collect();
        let all: Vec<usize> = (0..4).collect();
        let wanted = wanted.into_iter().map(|of| if same { all.clone() } else { of.into_iter().collect() });
        Group { counts, wanted: wanted.collect() }
    })
}

impl Group {
    fn members(&self, assignor: Assignor, before: &GroupAssignment, generation: i32) -> Vec<Member> {
        let member = |(index, wanted): (usize, &Vec<usize>)| {
            let id = format!("m{index}");
            let wanted: Vec<_> = wanted.iter().map(|topic| format!("t{topic}")).collect();
            let owned: Vec<_> = before.get(&id).into_iter().flatten().map(ToString::to_string).collect();
            member(assignor, &id, &wanted.join(" "), &owned.join(" "), generation)
        };
        self.wanted.iter().enumerate().map(member).collect()
    }

    /// Every partition that somebody wants has one owner, who wants it.
    fn check(&self, members: &[Member], assignment: &GroupAssignment) {
        let mut seen = BTreeMap::new();
        for member in members {
            for partition in &assignment[&member.id] {
                assert!(member.subscribes(&partition.topic));
                assert!(seen.insert(partition.clone(), &member.id).is_none(), "{partition} twice");
            }
        }
        for (topic, count) in &self.counts {
            let wanted = members.iter().any(|member| member.subscribes(topic));
            let given = seen.keys().filter(|partition| partition.topic == *topic).count();
            assert_eq!(given, if wanted { *count as usize } else { 0 });
        }
    }
}

fn spread(assignment: &GroupAssignment) -> usize {
    let counts = || assignment.values().map(Vec::len);
    counts().max().unwrap_or(0) - counts().min().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn everything_is_assigned_once(group in any_group(false), assignor in proptest::sample::select(Assignor::ALL.to_vec())) {
        let members = group.members(assignor, &GroupAssignment::new(), NO_GENERATION);
        group.check(&members, &assignor.assign(&group.counts, &members));
    }

    #[test]
    fn equal_members_get_equally_much(group in any_group(true)) {
        for assignor in [Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
            let members = group.members(assignor, &GroupAssignment::new(), NO_GENERATION);
            prop_assert!(spread(&assignor.assign(&group.counts, &members)) <= 1);
        }
    }

    #[test]
    fn nothing_moves_without_a_reason(group in any_group(false), same in any_group(true)) {
        for group in [group, same] {
            for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
                let members = group.members(assignor, &GroupAssignment::new(), NO_GENERATION);
                let first = assignor.assign(&group.counts, &members);
                let again = assignor.assign(&group.counts, &group.members(assignor, &first, 1));
                prop_assert_eq!(first, again);
            }
        }
    }

    #[test]
    fn a_member_that_leaves_takes_nothing_from_the_others(group in any_group(true)) {
        prop_assume!(group.wanted.len() > 1);
        let assignor = Assignor::Sticky;
        let members = group.members(assignor, &GroupAssignment::new(), NO_GENERATION);
        let first = assignor.assign(&group.counts, &members);
        let mut rest = group.members(assignor, &first, 1);
        rest.remove(0);
        let second = assignor.assign(&group.counts, &rest);
        group.check(&rest, &second);
        prop_assert!(spread(&second) <= 1);
        for member in &rest {
            for partition in &first[&member.id] {
                prop_assert!(second[&member.id].contains(partition));
            }
        }
    }

    #[test]
    fn cooperative_rebalances_converge(group in any_group(false), joined in any_group(false)) {
        let assignor = Assignor::CooperativeSticky;
        let members = group.members(assignor, &GroupAssignment::new(), NO_GENERATION);
        let mut current = assignor.assign(&group.counts, &members);
        // The group turns into another one: members and subscriptions change, the topics stay.
        let after = Group { counts: group.counts.clone(), wanted: joined.wanted };
        for generation in 1..4 {
            let members = after.members(assignor, &current, generation);
            let next = assignor.assign(&after.counts, &members);
            for (id, partitions) in &next {
                for partition in partitions {
                    let holder = current.iter().find(|(_, held)| held.contains(partition));
                    let here = holder.is_none_or(|(holder, _)| holder == id || !next.contains_key(holder));
                    prop_assert!(here, "{} given to {} while {:?} has it", partition, id, holder);
                }
            }
            current = next;
        }
        group_check_after(&after, &current);
    }
}

fn group_check_after(group: &Group, assignment: &GroupAssignment) {
    group.check(&group.members(Assignor::CooperativeSticky, assignment, 9), assignment);
}

/// A case of `golden/assignors.txt`, which `golden/Assignors.java` printed.
struct Case {
    assignor: Assignor,
    counts: PartitionCounts,
    members: Vec<Member>,
    jvm: GroupAssignment,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("../../../tests/golden/assignors.txt").lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "assignor" {
            let assignor = Assignor::from_name(rest).unwrap();
            let (counts, members, jvm) = Default::default();
            cases.push(Case { assignor, counts, members, jvm });
            continue;
        }
        let case = cases.last_mut().unwrap();
        match word {
            "topics" => {
                let count = |text: &str| {
                    let (topic, count) = text.split_once('=').unwrap();
                    (Arc::from(topic), count.parse().unwrap())
                };
                case.counts = rest.split_whitespace().map(count).collect();
            }
            "member" => {
                let (id, rest) = rest.split_once(" instance ").unwrap();
                let (instance, rest) = rest.split_once(" wants ").unwrap();
                let (wanted, rest) = rest.split_once(" had ").unwrap();
                let (had, generation) = rest.split_once(" generation ").unwrap();
                let mut member = member(case.assignor, id, wanted, had, generation.parse().unwrap());
                member.instance_id = Some(instance.to_owned()).filter(|of| !of.is_empty());
                case.members.push(member);
            }
            "gets" => {
                let (id, had) = rest.split_once(' ').unwrap_or((rest, ""));
                case.jvm.insert(id.to_owned(), partitions(had));
            }
            _ => panic!("{line}"),
        }
    }
    cases
}

/// The partitions that stay with who had them.
fn kept(case: &Case, assignment: &GroupAssignment) -> usize {
    let had = |member: &Member| match case.assignor {
        Assignor::Sticky => {
            let data = member.subscription.user_data.clone();
            data.map_or(Vec::new(), |data| protocol::read_sticky_user_data(data).unwrap().0)
        }
        _ => member.subscription.owned_partitions.clone(),
    };
    let kept = |member: &Member| had(member).iter().filter(|of| assignment[&member.id].contains(of)).count();
    case.members.iter().map(kept).sum()
}

/// Range and round robin give exactly the JVM's assignments. The sticky ones nearly always do; where they don't, theirs
/// are as balanced and keep as much.
#[test]
fn assignments_of_the_jvm() {
    let cases = cases();
    let mut equal = 0;
    for (index, case) in cases.iter().enumerate() {
        let ours = case.assignor.assign(&case.counts, &case.members);
        equal += usize::from(ours == case.jvm);
        let topics = |member: &Member| member.subscription.topics.clone();
        let same_topics = case.members.windows(2).all(|pair| topics(&pair[0]) == topics(&pair[1]));
        match case.assignor {
            Assignor::Range | Assignor::RoundRobin => assert_eq!(ours, case.jvm, "case {index}"),
            _ if same_topics => {
                assert_eq!((spread(&ours), kept(case, &ours)), (spread(&case.jvm), kept(case, &case.jvm)));
            }
            Assignor::Sticky => {
                let shown = (shown(&ours), shown(&case.jvm));
                assert!(spread(&ours) <= spread(&case.jvm), "case {index}: {shown:?}");
                if spread(&ours) == spread(&case.jvm) {
                    assert!(kept(case, &ours) + 1 >= kept(case, &case.jvm), "case {index}: {shown:?}");
                }
            }
            Assignor::CooperativeSticky => {
                let all = |of: &GroupAssignment| of.values().map(Vec::len).sum::<usize>();
                let figures = |of| (all(of), kept(case, of));
                assert_eq!(figures(&ours), figures(&case.jvm), "case {index}");
            }
        }
    }
    assert!(equal * 10 > cases.len() * 8, "{equal} of {}", cases.len());
}

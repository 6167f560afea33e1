//! What members of a Connect group tell each other through the coordinator: what a worker runs (its metadata at a join) and
//! what it shall run (its assignment at a sync), in versions 0 (KIP-58's eager protocol), 1 (KIP-415) and 2 (KIP-507).
//!
//! Other members wrote what is read here, and the broker passed it on unopened: counts are held against the bytes there are.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

/// The task number that stands for the connector's own instance.
pub(crate) const CONNECTOR_TASK: i32 = -1;
/// Most tasks that one member's metadata or assignment may list.
const MAX_ITEMS: usize = 1 << 22;

/// How a group rebalances, by `connect.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConnectProtocol {
    /// Everybody stops everything at each rebalance.
    Eager,
    /// Only what moves is stopped; groups with eager members fall back.
    Compatible,
    /// The same, and internal requests are signed with a key of the session.
    Sessioned,
}

impl ConnectProtocol {
    /// Reads the value of `connect.protocol`.
    pub(crate) fn parse(text: &str) -> Option<ConnectProtocol> {
        match text.trim().to_ascii_lowercase().as_str() {
            "eager" => Some(ConnectProtocol::Eager),
            "compatible" => Some(ConnectProtocol::Compatible),
            "sessioned" => Some(ConnectProtocol::Sessioned),
            _ => None,
        }
    }

    /// The protocol of a name on the wire.
    pub(crate) fn from_wire_name(name: &str) -> Option<ConnectProtocol> {
        match name {
            "default" => Some(ConnectProtocol::Eager),
            "compatible" => Some(ConnectProtocol::Compatible),
            "sessioned" => Some(ConnectProtocol::Sessioned),
            _ => None,
        }
    }

    /// Its name in JoinGroup.
    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            ConnectProtocol::Eager => "default",
            ConnectProtocol::Compatible => "compatible",
            ConnectProtocol::Sessioned => "sessioned",
        }
    }

    /// Version of metadata and assignments.
    pub(crate) fn version(self) -> i16 {
        self as i16
    }

    /// What a worker with this setting offers, the one it likes best first.
    pub(crate) fn offered(self) -> &'static [ConnectProtocol] {
        const ALL: [ConnectProtocol; 3] =
            [ConnectProtocol::Sessioned, ConnectProtocol::Compatible, ConnectProtocol::Eager];
        match self {
            ConnectProtocol::Eager => &ALL[2..],
            ConnectProtocol::Compatible => &ALL[1..],
            ConnectProtocol::Sessioned => &ALL,
        }
    }
}

/// A message of the group that is not what its version says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// It ends inside a field.
    #[error("it ends in the middle of {0}")]
    Truncated(&'static str),
    /// A length or count that it cannot hold.
    #[error("it states an impossible length for {0}")]
    Length(&'static str),
    /// A name that is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    Utf8(&'static str),
    /// A negative version.
    #[error("version {0} is none of Connect's")]
    Version(i16),
}

/// Connectors and tasks, by connector: the numbers of its tasks, [`CONNECTOR_TASK`] for its own instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Items(pub(crate) Vec<(Arc<str>, Vec<i32>)>);

impl Items {
    /// Whether nothing is listed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, tasks)| tasks.is_empty())
    }

    /// Each as (connector, task number).
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32)> {
        self.0.iter().flat_map(|(connector, tasks)| tasks.iter().map(move |task| (connector, *task)))
    }

    /// Items in the order given, those of a connector together.
    pub(crate) fn collect(items: impl IntoIterator<Item = (Arc<str>, i32)>) -> Items {
        let mut grouped: indexmap::IndexMap<Arc<str>, Vec<i32>> = indexmap::IndexMap::new();
        for (connector, task) in items {
            grouped.entry(connector).or_default().push(task);
        }
        Items(grouped.into_iter().collect())
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(self.0.len() as i32);
        for (connector, tasks) in &self.0 {
            put_string(out, connector);
            out.put_i32(tasks.len() as i32);
            tasks.iter().for_each(|task| out.put_i32(*task));
        }
    }

    fn read(input: &mut Bytes, what: &'static str) -> Result<Items, ProtocolError> {
        const LEAST_ENTRY: usize = 6;
        const TASK: usize = 4;
        let count = get_count(input, LEAST_ENTRY, what)?;
        let (mut items, mut total) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let connector = get_string(input, what)?.ok_or(ProtocolError::Length(what))?;
            let tasks = get_count(input, TASK, what)?;
            total += tasks;
            if total > MAX_ITEMS {
                return Err(ProtocolError::Length(what));
            }
            let tasks = (0..tasks).map(|_| get_i32(input, what)).collect::<Result<Vec<_>, _>>()?;
            items.push((connector, tasks));
        }
        Ok(Items(items))
    }
}

/// Why an assignment holds nothing.
pub(crate) const NO_ERROR: i16 = 0;
/// The leader has not read as much of the config topic as another member: everybody reads on and joins again.
pub(crate) const CONFIG_MISMATCH: i16 = 1;

/// What a member shall run. In version 0 `assigned` is everything; later it is what is added to what the member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Assignment {
    /// 0 to 2.
    pub(crate) version: i16,
    /// [`NO_ERROR`] or [`CONFIG_MISMATCH`].
    pub(crate) error: i16,
    /// Member id of the leader.
    pub(crate) leader: String,
    /// Its REST URL, with a slash at the end.
    pub(crate) leader_url: String,
    /// How far the config topic has to be read before any of it is started.
    pub(crate) offset: i64,
    /// To start.
    pub(crate) assigned: Items,
    /// To stop (from version 1).
    pub(crate) revoked: Items,
    /// After how many milliseconds to join again, 0 for not (from version 1).
    pub(crate) delay_ms: i32,
}

impl Assignment {
    /// The bytes for SyncGroup.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(self.version);
        out.put_i16(self.error);
        put_string(&mut out, &self.leader);
        put_string(&mut out, &self.leader_url);
        out.put_i64(self.offset);
        self.assigned.write(&mut out);
        if self.version > 0 {
            self.revoked.write(&mut out);
            out.put_i32(self.delay_ms);
        }
        out.into()
    }

    /// Reads an assignment of any version; what an older writer left out is empty.
    pub(crate) fn decode(mut input: Bytes) -> Result<Assignment, ProtocolError> {
        let input = &mut input;
        let version = get_version(input)?;
        let error = get_i16(input, "the error")?;
        let leader = get_string(input, "the leader")?.unwrap_or_default().to_string();
        let leader_url = get_string(input, "the leader's URL")?.unwrap_or_default().to_string();
        let offset = input.try_get_i64().map_err(|_| ProtocolError::Truncated("the config offset"))?;
        let mut assignment =
            Assignment { version, error, leader, leader_url, offset, ..Assignment::default() };
        if input.has_remaining() {
            assignment.assigned = Items::read(input, "what is assigned")?;
        }
        if version > 0 && input.has_remaining() {
            assignment.revoked = Items::read(input, "what is revoked")?;
        }
        if version > 0 && input.has_remaining() {
            assignment.delay_ms = get_i32(input, "the delay")?;
        }
        Ok(assignment)
    }
}

/// What a member tells of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WorkerState {
    /// Its REST URL, with a slash at the end.
    pub(crate) url: String,
    /// How far it has read the config topic.
    pub(crate) offset: i64,
    /// What it runs, as the assignment that it would be; none at its first join and in version 0.
    pub(crate) allocation: Option<Assignment>,
}

impl WorkerState {
    /// The bytes for JoinGroup under this protocol.
    pub(crate) fn encode(&self, protocol: ConnectProtocol) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(protocol.version());
        put_string(&mut out, &self.url);
        out.put_i64(self.offset);
        if protocol != ConnectProtocol::Eager {
            match &self.allocation {
                Some(allocation) => {
                    let bytes = Assignment { version: protocol.version(), ..allocation.clone() }.encode();
                    out.put_i32(bytes.len() as i32);
                    out.put_slice(&bytes);
                }
                None => out.put_i32(-1),
            }
        }
        out.into()
    }

    /// Reads metadata of any version.
    pub(crate) fn decode(mut input: Bytes) -> Result<WorkerState, ProtocolError> {
        let input = &mut input;
        let version = get_version(input)?;
        let url = get_string(input, "the URL")?.unwrap_or_default().to_string();
        let offset = input.try_get_i64().map_err(|_| ProtocolError::Truncated("the config offset"))?;
        let mut allocation = None;
        if version > 0 && input.has_remaining() {
            let length = get_i32(input, "the allocation")?;
            if length >= 0 {
                let length = length as usize;
                if length > input.remaining() {
                    return Err(ProtocolError::Truncated("the allocation"));
                }
                allocation = Some(Assignment::decode(input.split_to(length))?);
            }
        }
        Ok(WorkerState { url, offset, allocation })
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

fn get_version(input: &mut Bytes) -> Result<i16, ProtocolError> {
    match get_i16(input, "the version")? {
        version if version < 0 => Err(ProtocolError::Version(version)),
        version => Ok(version),
    }
}

fn get_i16(input: &mut Bytes, what: &'static str) -> Result<i16, ProtocolError> {
    input.try_get_i16().map_err(|_| ProtocolError::Truncated(what))
}

fn get_i32(input: &mut Bytes, what: &'static str) -> Result<i32, ProtocolError> {
    input.try_get_i32().map_err(|_| ProtocolError::Truncated(what))
}

fn get_string(input: &mut Bytes, what: &'static str) -> Result<Option<Arc<str>>, ProtocolError> {
    let length = get_i16(input, what)?;
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 { Ok(None) } else { Err(ProtocolError::Length(what)) };
    };
    if length > input.remaining() {
        return Err(ProtocolError::Truncated(what));
    }
    let bytes = input.split_to(length);
    std::str::from_utf8(&bytes).map(|text| Some(Arc::from(text))).map_err(|_| ProtocolError::Utf8(what))
}

/// A count of elements of at least `element` bytes each; null counts 0.
fn get_count(input: &mut Bytes, element: usize, what: &'static str) -> Result<usize, ProtocolError> {
    match get_i32(input, what)? {
        -1 => Ok(0),
        count => usize::try_from(count)
            .ok()
            .filter(|count| *count <= input.remaining() / element)
            .ok_or(ProtocolError::Length(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Bytes {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
    }

    proptest::proptest! {
        /// Whatever another member sends: an error or a value that can be written again.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), version in 0_u8..3) {
            let bytes: Bytes = [&[0, version], bytes.as_slice()].concat().into();
            if let Ok(state) = WorkerState::decode(bytes.clone()) {
                state.encode(ConnectProtocol::Sessioned);
            }
            if let Ok(assignment) = Assignment::decode(bytes) {
                let again = Assignment::decode(assignment.encode());
                proptest::prop_assert_eq!(again, Ok(assignment));
            }
        }
    }

    #[test]
    fn names_and_versions() {
        let names = |setting: &str| -> Vec<_> {
            let protocol = ConnectProtocol::parse(setting).unwrap();
            protocol.offered().iter().map(|protocol| (protocol.wire_name(), protocol.version())).collect()
        };
        assert_eq!(names("EAGER"), [("default", 0)]);
        assert_eq!(names("compatible"), [("compatible", 1), ("default", 0)]);
        assert_eq!(names("sessioned"), [("sessioned", 2), ("compatible", 1), ("default", 0)]);
        assert_eq!(ConnectProtocol::from_wire_name("default"), Some(ConnectProtocol::Eager));
        assert_eq!(ConnectProtocol::parse("incremental"), None);
    }

    /// What a JVM worker 4.3.1 sent to a leader of ours, and what it sent as a leader.
    #[test]
    fn recordings_of_jvm_workers_to_the_byte() {
        let joins_first =
            "0002 0017 687474703a2f2f3132372e302e302e313a32383330322f 0000000000000028 ffffffff";
        let runs_nothing = "0002 0017 687474703a2f2f3132372e302e302e313a32383330322f 0000000000000028 0000006c
            0002 0000 0039 442d67312d3132372e302e302e313a32383330312d39393662346533612d643162662d343835302d393630332d623865
            3536353539663865660017687474703a2f2f3132372e302e302e313a32383330312f 0000000000000028 00000000 00000000 00000000";
        for recorded in [joins_first, runs_nothing].map(hex) {
            let state = WorkerState::decode(recorded.clone()).unwrap();
            assert_eq!((state.url.as_str(), state.offset), ("http://127.0.0.1:28302/", 0x28));
            assert_eq!(state.encode(ConnectProtocol::Sessioned), recorded);
        }
        let assignment = "0002 0000 003c 636f6e6e6563742d3132372e302e302e313a32383330322d62323661376536312d353462322d343833312d
            623164612d636264303738626237643836 0017 687474703a2f2f3132372e302e302e313a32383330322f 0000000000000025
            00000002 0002 6d31 00000002 ffffffff 00000000 0003 737263 00000002 ffffffff 00000000 00000000 00000000";
        let recorded = hex(assignment);
        let assignment = Assignment::decode(recorded.clone()).unwrap();
        let both = vec![CONNECTOR_TASK, 0];
        assert_eq!(assignment.assigned.0, [("m1".into(), both.clone()), ("src".into(), both)]);
        assert_eq!(assignment.leader_url, "http://127.0.0.1:28302/");
        assert_eq!(assignment.encode(), recorded);
    }

    #[test]
    fn fields_left_out_and_nulls_are_empty() {
        // an assignment of version 1 that ends after the offset, and one with null arrays and no delay
        let short = hex("0001 0000 0001 61 0001 62 0000000000000009");
        let assignment = Assignment::decode(short.clone()).unwrap();
        assert_eq!((assignment.offset, assignment.assigned.is_empty(), assignment.delay_ms), (9, true, 0));
        let mut nulls = short.to_vec();
        nulls.extend_from_slice(&[0xff; 8]);
        assert_eq!(Assignment::decode(nulls.into()).unwrap(), assignment);
    }

    #[test]
    fn every_truncation_and_impossible_counts_are_errors() {
        let allocation = Assignment {
            version: 2,
            leader: "m".into(),
            leader_url: "http://h:1/".into(),
            offset: 4,
            assigned: Items(vec![(Arc::from("c"), vec![CONNECTOR_TASK, 0, 1])]),
            delay_ms: 7,
            ..Assignment::default()
        };
        let state = WorkerState { url: "http://h:2/".into(), offset: 3, allocation: Some(allocation) };
        let bytes = state.encode(ConnectProtocol::Sessioned);
        assert_eq!(WorkerState::decode(bytes.clone()).unwrap(), state);
        let url_and_offset = 2 + 2 + 11 + 8;
        for length in 0..bytes.len() {
            // the allocation may be left out, but may not be cut
            let decoded = WorkerState::decode(bytes.slice(..length));
            assert_eq!(decoded.is_ok(), length == url_and_offset, "{length}: {decoded:?}");
        }
        assert_eq!(WorkerState::decode(hex("ffff")), Err(ProtocolError::Version(-1)));
        let huge = hex("0001 0000 0000 0000 0000000000000000 7fffffff");
        assert_eq!(Assignment::decode(huge), Err(ProtocolError::Length("what is assigned")));
    }
}

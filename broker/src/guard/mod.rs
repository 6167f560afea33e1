//! Walks a request before it is decoded: every count in it must be backed by bytes.
//!
//! The decoder reserves memory for as many elements as a count says; a few bytes could ask for gigabytes that way.

mod layouts;

use kafka_protocol::messages::ApiKey;

/// A field of a struct in the versions `from..=to`.
#[derive(Debug)]
struct Field {
    from: i16,
    to: i16,
    kind: Kind,
}

const fn f(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, kind }
}

/// What a field looks like on the wire. All but `Fixed` may be null.
#[derive(Debug)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    Text,
    Blob,
    Array(&'static Kind),
    Structs(&'static [Field]),
    /// A struct after a byte that tells whether it is there.
    Maybe(&'static [Field]),
}

/// Whether `body` has everything that it announces. Requests without a layout have not.
pub(crate) fn is_backed(api: ApiKey, version: i16, body: &[u8]) -> bool {
    rest_after(api, version, body).is_some()
}

/// What is left of `body` after the request.
fn rest_after(api: ApiKey, version: i16, body: &[u8]) -> Option<&[u8]> {
    let (_, flexible, fields) = layouts::LAYOUTS.iter().find(|(key, ..)| *key == api)?;
    let mut walk = Walk {
        rest: body,
        version,
        flexible: version >= *flexible,
        fetch: api == ApiKey::Fetch,
        nested: false,
    };
    walk.fields(fields)?;
    Some(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    fetch: bool,
    /// Inside a struct of an array. What is wrong in the tags at the very end can do no harm.
    nested: bool,
}

/// Sizes of the tagged fields of a partition in Fetch: replica directory id, high watermark. No other request has
/// tagged fields in its arrays.
const FETCH_PARTITION_TAGS: [usize; 2] = [16, 8];

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            if (field.from..=field.to).contains(&self.version) {
                self.kind(&field.kind)?;
            }
        }
        if self.flexible { self.tags() } else { Some(()) }
    }

    fn kind(&mut self, kind: &Kind) -> Option<()> {
        match kind {
            Kind::Fixed(size) => self.skip(*size),
            Kind::Text if !self.flexible => {
                let length = i16::from_be_bytes(self.take()?);
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            Kind::Text | Kind::Blob => {
                let length = self.count()?;
                self.skip(length)
            }
            Kind::Array(element) => (0..self.count()?).try_for_each(|_| self.kind(element)),
            Kind::Structs(fields) => {
                let outer = std::mem::replace(&mut self.nested, true);
                let walked = (0..self.count()?).try_for_each(|_| self.fields(fields));
                self.nested = outer;
                walked
            }
            Kind::Maybe(fields) => {
                let [there] = self.take()?;
                if there.cast_signed() < 0 { Some(()) } else { self.fields(fields) }
            }
        }
    }

    /// A length or count; 0 for null. Nothing has more elements than there are bytes.
    fn count(&mut self) -> Option<usize> {
        let count = if self.flexible {
            (self.varint()? as usize).saturating_sub(1)
        } else {
            usize::try_from(i32::from_be_bytes(self.take()?)).unwrap_or(0)
        };
        (count <= self.rest.len()).then_some(count)
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            // The decoder reads the tagged fields it knows by their type, whatever size is given.
            if self.nested
                && self.fetch
                && FETCH_PARTITION_TAGS.get(tag as usize).is_some_and(|known| *known != size)
            {
                return None;
            }
            self.skip(size)?;
        }
        Some(())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*front)
    }

    fn skip(&mut self, size: usize) -> Option<()> {
        self.rest = self.rest.get(size..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
    use kafka_protocol::messages::*;
    use kafka_protocol::protocol::{Request, StrBytes};

    use super::*;

    fn walks_exactly<R: Request>(api: ApiKey, request: &R, versions: std::ops::RangeInclusive<i16>) {
        for version in versions {
            let mut bytes = BytesMut::new();
            request.encode(&mut bytes, version).unwrap();
            assert_eq!(rest_after(api, version, &bytes), Some(&[][..]), "{api:?} version {version}");
            for end in 0..bytes.len() {
                assert!(!is_backed(api, version, &bytes[..end]), "{api:?} version {version} cut at {end}");
            }
        }
    }

    #[test]
    fn requests_with_everything_in_them_are_walked_to_the_last_byte() {
        let text = |t: &'static str| StrBytes::from_static_str(t);
        let partition = FetchPartition::default().with_partition(1).with_fetch_offset(3);
        let topic = |t: FetchTopic| {
            FetchRequest::default().with_topics(vec![t.with_partitions(vec![partition.clone()])])
        };
        walks_exactly(ApiKey::Fetch, &topic(FetchTopic::default().with_topic(TopicName(text("t")))), 4..=12);
        let by_id = topic(FetchTopic::default().with_topic_id(uuid::Uuid::from_u128(1)));
        walks_exactly(
            ApiKey::Fetch,
            &by_id.with_replica_state(ReplicaState::default().with_replica_epoch(5)),
            15..=18,
        );
        let data = produce_request::PartitionProduceData::default().with_records(Some("abc".into()));
        let data = produce_request::TopicProduceData::default().with_partition_data(vec![data.clone(), data]);
        let produce =
            ProduceRequest::default().with_topic_data(vec![data.with_name(TopicName(text("topic")))]);
        walks_exactly(ApiKey::Produce, &produce, 3..=12);
        let protocol = join_group_request::JoinGroupRequestProtocol::default().with_metadata("abc".into());
        let join = JoinGroupRequest::default().with_protocols(vec![protocol]);
        walks_exactly(ApiKey::JoinGroup, &join, 0..=9);
        let cursor = describe_topic_partitions_request::Cursor::default();
        let describe = DescribeTopicPartitionsRequest::default().with_cursor(Some(cursor));
        walks_exactly(ApiKey::DescribeTopicPartitions, &describe, 0..=0);
    }

    #[test]
    fn every_api_has_a_layout() {
        for (api, min, max) in crate::api::versions::SUPPORTED {
            for version in *min..=*max {
                let longest = [0_u8; 256];
                assert!(is_backed(*api, version, &longest), "{api:?} version {version}");
            }
        }
    }

    #[test]
    fn counts_that_nothing_backs_are_refused() {
        assert!(!is_backed(ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']));
        assert!(!is_backed(ApiKey::Metadata, 12, &[0xff, 0xff, 0xff, 0xff, 0x07, 1, 1]));
        assert!(is_backed(ApiKey::Metadata, 1, &[0xff, 0xff, 0xff, 0xff]));
    }
}

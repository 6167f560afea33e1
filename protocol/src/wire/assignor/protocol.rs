//! `ConsumerProtocolSubscription`, `ConsumerProtocolAssignment` and the sticky assignors' user data. Other members
//! wrote what is read here, and the broker passed it on unopened: counts are held against the bytes that are there.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use crate::wire::reader::Reader;
use crate::wire::{DecodeError, TopicPartition};

/// Newest version of both structures; newer ones are read as this one, whose fields they keep.
const VERSION: i16 = 3;
const OWNED_FROM: i16 = 1;
const GENERATION_FROM: i16 = 2;
const RACK_FROM: i16 = 3;
/// The generation of a member that wasn't in one.
pub const NO_GENERATION: i32 = -1;

/// Least bytes of a topic name, of a topic with its partitions, of a partition.
const MIN_NAME: usize = 2;
const MIN_TOPIC: usize = 6;
const MIN_PARTITION: usize = 4;

/// What a member wants: `ConsumerProtocolSubscription`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// The topics.
    pub topics: Vec<Arc<str>>,
    /// What the assignor adds.
    pub user_data: Option<Bytes>,
    /// What the member goes on with while it joins (from version 1).
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it got them, [`NO_GENERATION`] for none (from version 2).
    pub generation_id: i32,
    /// Its rack (from version 3).
    pub rack_id: Option<String>,
}

impl Subscription {
    /// The bytes for JoinGroup, in the newest version.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(VERSION);
        let mut topics: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
        topics.sort_unstable();
        out.put_i32(topics.len() as i32);
        for topic in topics {
            put_string(&mut out, topic);
        }
        put_bytes(&mut out, self.user_data.as_deref());
        put_partitions(&mut out, &self.owned_partitions);
        out.put_i32(self.generation_id);
        match &self.rack_id {
            Some(rack) => put_string(&mut out, rack),
            None => out.put_i16(-1),
        }
        out.into()
    }

    /// Reads a subscription of any version.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, false);
        let version = reader.i16("version")?;
        if version < 0 {
            return Err(DecodeError::Version(version));
        }
        let count = reader.count("topics", MIN_NAME)?;
        let mut topics = Vec::with_capacity(count);
        for _ in 0..count {
            topics.push(name(&mut reader)?);
        }
        let user_data = reader.bytes("user data")?;
        let owned_partitions = if version >= OWNED_FROM { get_partitions(&mut reader)? } else { Vec::new() };
        let generation_id =
            if version >= GENERATION_FROM { reader.i32("generation")? } else { NO_GENERATION };
        let rack_id = if version >= RACK_FROM { reader.string("rack")? } else { None };
        let rack_id = rack_id.map(|rack| rack.to_string());
        Ok(Self { topics, user_data, owned_partitions, generation_id, rack_id })
    }
}

/// What a member gets: `ConsumerProtocolAssignment`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
    /// What the assignor adds.
    pub user_data: Option<Bytes>,
}

impl Assignment {
    /// The bytes for SyncGroup, in the newest version.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(VERSION);
        put_partitions(&mut out, &self.partitions);
        put_bytes(&mut out, self.user_data.as_deref());
        out.into()
    }

    /// Reads an assignment of any version. No bytes at all are an empty assignment: so a leader passes a member over.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(bytes, false);
        let version = reader.i16("version")?;
        if version < 0 {
            return Err(DecodeError::Version(version));
        }
        let partitions = get_partitions(&mut reader)?;
        let user_data = reader.bytes("user data")?;
        Ok(Self { partitions, user_data })
    }
}

/// The user data of `sticky`, version 1: what the member had, and when.
pub(super) fn sticky_user_data(previous: &[TopicPartition], generation: i32) -> Bytes {
    let mut out = Vec::new();
    put_partitions(&mut out, previous);
    out.put_i32(generation);
    out.into()
}

/// Reads the user data of `sticky`; version 0 had no generation.
pub(super) fn read_sticky_user_data(bytes: Bytes) -> Result<(Vec<TopicPartition>, i32), DecodeError> {
    let mut reader = Reader::new(bytes, false);
    let partitions = get_partitions(&mut reader)?;
    let generation = reader.i32("generation").unwrap_or(NO_GENERATION);
    Ok((partitions, generation))
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            out.put_i32(bytes.len() as i32);
            out.put_slice(bytes);
        }
        None => out.put_i32(-1),
    }
}

fn put_partitions(out: &mut Vec<u8>, partitions: &[TopicPartition]) {
    let mut partitions: Vec<&TopicPartition> = partitions.iter().collect();
    partitions.sort_unstable();
    let topics = partitions.chunk_by(|a, b| a.topic == b.topic);
    out.put_i32(topics.clone().count() as i32);
    for topic in topics {
        put_string(out, &topic[0].topic);
        out.put_i32(topic.len() as i32);
        for partition in topic {
            out.put_i32(partition.partition);
        }
    }
}

fn get_partitions(reader: &mut Reader) -> Result<Vec<TopicPartition>, DecodeError> {
    let mut partitions = Vec::new();
    for _ in 0..reader.count("topics", MIN_TOPIC)? {
        let topic = name(reader)?;
        let count = reader.count("partitions", MIN_PARTITION)?;
        partitions.reserve(count);
        for _ in 0..count {
            partitions.push(TopicPartition::new(topic.clone(), reader.i32("partition")?));
        }
    }
    Ok(partitions)
}

fn name(reader: &mut Reader) -> Result<Arc<str>, DecodeError> {
    let name = reader.string("topic name")?.ok_or(DecodeError::Length("topic name"))?;
    Ok(Arc::from(&*name))
}

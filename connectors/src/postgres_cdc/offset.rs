//! Source offsets as Debezium writes them, and where they say to go on.

use std::sync::Arc;

use aqueduct_engine::data::OffsetMap;
use serde_json::Value as Json;

/// What has been given out last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// LSN of the last event.
    pub(super) lsn: u64,
    /// Events given out at that LSN: a multi-row insert has one LSN for all its rows.
    pub(super) events_at_lsn: u64,
    /// End of the last commit before the transaction of the last event.
    pub(super) last_commit: Option<u64>,
    /// Transaction of the last event.
    pub(super) xid: Option<u32>,
    /// Its commit time, microseconds since 1970.
    pub(super) commit_micros: i64,
    /// Kind of the last event.
    pub(super) kind: &'static str,
}

/// A stored offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    /// A snapshot was not finished: where the stream begins after it, and the tables that it has read to their end.
    InSnapshot { lsn: u64, done: Vec<String> },
    /// The snapshot is done, nothing has been streamed.
    SnapshotDone { lsn: u64 },
    /// Streaming.
    Streaming(Progress),
}

/// `{"server": prefix}`.
pub(super) fn partition(prefix: &str) -> Arc<OffsetMap> {
    Arc::new([("server".to_owned(), Json::from(prefix))].into_iter().collect())
}

/// Ours: tables that a snapshot has read to their end, so that a restart reads the others only.
const DONE: &str = "aqueduct_snapshot_tables";

/// The offset of a row of the snapshot.
pub(super) fn snapshot_offset(lsn: u64, xid: u64, micros: i64, last: bool, done: &[String]) -> OffsetMap {
    let tables = (!last && !done.is_empty()).then(|| (DONE, Json::from(Json::from(done).to_string())));
    [
        ("last_snapshot_record", Json::from(last)),
        ("lsn", Json::from(lsn as i64)),
        ("txId", Json::from(xid)),
        ("ts_usec", Json::from(micros)),
        ("snapshot", Json::from("INITIAL")),
        ("snapshot_completed", Json::from(last)),
    ]
    .into_iter()
    .chain(tables)
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

impl Progress {
    /// An event has been given out.
    pub(super) fn advance(&mut self, lsn: u64, kind: &'static str) {
        self.events_at_lsn = if self.lsn == lsn { self.events_at_lsn + 1 } else { 1 };
        self.lsn = lsn;
        self.kind = kind;
    }

    /// The offset of what has been given out.
    pub(super) fn offset(&self) -> OffsetMap {
        let mut offset = OffsetMap::new();
        let mut put = |key: &str, value: Json| offset.insert(key.to_owned(), value);
        put("lsn_proc", Json::from(self.lsn as i64));
        put("messageType", Json::from(self.kind));
        if let Some(lsn) = self.last_commit {
            put("lsn_commit", Json::from(lsn as i64));
        }
        put("lsn", Json::from(self.lsn as i64));
        if self.events_at_lsn > 1 {
            put("lsn_events_processed", Json::from(self.events_at_lsn));
        }
        if let Some(xid) = self.xid {
            put("txId", Json::from(xid));
        }
        put("ts_usec", Json::from(self.commit_micros));
        offset
    }

    /// Where the stream has to begin: behind the last commit whose transaction is whole.
    pub(super) fn start_lsn(&self) -> u64 {
        self.last_commit.unwrap_or(self.lsn)
    }

    /// Whether an event was given out before: those of the same transaction up to the last one.
    pub(super) fn covers(&self, xid: Option<u32>, lsn: u64, event_at_lsn: u64) -> bool {
        let ours = xid.is_none() || xid == self.xid;
        ours && (lsn < self.lsn || (lsn == self.lsn && event_at_lsn <= self.events_at_lsn))
    }
}

fn number(offset: &OffsetMap, key: &str) -> Option<u64> {
    offset.get(key).and_then(Json::as_i64).map(|value| value as u64)
}

fn flag(offset: &OffsetMap, key: &str) -> bool {
    offset.get(key).and_then(Json::as_bool).unwrap_or(false)
}

impl Stored {
    /// Reads an offset of Debezium's or ours.
    pub(super) fn of(offset: &OffsetMap) -> Option<Stored> {
        let lsn = number(offset, "lsn")?;
        if offset.contains_key("snapshot") {
            // 2.x has snapshot=true and last_snapshot_record only
            let done = flag(offset, "snapshot_completed") || flag(offset, "last_snapshot_record");
            if done {
                return Some(Stored::SnapshotDone { lsn });
            }
            let tables = offset.get(DONE).and_then(Json::as_str);
            let done = tables.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            return Some(Stored::InSnapshot { lsn, done });
        }
        Some(Stored::Streaming(Progress {
            lsn,
            events_at_lsn: number(offset, "lsn_events_processed").unwrap_or(1),
            last_commit: number(offset, "lsn_commit"),
            xid: number(offset, "txId").and_then(|xid| u32::try_from(xid & 0xFFFF_FFFF).ok()),
            commit_micros: offset.get("ts_usec").and_then(Json::as_i64).unwrap_or(0),
            kind: "",
        }))
    }
}

/// Up to where the server may forget, given an offset that is stored.
pub(super) fn confirmable(offset: &OffsetMap) -> Option<u64> {
    if offset.contains_key("snapshot") {
        return None;
    }
    number(offset, "lsn_commit").or_else(|| number(offset, "lsn_proc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_read_what_they_wrote() {
        let mut progress =
            Progress { last_commit: Some(90), xid: Some(7), commit_micros: 5, ..Progress::default() };
        progress.advance(100, "INSERT");
        progress.advance(100, "INSERT");
        let offset = progress.offset();
        assert_eq!(Stored::of(&offset), Some(Stored::Streaming(Progress { kind: "", ..progress })));
        assert_eq!(confirmable(&offset), Some(90));
        assert_eq!(progress.start_lsn(), 90);
        let done = vec!["public.a".to_owned()];
        let whole = snapshot_offset(5, 1, 2, true, &done);
        assert_eq!(Stored::of(&whole), Some(Stored::SnapshotDone { lsn: 5 }));
        for done in [done, Vec::new()] {
            let part = snapshot_offset(5, 1, 2, false, &done);
            assert!(part.values().all(|value| !value.is_array()), "values of offsets are primitives");
            assert_eq!(Stored::of(&part), Some(Stored::InSnapshot { lsn: 5, done }));
        }
        assert_eq!(confirmable(&whole), None);
        assert_eq!(Stored::of(&OffsetMap::new()), None);
    }

    #[test]
    fn debezium_s_own() {
        let text = r#"{"lsn_proc":27658224,"messageType":"MESSAGE","lsn_commit":27658224,"lsn":27658224,"ts_usec":1795415851202233}"#;
        let Some(Stored::Streaming(progress)) = Stored::of(&serde_json::from_str(text).unwrap()) else {
            panic!()
        };
        assert_eq!((progress.lsn, progress.last_commit, progress.xid), (27_658_224, Some(27_658_224), None));
    }

    #[test]
    fn what_was_given_out_is_not_given_out_again() {
        let progress = Progress { lsn: 100, events_at_lsn: 2, xid: Some(7), ..Progress::default() };
        assert!(progress.covers(Some(7), 99, 1) && progress.covers(Some(7), 100, 2));
        assert!(!progress.covers(Some(7), 100, 3) && !progress.covers(Some(7), 101, 1));
        assert!(!progress.covers(Some(8), 50, 1), "a transaction that began earlier and committed later");
    }
}

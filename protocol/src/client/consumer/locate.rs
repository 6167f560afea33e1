//! Finds where partitions begin: committed offsets with one request, the rest with one per leader.

use std::sync::Arc;

use super::offsets::{Membership, committed};
use super::partition::{Find, Position};
use super::settings::{Reset, Settings};
use crate::client::Client;
use crate::client::list_offsets::{EARLIEST, LATEST, list_once, timestamp_before_now};
use crate::wire::TopicPartition;
use crate::{Error, ErrorKind, Result};

/// Where a partition begins, or why that is not known yet.
pub(super) type Located = (TopicPartition, Result<Position>);

/// What finding needs.
#[derive(Clone)]
pub(super) struct Locator {
    pub(super) client: Client,
    pub(super) settings: Arc<Settings>,
    pub(super) membership: Membership,
}

impl Locator {
    /// One attempt for all of them.
    ///
    /// # Errors
    /// If nothing could be found at all, e.g. because the coordinator could not be asked for `default.api.timeout.ms`.
    pub(super) async fn locate(self, wanted: Vec<(TopicPartition, Find)>) -> Result<Vec<Located>> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut open: Vec<(TopicPartition, i64)> = Vec::new();
        let (ask, rest): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|(_, find)| matches!(find, Find::Committed) && self.settings.group.is_some());
        if !ask.is_empty() {
            let names: Vec<TopicPartition> = ask.into_iter().map(|(name, _)| name).collect();
            let offsets = committed(&self.client, &self.settings, &self.membership, &names).await?;
            for (name, offset) in names.into_iter().zip(offsets) {
                match offset {
                    Some(of) => {
                        let epoch = of.leader_epoch.unwrap_or(-1);
                        found.push((name, Ok(Position { offset: of.offset, epoch })));
                    }
                    None => self.by_time(name, Find::Reset, &mut open, &mut found),
                }
            }
        }
        for (name, find) in rest {
            self.by_time(name, find, &mut open, &mut found);
        }
        found.extend(self.list(open).await?);
        Ok(found)
    }

    fn by_time(
        &self,
        name: TopicPartition,
        find: Find,
        open: &mut Vec<(TopicPartition, i64)>,
        found: &mut Vec<Located>,
    ) {
        let timestamp = match (find, self.settings.reset) {
            (Find::Beginning, _) => EARLIEST,
            (Find::End, _) => LATEST,
            (_, Reset::Earliest) => EARLIEST,
            (_, Reset::Latest) => LATEST,
            (_, Reset::ByDuration(ago)) => timestamp_before_now(ago),
            (_, Reset::None) => {
                let message = format!(
                    "{name}: there is no committed offset and auto.offset.reset=none; commit one, or set earliest, latest or by_duration"
                );
                found.push((name, Err(Error::new(ErrorKind::State, message))));
                return;
            }
        };
        open.push((name, timestamp));
    }

    async fn list(&self, open: Vec<(TopicPartition, i64)>) -> Result<Vec<Located>> {
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let read_committed = self.settings.read_committed;
        let mut listed = list_once(&self.client, read_committed, &open).await?;
        // nothing is as new as that: on with what comes
        let none: Vec<usize> =
            (0..open.len()).filter(|index| matches!(&listed[*index], Ok(of) if of.offset < 0)).collect();
        if !none.is_empty() {
            let ends: Vec<_> = none.iter().map(|index| (open[*index].0.clone(), LATEST)).collect();
            for (index, end) in none.into_iter().zip(list_once(&self.client, read_committed, &ends).await?) {
                listed[index] = end;
            }
        }
        let located =
            |((name, _), listed): ((TopicPartition, i64), Result<crate::client::list_offsets::Listed>)| {
                // the epoch is that of the record found, not of the one before it
                (name, listed.map(|of| Position::new(of.offset)))
            };
        Ok(open.into_iter().zip(listed).map(located).collect())
    }
}

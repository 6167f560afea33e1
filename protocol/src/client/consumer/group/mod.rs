//! A consumer's group: what its membership gives and takes, brought in line with what is fetched, listener by listener.
//!
//! All happens inside a poll, and nothing but the listener's calls waits: joining, finding offsets and looking for topics go
//! on in the background. What is under way is kept when a poll is dropped, and goes on with the next one.

mod classic;
mod heartbeat;
mod interest;
mod member;
mod modern;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::background::Slot;
use super::fetcher::{Fetcher, RETRY};
use super::locate::Located;
use super::offsets::{Committer, LiveMembership};
use super::partition::{Find, Place};
use super::settings::Settings;
use super::{OffsetAndMetadata, RebalanceListener, Subscription};
use crate::client::Client;
use crate::wire::TopicPartition;
use crate::{Error, ErrorCode, Result};
use member::Member;

/// What a membership tells.
enum News {
    /// The group forms anew.
    Rejoin,
    /// These partitions, and no others, are ours.
    Assigned(Vec<TopicPartition>),
    /// Everything is somebody else's.
    Lost,
    /// The same, and the caller has to decide what now.
    Failed(Error),
}

/// What is to be done and may take more than one poll.
enum Duty {
    /// Give up what the protocol demands, then join.
    Rejoin,
    /// Bring what is fetched in line with this.
    Take { assigned: Vec<TopicPartition>, has_revoked: bool },
    /// Forget everything, then join.
    Lose,
}

pub(super) struct Group {
    client: Client,
    settings: Arc<Settings>,
    live: LiveMembership,
    member: Member,
    duty: Option<Duty>,
    /// To be told once everything is given up.
    failure: Option<Error>,
    /// Where new partitions begin.
    locating: Slot<Vec<Located>>,
    locate_at: Option<Instant>,
    /// Partitions that are fetched already and that the listener has not heard of.
    announce: Vec<(TopicPartition, i64)>,
}

impl Group {
    pub(super) fn new(
        client: Client,
        settings: Arc<Settings>,
        subscription: Subscription,
        live: LiveMembership,
    ) -> Result<Self> {
        let member = Member::new(client.clone(), Arc::clone(&settings), subscription, Arc::clone(&live))?;
        Ok(Self {
            client,
            settings,
            live,
            member,
            duty: None,
            failure: None,
            locating: Slot::default(),
            locate_at: None,
            announce: Vec::new(),
        })
    }

    pub(super) fn subscribe(&mut self, subscription: Subscription) -> Result<()> {
        self.member.subscribe(subscription)
    }

    /// Makes the live membership that of now.
    pub(super) fn refresh_membership(&self) {
        *self.live.lock() = self.member.membership();
    }

    /// Resolves when there is something to do.
    pub(super) async fn changed(&mut self) {
        let locating = &mut self.locating;
        let located = std::future::poll_fn(|context| match locating.poll_done(context) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        });
        let again = self.locate_at;
        let wait = async {
            match again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = located => {}
            () = wait => {}
            () = self.member.changed() => {}
        }
    }

    /// Does what can be done now.
    pub(super) async fn maintain(
        &mut self,
        fetcher: &mut Fetcher,
        listener: &mut dyn RebalanceListener,
    ) -> Result<()> {
        loop {
            if !self.announce.is_empty() {
                let told = listener.assigned(&self.announce).await;
                self.announce.clear();
                told?;
            }
            match self.member.news()? {
                None => {}
                Some(News::Rejoin) => self.begin(Duty::Rejoin),
                Some(News::Assigned(assigned)) => self.begin(Duty::Take { assigned, has_revoked: false }),
                Some(News::Lost) => self.begin(Duty::Lose),
                Some(News::Failed(error)) => {
                    self.failure = Some(error);
                    self.begin(Duty::Lose);
                }
            }
            self.refresh_membership();
            let done = match &self.duty {
                None => return Ok(()),
                Some(Duty::Rejoin) => self.rejoin(fetcher, listener).await?,
                Some(Duty::Take { .. }) => self.take(fetcher, listener).await?,
                Some(Duty::Lose) => self.lose(fetcher, listener).await?,
            };
            if !done {
                return Ok(());
            }
        }
    }

    fn begin(&mut self, duty: Duty) {
        self.locating.clear();
        self.locate_at = None;
        self.duty = Some(duty);
    }

    async fn lose(&mut self, fetcher: &mut Fetcher, listener: &mut dyn RebalanceListener) -> Result<bool> {
        let owned = fetcher.names();
        let told = if owned.is_empty() { Ok(()) } else { listener.lost(&owned).await };
        fetcher.remove(&owned);
        self.duty = Some(Duty::Rejoin);
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => told.map(|()| true),
        }
    }

    async fn rejoin(&mut self, fetcher: &mut Fetcher, listener: &mut dyn RebalanceListener) -> Result<bool> {
        let owned = fetcher.names();
        if self.member.gives_up_first() && !owned.is_empty() {
            self.revoke(&owned, fetcher, listener).await?;
        }
        self.member.join(&fetcher.names());
        self.duty = None;
        Ok(true)
    }

    /// Gives back what is not ours any more, finds where the rest begins, takes it over.
    async fn take(&mut self, fetcher: &mut Fetcher, listener: &mut dyn RebalanceListener) -> Result<bool> {
        let Some(Duty::Take { assigned, has_revoked }) = &self.duty else { return Ok(true) };
        let mut has_revoked = *has_revoked;
        let keep: HashSet<&TopicPartition> = assigned.iter().collect();
        let gone: Vec<TopicPartition> =
            fetcher.partitions.keys().filter(|name| !keep.contains(name)).cloned().collect();
        let is_new = |name: &&TopicPartition| !fetcher.partitions.contains_key(*name);
        let added: Vec<TopicPartition> = assigned.iter().filter(is_new).cloned().collect();
        if !gone.is_empty() {
            self.revoke(&gone, fetcher, listener).await?;
            has_revoked = true;
            if let Some(Duty::Take { has_revoked, .. }) = &mut self.duty {
                *has_revoked = true;
            }
        }
        if !added.is_empty() && !self.locate(added, fetcher)? {
            return Ok(false);
        }
        let mut topics: Vec<&str> = fetcher.partitions.keys().map(|name| &*name.topic).collect();
        topics.extend(self.member.watched().iter().map(|name| &**name));
        self.client.watch_only(&topics);
        // a cooperative member that gave something back joins once more, to tell that it is free
        let again = self.member.taken(fetcher.partitions.keys(), has_revoked);
        self.duty = again.then_some(Duty::Rejoin);
        Ok(true)
    }

    /// Finds where partitions begin and adds them; false while that goes on.
    fn locate(&mut self, added: Vec<TopicPartition>, fetcher: &mut Fetcher) -> Result<bool> {
        if self.locate_at.is_some_and(|at| at > Instant::now()) {
            return Ok(false);
        }
        self.locate_at = None;
        if self.locating.is_empty() {
            let wanted = added.into_iter().map(|name| (name, Find::Committed)).collect();
            self.locating.start(fetcher.locator().locate(wanted));
        }
        let located = match self.locating.take() {
            None => return Ok(false),
            Some(Ok(located)) => located,
            Some(Err(error)) => {
                let membership =
                    [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration, ErrorCode::StaleMemberEpoch];
                if error.is_retriable() || error.code().is_some_and(|code| membership.contains(&code)) {
                    tracing::debug!("committed offsets cannot be read: {error}");
                    self.locate_at = Some(Instant::now() + RETRY);
                    return Ok(false);
                }
                return Err(error);
            }
        };
        let place = |(name, found): Located| match found {
            Ok(position) => (name, Place::At(position), position.offset),
            // what is wrong with it comes out of the fetcher
            Err(_) => (name, Place::Unknown(Find::Reset), -1),
        };
        let placed: Vec<_> = located.into_iter().map(place).collect();
        self.announce = placed.iter().map(|(name, _, offset)| (name.clone(), *offset)).collect();
        fetcher.add(placed.into_iter().map(|(name, place, _)| (name, place)));
        Ok(true)
    }

    async fn revoke(
        &mut self,
        partitions: &[TopicPartition],
        fetcher: &mut Fetcher,
        listener: &mut dyn RebalanceListener,
    ) -> Result<()> {
        self.refresh_membership();
        let committer =
            Committer::new(self.client.clone(), Arc::clone(&self.settings), Arc::clone(&self.live));
        if self.settings.auto_commit.is_some() {
            let wanted: HashSet<&TopicPartition> = partitions.iter().collect();
            let offsets: Vec<(TopicPartition, OffsetAndMetadata)> =
                fetcher.positions().filter(|(name, _)| wanted.contains(name)).collect();
            if let Err(error) = committer.commit(&offsets).await {
                tracing::warn!("offsets were not committed before partitions were given back: {error}");
            }
        }
        let result = listener.revoked(partitions, &committer).await;
        fetcher.remove(partitions);
        result
    }

    /// Gives everything back and leaves; a static member only gives back.
    pub(super) async fn leave(
        &mut self,
        fetcher: &mut Fetcher,
        listener: &mut dyn RebalanceListener,
        reason: &'static str,
    ) -> Result<()> {
        let owned = fetcher.names();
        let revoked = if owned.is_empty() { Ok(()) } else { self.revoke(&owned, fetcher, listener).await };
        self.begin(Duty::Rejoin);
        self.member.leave(reason).await;
        self.refresh_membership();
        revoked
    }
}

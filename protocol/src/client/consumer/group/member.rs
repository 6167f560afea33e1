//! A membership, by whichever protocol.

use std::sync::Arc;

use super::classic::Classic;
use super::modern::Modern;
use super::{News, Subscription};
use crate::Result;
use crate::client::Client;
use crate::client::consumer::offsets::{LiveMembership, Membership};
use crate::client::consumer::settings::{GroupProtocol, Settings};
use crate::wire::TopicPartition;

pub(super) enum Member {
    Classic(Box<Classic>),
    Modern(Box<Modern>),
}

impl Member {
    pub(super) fn new(
        client: Client,
        settings: Arc<Settings>,
        subscription: Subscription,
        live: LiveMembership,
    ) -> Result<Self> {
        Ok(match settings.protocol {
            GroupProtocol::Classic => Self::Classic(Box::new(Classic::new(client, settings, subscription)?)),
            GroupProtocol::Consumer => {
                Self::Modern(Box::new(Modern::new(client, settings, subscription, live)?))
            }
        })
    }

    pub(super) fn subscribe(&mut self, subscription: Subscription) -> Result<()> {
        match self {
            Self::Classic(member) => member.subscribe(subscription),
            Self::Modern(member) => {
                member.subscribe(subscription);
                Ok(())
            }
        }
    }

    pub(super) fn membership(&self) -> Membership {
        match self {
            Self::Classic(member) => member.membership(),
            Self::Modern(member) => member.membership(),
        }
    }

    pub(super) fn news(&mut self) -> Result<Option<News>> {
        match self {
            Self::Classic(member) => member.news(),
            Self::Modern(member) => member.news(),
        }
    }

    pub(super) async fn changed(&mut self) {
        match self {
            Self::Classic(member) => member.changed().await,
            Self::Modern(member) => member.changed().await,
        }
    }

    /// Topics that matter beside those that are assigned.
    pub(super) fn watched(&self) -> &[Arc<str>] {
        match self {
            Self::Classic(member) => member.watched(),
            Self::Modern(member) => member.watched(),
        }
    }

    /// Whether all is given up before joining again.
    pub(super) fn gives_up_first(&self) -> bool {
        matches!(self, Self::Classic(member) if !member.is_cooperative())
    }

    pub(super) fn join(&mut self, owned: &[TopicPartition]) {
        match self {
            Self::Classic(member) => member.join(owned),
            Self::Modern(member) => member.join(),
        }
    }

    /// What was assigned is taken over; true if the member has to join again for what it gave back to be handed on.
    pub(super) fn taken<'a>(
        &mut self,
        owned: impl Iterator<Item = &'a TopicPartition>,
        has_revoked: bool,
    ) -> bool {
        match self {
            Self::Classic(member) => has_revoked && member.is_cooperative(),
            Self::Modern(member) => {
                member.taken(owned);
                false
            }
        }
    }

    pub(super) async fn leave(&mut self, reason: &'static str) {
        match self {
            Self::Classic(member) => member.leave(reason).await,
            Self::Modern(member) => member.leave().await,
        }
    }
}

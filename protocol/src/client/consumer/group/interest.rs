//! Which topics a subscription means.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::Result;
use crate::client::consumer::Subscription;
use crate::client::consumer::background::Slot;
use crate::client::{Client, Metadata};

/// How often a subscription by pattern looks at all topics, if metadata does not age sooner.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(30);

/// A subscription and the topics that fit it now.
pub(super) struct Interest {
    client: Client,
    subscription: Subscription,
    exclude_internal: bool,
    /// Sorted; none while it is not known.
    names: Option<Vec<Arc<str>>>,
    looking: Slot<Arc<Metadata>>,
    look_at: Instant,
}

impl Interest {
    pub(super) fn new(client: Client, subscription: Subscription, exclude_internal: bool) -> Self {
        let names = match &subscription {
            Subscription::Topics(topics) => Some(sorted(topics.clone())),
            Subscription::Matching(_) | Subscription::ServerPattern(_) => None,
        };
        let looking = Slot::default();
        Self { client, subscription, exclude_internal, names, looking, look_at: Instant::now() }
    }

    /// The pattern that the broker is to match.
    pub(super) fn pattern(&self) -> Option<&str> {
        match &self.subscription {
            Subscription::ServerPattern(pattern) => Some(pattern),
            Subscription::Topics(_) | Subscription::Matching(_) => None,
        }
    }

    /// The topics that were named, whether or not they exist.
    pub(super) fn named(&self) -> &[Arc<str>] {
        match &self.subscription {
            Subscription::Topics(_) => self.names.as_deref().unwrap_or_default(),
            Subscription::Matching(_) | Subscription::ServerPattern(_) => &[],
        }
    }

    /// The topics, if they are known. Looks again in the background when that is due.
    pub(super) fn names(&mut self) -> Result<Option<&[Arc<str>]>> {
        if let Subscription::Matching(fits) = &self.subscription {
            match self.looking.take() {
                Some(Ok(metadata)) => {
                    let names = metadata.topics.values().filter(|topic| {
                        topic.error.is_none()
                            && !(self.exclude_internal && topic.is_internal)
                            && fits(&topic.name)
                    });
                    self.names = Some(sorted(names.map(|topic| Arc::clone(&topic.name)).collect()));
                    self.look_at =
                        Instant::now() + LOOK_FOR_TOPICS.min(self.client.config().metadata_max_age);
                }
                Some(Err(error)) if error.is_retriable() => {
                    tracing::debug!("the topics of a pattern cannot be found: {error}");
                    self.look_at = Instant::now() + self.client.config().retry_backoff.1;
                }
                Some(Err(error)) => return Err(error),
                None => {}
            }
            if self.looking.is_empty() && self.look_at <= Instant::now() {
                let client = self.client.clone();
                self.looking.start(async move { client.all_topics().await });
            }
        }
        Ok(self.names.as_deref())
    }

    /// True when a look at the topics has ended.
    pub(super) fn poll_done(&mut self, context: &mut std::task::Context<'_>) -> bool {
        self.looking.poll_done(context)
    }
}

fn sorted(mut names: Vec<Arc<str>>) -> Vec<Arc<str>> {
    names.sort_unstable();
    names.dedup();
    names
}

//! A consumer's membership by the new protocol (`group.protocol=consumer`, KIP-848): a task that sends heartbeats, and the
//! names of the topics that the coordinator assigns by id.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::heartbeat::{Answer, Beat, ById, Event, Machine, Rules, Wanted};
use super::interest::Interest;
use super::{News, Subscription};
use crate::client::consumer::background::Slot;
use crate::client::consumer::offsets::{LiveMembership, Membership};
use crate::client::consumer::settings::Settings;
use crate::client::messages::topic_name;
use crate::client::{Client, CoordinatorKind, NodeTarget};
use crate::wire::TopicPartition;
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Version in which patterns came, and in which members make their ids.
const OWN_ID_FROM: i16 = 1;
/// From this version on topics can be asked for by id.
const METADATA_BY_ID: std::ops::RangeInclusive<i16> = 12..=13;
/// Wait before ids whose topics are not known are asked for again.
const RESOLVE_AGAIN: Duration = Duration::from_millis(500);

/// What owner and heartbeat task share.
struct Shared {
    client: Client,
    settings: Arc<Settings>,
    group: StrBytes,
    machine: Mutex<Machine>,
    /// Follows the machine.
    live: LiveMembership,
    wake: Notify,
    news: Notify,
}

pub(super) struct Modern {
    client: Client,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    interest: Interest,
    /// What was last told of the subscription.
    told: Option<Wanted>,
    names: HashMap<Uuid, Arc<str>>,
    /// Ids of the topics that were handed on last.
    ids: HashMap<Arc<str>, Uuid>,
    /// What is to be owned, as far as it was not handed on yet.
    target: Option<ById>,
    resolving: Slot<Vec<(Uuid, Arc<str>)>>,
    resolve_at: Option<Instant>,
    is_joined: bool,
    task: AbortHandle,
}

impl Drop for Modern {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Modern {
    pub(super) fn new(
        client: Client,
        settings: Arc<Settings>,
        subscription: Subscription,
        live: LiveMembership,
    ) -> Result<Self> {
        let group = settings.group()?.clone();
        let rules = Rules {
            group: group.to_string(),
            instance: settings.instance.as_ref().map(ToString::to_string),
            idle_limit: settings.max_poll_interval,
            backoff: client.config().retry_backoff.0,
        };
        let member_id = Uuid::new_v4().simple().to_string();
        let shared = Arc::new(Shared {
            client: client.clone(),
            settings: Arc::clone(&settings),
            group,
            machine: Mutex::new(Machine::new(rules, member_id, Instant::now())),
            live,
            wake: Notify::new(),
            news: Notify::new(),
        });
        let task = tokio::spawn(run(Arc::clone(&shared))).abort_handle();
        let interest = Interest::new(client.clone(), subscription, settings.exclude_internal);
        Ok(Self {
            client,
            settings,
            shared,
            interest,
            told: None,
            names: HashMap::new(),
            ids: HashMap::new(),
            target: None,
            resolving: Slot::default(),
            resolve_at: None,
            is_joined: false,
            task,
        })
    }

    pub(super) fn subscribe(&mut self, subscription: Subscription) {
        self.interest = Interest::new(self.client.clone(), subscription, self.settings.exclude_internal);
    }

    /// Topics that matter beside those that are assigned.
    pub(super) fn watched(&self) -> &[Arc<str>] {
        self.interest.named()
    }

    pub(super) fn membership(&self) -> Membership {
        membership(&self.shared.machine.lock())
    }

    /// What has happened since the last time, if anything.
    pub(super) fn news(&mut self) -> Result<Option<News>> {
        self.shared.machine.lock().attend(Instant::now());
        let wanted = match self.interest.pattern() {
            Some(pattern) => Some(Wanted::Pattern(pattern.to_owned())),
            None => self.interest.names()?.map(|names| Wanted::Names(names.to_vec())),
        };
        if let Some(wanted) = wanted {
            if self.told.as_ref() != Some(&wanted) {
                // asking for topics makes those that do not exist, where that is allowed
                self.interest.named().iter().for_each(|name| self.client.watch_topic(name));
                self.client.request_metadata_update();
                self.told = Some(wanted.clone());
            }
            self.shared.change(|machine| machine.subscribe(wanted));
        }
        if !std::mem::replace(&mut self.is_joined, true) {
            return Ok(Some(News::Rejoin));
        }
        let event = self.shared.machine.lock().take_event();
        match event {
            Some(Event::Assigned(target)) => self.target = Some(target),
            Some(Event::Lost(reason)) => {
                tracing::warn!(group = %self.shared.group, "this member is out of the group and joins again: {reason}");
                self.forget();
                return Ok(Some(News::Lost));
            }
            Some(Event::Failed(error)) => {
                self.forget();
                return Ok(Some(News::Failed(error)));
            }
            None => {}
        }
        self.resolve()
    }

    fn forget(&mut self) {
        self.target = None;
        self.resolving.clear();
    }

    /// Gives the target its names; the part that has none follows when it has.
    fn resolve(&mut self) -> Result<Option<News>> {
        let asked = match self.resolving.take() {
            Some(Ok(found)) => {
                self.names.extend(found);
                true
            }
            Some(Err(error)) if error.is_retriable() => {
                tracing::debug!(group = %self.shared.group, "topics cannot be named: {error}");
                false
            }
            Some(Err(error)) => return Err(error),
            None => false,
        };
        let Some(target) = self.target.as_ref().filter(|_| self.resolving.is_empty()) else {
            return Ok(None);
        };
        let unknown: Vec<Uuid> =
            target.iter().map(|(id, _)| *id).filter(|id| !self.names.contains_key(id)).collect();
        let is_complete = unknown.is_empty();
        if !is_complete && !asked {
            if self.resolve_at.is_none_or(|at| at <= Instant::now()) {
                let client = self.client.clone();
                self.resolving.start(async move { names_of(&client, unknown).await });
            }
            return Ok(None);
        }
        let known = |(id, partitions): &(Uuid, Vec<i32>)| {
            Some((Arc::clone(self.names.get(id)?), *id, partitions.clone()))
        };
        let known: Vec<_> = target.iter().filter_map(known).collect();
        self.ids = known.iter().map(|(name, id, _)| (Arc::clone(name), *id)).collect();
        let named = known.iter().flat_map(|(name, _, partitions)| {
            partitions.iter().map(|partition| TopicPartition::new(Arc::clone(name), *partition))
        });
        let assigned = named.collect();
        self.resolve_at = (!is_complete).then(|| Instant::now() + RESOLVE_AGAIN);
        if is_complete {
            self.target = None;
        }
        Ok(Some(News::Assigned(assigned)))
    }

    /// The owner has nothing (any more): joins.
    pub(super) fn join(&mut self) {
        self.shared.change(|machine| machine.join(Instant::now()));
    }

    /// The owner has taken over what it was assigned.
    pub(super) fn taken<'a>(&mut self, owned: impl Iterator<Item = &'a TopicPartition>) {
        let mut by_id: HashMap<Uuid, Vec<i32>> = HashMap::new();
        for name in owned {
            if let Some(id) = self.ids.get(&name.topic) {
                by_id.entry(*id).or_default().push(name.partition);
            }
        }
        let mut owned: ById = by_id.into_iter().collect();
        owned.iter_mut().for_each(|(_, partitions)| partitions.sort_unstable());
        owned.sort_unstable();
        self.shared.change(|machine| machine.acknowledge(owned));
    }

    pub(super) async fn leave(&mut self) {
        self.forget();
        self.is_joined = false;
        let goodbye = self.shared.change(Machine::leave);
        if let Some(beat) = goodbye {
            self.shared.say_goodbye(beat).await;
        }
    }

    /// Waits until [`Self::news`] may have something.
    pub(super) async fn changed(&mut self) {
        let (resolving, interest) = (&mut self.resolving, &mut self.interest);
        let again = self.resolve_at.filter(|_| self.target.is_some() && resolving.is_empty());
        let work = std::future::poll_fn(|context| {
            let resolving = resolving.poll_done(context);
            match resolving | interest.poll_done(context) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        });
        tokio::select! {
            () = self.shared.has_news() => {}
            () = work => {}
            () = sleep_until(again) => {}
        }
    }
}

/// Names of topics by their ids; those that do not exist are left out.
async fn names_of(client: &Client, ids: Vec<Uuid>) -> Result<Vec<(Uuid, Arc<str>)>> {
    let topics = ids.into_iter().map(|id| MetadataRequestTopic::default().with_topic_id(id).with_name(None));
    let request =
        MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false);
    let answer = client.send_versioned(NodeTarget::Any, request, METADATA_BY_ID, None).await?;
    let named = answer.topics.into_iter().filter(|topic| topic.error_code == 0);
    Ok(named.filter_map(|topic| Some((topic.topic_id, Arc::from(topic.name?.as_str())))).collect())
}

fn membership(machine: &Machine) -> Membership {
    let (member, generation) = machine.identity();
    let member = if generation < 0 { StrBytes::default() } else { StrBytes::from_string(member.to_owned()) };
    Membership { member, generation, by_epoch: true }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine.lock();
        let result = change(&mut machine);
        *self.live.lock() = membership(&machine);
        let news = machine.has_events();
        drop(machine);
        self.wake.notify_one();
        if news {
            self.news.notify_one();
        }
        result
    }

    fn step(&self) -> (Option<Beat>, Option<Instant>, u64) {
        let mut machine = self.machine.lock();
        let (beat, look_again) = machine.step(Instant::now());
        if machine.has_events() {
            self.news.notify_one();
        }
        (beat, look_again, machine.round())
    }

    async fn has_news(&self) {
        while !self.machine.lock().has_events() {
            self.news.notified().await;
        }
    }

    async fn say_goodbye(&self, beat: Beat) {
        if let Err(error) = self.beat(beat).await {
            tracing::debug!(group = %self.group, "leaving: {error}; the coordinator notices by itself");
        }
    }

    async fn beat(&self, beat: Beat) -> Result<Answer> {
        let coordinator = self.client.coordinator(CoordinatorKind::Group, &self.group).await?;
        let make = |version: i16| self.request(beat, version);
        let answer = self.client.send_with(NodeTarget::Id(coordinator), 0..=1, None, make).await;
        let unsupported = |error: Error| {
            match error.kind() {
            ErrorKind::UnsupportedVersion => error.context(format_args!(
                "group {}: the cluster has no consumer groups of the new protocol, set group.protocol=classic",
                self.group
            )),
            _ => error,
        }
        };
        self.read(answer.map_err(unsupported)?)
    }

    fn request(&self, beat: Beat, version: i16) -> ConsumerGroupHeartbeatRequest {
        let topic = |(id, partitions): (Uuid, Vec<i32>)| {
            TopicPartitions::default().with_topic_id(id).with_partitions(partitions)
        };
        // an older coordinator makes the id
        let joins = beat.epoch == 0 && version < OWN_ID_FROM;
        let member_id = if joins { String::new() } else { beat.member_id };
        let mut request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_member_id(StrBytes::from_string(member_id))
            .with_member_epoch(beat.epoch)
            .with_instance_id(self.settings.instance.clone())
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(beat.owned.map(|owned| owned.into_iter().map(topic).collect()));
        if beat.full {
            let rack = Some(&self.client.config().client_rack).filter(|rack| !rack.is_empty());
            request = request
                .with_rack_id(rack.map(|rack| StrBytes::from_string(rack.clone())))
                .with_rebalance_timeout_ms(self.settings.max_poll_interval.as_millis() as i32)
                .with_server_assignor(self.settings.remote_assignor.clone());
        }
        match beat.wanted {
            Some(Wanted::Names(names)) => {
                let names = names.iter().map(|name| topic_name(name)).collect();
                request = request.with_subscribed_topic_names(Some(names));
                if version >= OWN_ID_FROM {
                    // a pattern of before does not hold any more
                    request = request.with_subscribed_topic_regex(Some(StrBytes::default()));
                }
            }
            Some(Wanted::Pattern(pattern)) => {
                request = request
                    .with_subscribed_topic_names(Some(Vec::new()))
                    .with_subscribed_topic_regex(Some(StrBytes::from_string(pattern)));
            }
            None => {}
        }
        request
    }

    fn read(&self, answer: ConsumerGroupHeartbeatResponse) -> Result<Answer> {
        if let Some(code) = ErrorCode::try_from_code(answer.error_code) {
            let why = answer.error_message.map(|text| format!(" ({})", text.as_str())).unwrap_or_default();
            return Err(Error::broker(code, format_args!("a heartbeat of group {}{why}", self.group)));
        }
        let assignment = answer.assignment.map(|assignment| {
            assignment.topic_partitions.into_iter().map(|of| (of.topic_id, of.partitions)).collect()
        });
        Ok(Answer {
            member_id: answer.member_id.map(|id| id.to_string()).filter(|id| !id.is_empty()),
            epoch: answer.member_epoch,
            interval: Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0).max(1)),
            assignment,
        })
    }
}

/// Sends heartbeats until the membership is dropped.
async fn run(shared: Arc<Shared>) {
    loop {
        let (beat, look_again, round) = shared.step();
        let Some(beat) = beat else {
            tokio::select! {
                () = shared.wake.notified() => {}
                () = sleep_until(look_again) => {}
            }
            continue;
        };
        if beat.epoch < 0 {
            shared.say_goodbye(beat).await;
            continue;
        }
        let answer = shared.beat(beat).await;
        if let Err(error) = &answer
            && error.is_retriable()
            && error.code() != Some(ErrorCode::CoordinatorLoadInProgress)
        {
            shared.client.forget_coordinator(CoordinatorKind::Group, &shared.group);
        }
        shared.change(|machine| machine.answered(round, answer, Instant::now()));
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

//! The traits that connectors implement.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    BoxFuture, ConfigMap, ConnectError, ConnectorContext, ConnectorKind, ConnectorTransactionBoundaries,
    OffsetMap, StopSignal, TopicPartition, TransactionContext,
};
use crate::config::{ConfigDef, ConfigError};
use crate::data::{Batch, RecordError, SourcePosition};

/// Whether a source connector can take part in exactly-once delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExactlyOnceSupport {
    /// With the given configuration it can.
    Supported,
    /// With the given configuration it cannot.
    Unsupported,
}

/// What a connector says to a change of its offsets by a user (KIP-875).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOffsets {
    /// All is done, or nothing had to be done: the worker changes the offsets that it keeps.
    Done,
    /// The worker may change the offsets that it keeps; what the system itself keeps is the user's to change.
    WorkerOnly,
    /// Offsets of this connector cannot be changed from outside.
    Unsupported,
}

/// One kind of connector, as the registry lists it.
pub trait ConnectorPlugin: Send + Sync {
    /// The connector's full class name as in the JVM; its simple name, with and without `Connector`, is an alias.
    fn class(&self) -> &'static str;
    /// The task's full class name as in the JVM.
    fn task_class(&self) -> &'static str;
    /// The version that REST shows.
    fn version(&self) -> &'static str;
    /// Source or sink.
    fn kind(&self) -> ConnectorKind;
    /// The connector's own keys; the worker adds the framework's.
    fn config_def(&self) -> &'static ConfigDef;
    /// What is wrong between keys that are right each by itself; asked once the table has found nothing.
    fn validate(&self, _config: &ConfigMap) -> Vec<ConfigError> {
        Vec::new()
    }
    /// Tries to reach the connector's own system, when a user asks a validation for that. The error names the key that leads
    /// there.
    fn check_connection<'a>(&'a self, _config: &'a ConfigMap) -> BoxFuture<'a, Result<(), ConfigError>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// A new connector instance.
    fn connector(&self) -> Box<dyn Connector>;
    /// A new task instance, of the plugin's kind.
    fn task(&self) -> Task;
}

/// A task of either kind.
pub enum Task {
    /// A source task.
    Source(Box<dyn SourceTask>),
    /// A sink task.
    Sink(Box<dyn SinkTask>),
}

/// The part of a connector that runs once per connector: it checks the configuration and splits the work into tasks.
pub trait Connector: Send {
    /// Begins with a configuration that has passed the plugin's `config_def`.
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: ConnectorContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>>;
    /// One configuration per task, at most `max_tasks` (≥ 1).
    fn task_configs(&mut self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError>;
    /// Ends what `start` began.
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    /// Checks new offsets that a user wants, and changes what the system itself keeps. The instance has not been started. Sources
    /// get their own partitions and offsets, sinks `kafka_topic`, `kafka_partition` and `kafka_offset`; a partition without an
    /// offset is reset.
    fn alter_offsets<'a>(
        &'a mut self,
        _config: &'a ConfigMap,
        _offsets: &'a [(OffsetMap, Option<OffsetMap>)],
    ) -> BoxFuture<'a, Result<AlterOffsets, ConnectError>> {
        Box::pin(std::future::ready(Ok(AlterOffsets::Unsupported)))
    }
    /// Whether the configuration allows exactly-once delivery (sources).
    fn exactly_once_support(&self, _config: &ConfigMap) -> ExactlyOnceSupport {
        ExactlyOnceSupport::Unsupported
    }
    /// Whether the configuration allows `transaction.boundary=connector` (sources): its tasks then use the
    /// [`TransactionContext`] that they are given.
    fn transaction_boundaries(&self, _config: &ConfigMap) -> ConnectorTransactionBoundaries {
        ConnectorTransactionBoundaries::Unsupported
    }
}

/// Reads the offsets that were committed for a source.
pub trait OffsetReader: Send + Sync {
    /// The offset last committed for the source partition.
    fn offset<'a>(
        &'a self,
        partition: &'a OffsetMap,
    ) -> BoxFuture<'a, Result<Option<OffsetMap>, ConnectError>>;
}

/// What a source task may use of its worker.
#[derive(Clone)]
pub struct SourceTaskContext {
    /// The connector's name.
    pub connector: Arc<str>,
    /// The task's number.
    pub task: usize,
    /// Committed offsets.
    pub offsets: Arc<dyn OffsetReader>,
    /// Raised when the task shall end; `poll` has to return soon after.
    pub stop: StopSignal,
    /// With `transaction.boundary=connector` and exactly-once delivery: where the task has to say where transactions end.
    pub transactions: Option<TransactionContext>,
}

/// The part of a source that moves data.
pub trait SourceTask: Send {
    /// Begins with the task's configuration.
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SourceTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>>;

    /// Appends records to the empty `batch`, each with its source position; none after waiting about a second at most.
    ///
    /// Positions are in order for each source partition: the worker commits one when its records and all before them are
    /// acknowledged. A retriable error counts as no records. Returns soon after the stop signal.
    fn poll<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), ConnectError>>;

    /// The worker has stored these offsets, the newest of each source partition since the last call: none if nothing new was
    /// acknowledged. What lies at or before them may be released in the source.
    fn commit<'a>(&'a mut self, _committed: &'a [SourcePosition]) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Ends what `start` began; called after the last `poll` and commit.
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a sink task may use of its worker.
#[derive(Clone)]
pub struct SinkTaskContext {
    /// The connector's name.
    pub connector: Arc<str>,
    /// The task's number.
    pub task: usize,
    /// Raised when the task shall end; waits inside `put` have to end soon after.
    pub stop: StopSignal,
    /// Where partitions shall be read on.
    pub positions: Positions,
}

/// Where a sink wants its partitions to be read on, if not where the group has committed: the JVM's `SinkTaskContext.offset`.
#[derive(Debug, Clone, Default)]
pub struct Positions(Arc<Mutex<Vec<(TopicPartition, i64)>>>);

impl Positions {
    /// From the next poll on this partition is read from this offset; within `open` that is before its first record.
    pub fn read_on(&self, partition: TopicPartition, offset: i64) {
        self.0.lock().push((partition, offset));
    }

    /// What was asked since the last time.
    pub(crate) fn take(&self) -> Vec<(TopicPartition, i64)> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// How far a put batch has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The task holds it and will write it; only the next `flush` makes it durable.
    Accepted,
    /// It and everything put before it survive a crash of the worker: its offsets may be committed.
    Durable,
}

/// A record that the target refused, by its index in the batch; the rest of the batch went on.
#[derive(Debug)]
pub struct FailedRecord {
    /// Index in the batch.
    pub record: usize,
    /// Why.
    pub error: RecordError,
}

/// What became of a batch.
#[derive(Debug)]
pub struct PutOutcome {
    /// Accepted or durable; durable is cumulative.
    pub durability: Durability,
    /// Records that the target refused: the worker reports them as `errors.*` says.
    pub failed: Vec<FailedRecord>,
}

/// The promise of a put: resolves to what became of the batch.
pub struct Ticket(TicketState);

enum TicketState {
    Ready(Option<Result<PutOutcome, ConnectError>>),
    Pending(oneshot::Receiver<Result<PutOutcome, ConnectError>>),
}

impl Ticket {
    /// Accepted already, with no failed record.
    pub fn accepted() -> Ticket {
        Ticket::ready(PutOutcome { durability: Durability::Accepted, failed: Vec::new() })
    }

    /// Durable already, with no failed record.
    pub fn durable() -> Ticket {
        Ticket::ready(PutOutcome { durability: Durability::Durable, failed: Vec::new() })
    }

    /// The outcome is known already.
    pub fn ready(outcome: PutOutcome) -> Ticket {
        Ticket(TicketState::Ready(Some(Ok(outcome))))
    }

    /// The outcome comes later, by the sender; a dropped sender is a fatal error.
    pub fn pending() -> (oneshot::Sender<Result<PutOutcome, ConnectError>>, Ticket) {
        let (sender, receiver) = oneshot::channel();
        (sender, Ticket(TicketState::Pending(receiver)))
    }
}

impl Future for Ticket {
    type Output = Result<PutOutcome, ConnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || ConnectError::fatal("the sink task dropped a batch without telling what became of it");
        match &mut self.get_mut().0 {
            TicketState::Ready(outcome) => Poll::Ready(outcome.take().unwrap_or_else(|| Err(gone()))),
            TicketState::Pending(receiver) => {
                Pin::new(receiver).poll(cx).map(|outcome| outcome.unwrap_or_else(|_| Err(gone())))
            }
        }
    }
}

/// The part of a sink that moves data.
pub trait SinkTask: Send {
    /// Whether JSON messages shall come as their text, unparsed: as strings of schema [`crate::converter::JSON_DOCUMENT`]. So it
    /// is where nothing looks into them on the way; else they come as always. Asked before `start`.
    fn takes_json(&self) -> bool {
        false
    }

    /// Begins with the task's configuration.
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SinkTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>>;

    /// The task gets these partitions.
    fn open<'a>(&'a mut self, _partitions: &'a [TopicPartition]) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Takes a batch (shared: the worker keeps it for the dead letter queue until the ticket resolves). Only its live
    /// records count. After a retriable error nothing of the batch has been taken: the worker gives the same batch again.
    ///
    /// The next batch may come before the ticket of this one is resolved: what is under way together is the task's to bound,
    /// by waiting here until there is room or the stop signal is raised.
    ///
    /// An empty batch comes on idle polls, for tasks that write by time.
    fn put(&mut self, batch: Arc<Batch>) -> BoxFuture<'_, Result<Ticket, ConnectError>>;

    /// A barrier: when it resolves, everything put before is durable. Called before offsets are committed.
    /// All tickets are resolved then, or about to be.
    fn flush(&mut self) -> BoxFuture<'_, Result<(), ConnectError>>;

    /// The task loses these partitions; called after the flush and commit of what was put.
    fn close<'a>(&'a mut self, _partitions: &'a [TopicPartition]) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Ends what `start` began.
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The connectors of this binary: an explicit list, nothing is scanned.
#[derive(Clone)]
pub struct Registry {
    plugins: Arc<[Arc<dyn ConnectorPlugin>]>,
}

impl Registry {
    /// A registry of these plugins, listed as the JVM lists them: sinks first, then by class.
    pub fn new(mut plugins: Vec<Arc<dyn ConnectorPlugin>>) -> Registry {
        plugins.sort_by_key(|plugin| (plugin.kind() == ConnectorKind::Source, plugin.class()));
        Registry { plugins: plugins.into() }
    }

    /// All plugins.
    pub fn plugins(&self) -> &[Arc<dyn ConnectorPlugin>] {
        &self.plugins
    }

    /// The plugin of a full class name or of an alias: the simple name with or without `Connector`.
    pub fn find(&self, class: &str) -> Option<&Arc<dyn ConnectorPlugin>> {
        let named = |plugin: &&Arc<dyn ConnectorPlugin>| {
            let simple = plugin.class().rsplit('.').next().unwrap_or_default();
            class == plugin.class() || class == simple || Some(class) == simple.strip_suffix("Connector")
        };
        self.plugins.iter().find(named)
    }
}

//! The sink task.

use std::sync::Arc;

use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, FailedRecord, SinkTask, SinkTaskContext, Ticket,
};
use aqueduct_engine::data::{Batch, RecordError, Stage};

use super::document::Trouble;
use super::http::Http;
use super::plan::Planner;
use super::resources::{self, Resources};
use super::sender::{Failure, Sender, Taken};
use super::settings::{Flavor, OnRefusal, Settings};
use super::tracker::Tracked;

const CONNECT_EXCEPTION: &str = "org.apache.kafka.connect.errors.ConnectException";

/// Writes records to a search cluster.
pub(super) struct SearchTask {
    flavor: Flavor,
    running: Option<Running>,
}

struct Running {
    sender: Arc<Sender>,
    planner: Planner,
    resources: Resources,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl SearchTask {
    pub(super) fn new(flavor: Flavor) -> SearchTask {
        SearchTask { flavor, running: None }
    }
}

impl Running {
    async fn start(
        flavor: Flavor,
        config: &ConfigMap,
        context: SinkTaskContext,
    ) -> Result<Running, ConnectError> {
        let wrong = |error| ConnectError::fatal("the connector's configuration is wrong").caused_by(error);
        let settings = Settings::new(flavor, config).map_err(wrong)?;
        let http = Http::new(settings.connection.clone(), config).map_err(wrong)?;
        let SinkTaskContext { connector, task, stop, .. } = context;
        let sender = Sender::new(&settings, http, stop, connector, task);
        resources::greet(&sender).await.map_err(|failure| failure.error())?;
        Ok(Running { sender, planner: Planner::new(&settings), resources: Resources::new(settings) })
    }

    async fn put(&mut self, batch: Arc<Batch>) -> Result<Ticket, ConnectError> {
        self.sender.check()?;
        if batch.records.is_empty() {
            return Ok(Ticket::accepted());
        }
        let targets =
            self.resources.of_batch(&self.sender, &batch).await.map_err(|failure| failure.error())?;
        let (tracked, ticket) = Tracked::new(batch);
        let mut next = 0;
        loop {
            match self.sender.take(&mut self.planner, &tracked, &targets, &mut next) {
                Taken::All => break,
                Taken::NoRoom(landed) => self.sender.wait_for_room(landed).await?,
                Taken::Trouble(trouble) => self.trouble(&tracked, next - 1, trouble),
                Taken::Ignored => self.ignored(&tracked, next - 1),
            }
        }
        let Tracked { batch, tracker } = tracked;
        drop(batch);
        tracker.done(1);
        self.sender.linger();
        Ok(ticket)
    }

    /// A record of which no operation can be made.
    fn trouble(&self, tracked: &Tracked, record: usize, trouble: Trouble) {
        let writing = &self.sender.writing;
        let (error, how) = match trouble {
            Trouble::Data(failure) => {
                let how = if writing.drop_invalid { OnRefusal::Warn } else { OnRefusal::Fail };
                (failure.at(Stage::TaskPut), how)
            }
            Trouble::Malformed(text) => {
                self.sender.metrics.malformed.increment(1);
                (put_error(format!("Indexing failed: {text}")), writing.on_malformed)
            }
        };
        if let Some(failure) = self.sender.judge(&tracked.batch, record, &error, how) {
            self.sender.fail(Failure::fatal(format!(
                "{} (see drop.invalid.message, behavior.on.null.values and behavior.on.malformed.documents)",
                failure.message
            )));
        }
        self.report(tracked, record, error);
    }

    /// A record without value where these are ignored.
    fn ignored(&self, tracked: &Tracked, record: usize) {
        self.report(tracked, record, put_error("Cannot write null valued record.".to_owned()));
    }

    fn report(&self, tracked: &Tracked, record: usize, error: RecordError) {
        if self.sender.writing.tolerant {
            tracked.tracker.failed(FailedRecord { record, error });
        }
    }
}

fn put_error(message: String) -> RecordError {
    RecordError { stage: Stage::TaskPut, java_class: CONNECT_EXCEPTION, message }
}

impl SinkTask for SearchTask {
    fn takes_json(&self) -> bool {
        true
    }

    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SinkTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            self.running = Some(Running::start(self.flavor, config, context).await?);
            Ok(())
        })
    }

    fn put(&mut self, batch: Arc<Batch>) -> BoxFuture<'_, Result<Ticket, ConnectError>> {
        Box::pin(async move {
            match &mut self.running {
                Some(running) => running.put(batch).await,
                None => Err(ConnectError::fatal("the task was not started")),
            }
        })
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        Box::pin(async move {
            match &self.running {
                Some(running) => running.sender.flush().await,
                None => Ok(()),
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.running = None;
        Box::pin(std::future::ready(()))
    }
}

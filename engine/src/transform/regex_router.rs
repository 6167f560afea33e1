//! `RegexRouter`: another topic by regular expression.

use super::Transform;
use super::java_regex::JavaRegex;
use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, RecordError, Stage, TopicId};

pub(super) struct RegexRouter {
    regex: JavaRegex,
    replacement: String,
    /// New topic of each topic seen in the batch.
    routes: Vec<(TopicId, Result<TopicId, String>)>,
}

impl RegexRouter {
    pub(super) fn new(config: &ConfigMap) -> Result<Self, ConfigError> {
        let regex = config.get("regex").ok_or_else(|| ConfigError::missing("regex"))?;
        let replacement = config.get("replacement").ok_or_else(|| ConfigError::missing("replacement"))?;
        Ok(Self {
            regex: JavaRegex::new("regex", regex.trim())?,
            replacement: replacement.trim().to_owned(),
            routes: Vec::new(),
        })
    }

    fn route(&self, batch: &mut Batch, topic: TopicId) -> Result<TopicId, String> {
        let name = batch.topic(topic);
        if !self.regex.matches(name) {
            return Ok(topic);
        }
        let name = self.regex.replace_first(name, &self.replacement)?;
        Ok(batch.intern_topic(&name))
    }
}

impl Transform for RegexRouter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.routes.clear();
        for row in rows {
            let index = *row as usize;
            let topic = batch.records[index].topic;
            let known = self.routes.iter().find(|(from, _)| *from == topic).map(|(_, to)| to.clone());
            let route = known.unwrap_or_else(|| {
                let route = self.route(batch, topic);
                self.routes.push((topic, route.clone()));
                route
            });
            match route {
                Ok(topic) => batch.records[index].topic = topic,
                Err(message) => {
                    let java_class = if message.starts_with("No group ") {
                        "java.lang.IndexOutOfBoundsException"
                    } else {
                        "java.lang.IllegalArgumentException"
                    };
                    let error = RecordError { stage: Stage::Transformation, java_class, message };
                    batch.fail(index, error);
                }
            }
        }
    }
}

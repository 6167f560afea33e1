//! `RegexRouter`: another topic by regular expression.

use super::Transform;
use super::java_regex::JavaRegex;
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, RecordError, Side, TopicId};

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(
            "regex",
            ConfigType::String,
            Importance::High,
            "Regular expression to use for matching the whole topic.",
        ),
        ConfigKey::required("replacement", ConfigType::String, Importance::High, "Replacement string."),
    ],
};

struct RegexRouter {
    regex: JavaRegex,
    replacement: String,
    /// New topic of each topic seen in the batch.
    routes: Vec<(TopicId, Result<TopicId, RecordError>)>,
}

pub(super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(RegexRouter {
        regex: JavaRegex::new("regex", config.string("regex").unwrap_or_default())?,
        replacement: config.string("replacement").unwrap_or_default().to_owned(),
        routes: Vec::new(),
    }))
}

impl RegexRouter {
    fn route(&self, batch: &mut Batch, topic: TopicId) -> Result<TopicId, RecordError> {
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
                Err(error) => batch.fail(index, error),
            }
        }
    }
}

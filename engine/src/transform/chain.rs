//! The chain of a connector: `transforms`, `predicates` and what belongs to each alias.

use std::collections::HashMap;

use super::predicate::Predicate;
use super::{Transform, create};
use crate::config::{ConfigError, ConfigMap, with_prefix};
use crate::data::{Batch, RecordState};

struct Step {
    transform: Box<dyn Transform>,
    /// Which records it sees; `true` turns the predicate round.
    predicate: Option<(Predicate, bool)>,
}

/// Transforms in the order in which they run.
#[derive(Default)]
pub struct Chain {
    steps: Vec<Step>,
    rows: Vec<u32>,
}

/// The aliases of a list key: at least one character each, no two the same.
fn aliases(config: &ConfigMap, key: &str) -> Result<Vec<String>, ConfigError> {
    let text = config.get(key).map(|text| text.trim()).unwrap_or_default();
    let mut aliases: Vec<String> = Vec::new();
    for alias in text.split(',').map(str::trim).filter(|alias| !alias.is_empty()) {
        if aliases.iter().any(|known| known == alias) {
            return Err(ConfigError::invalid(
                key,
                format!("[{}]", text.replace(',', ", ")),
                "Duplicate alias provided.",
            ));
        }
        aliases.push(alias.to_owned());
    }
    Ok(aliases)
}

impl Chain {
    /// The chain of a connector's configuration.
    ///
    /// # Errors
    /// Names the key that is missing or wrong.
    pub fn from_config(config: &ConfigMap) -> Result<Self, ConfigError> {
        let mut predicates = HashMap::new();
        for alias in aliases(config, "predicates")? {
            let key = format!("predicates.{alias}.type");
            let class = config.get(&key).ok_or_else(|| ConfigError::missing(&key))?;
            let own = with_prefix(config, &format!("predicates.{alias}."));
            predicates.insert(alias, Predicate::create(&key, class.trim(), &own)?);
        }
        let mut steps = Vec::new();
        for alias in aliases(config, "transforms")? {
            let own = with_prefix(config, &format!("transforms.{alias}."));
            let key = format!("transforms.{alias}.type");
            let class = own.get("type").ok_or_else(|| ConfigError::missing(&key))?;
            let transform = create(&key, class.trim(), &own)?;
            let predicate = step_predicate(&alias, &own, &predicates)?;
            steps.push(Step { transform, predicate });
        }
        Ok(Self { steps, rows: Vec::new() })
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs every step over the live records of the batch.
    pub fn apply(&mut self, batch: &mut Batch) {
        for step in &mut self.steps {
            self.rows.clear();
            for (index, record) in batch.records.iter().enumerate() {
                let selected = record.state == RecordState::Live
                    && step
                        .predicate
                        .as_ref()
                        .is_none_or(|(predicate, negate)| predicate.test(batch, record) != *negate);
                if selected {
                    self.rows.push(index as u32);
                }
            }
            if !self.rows.is_empty() {
                step.transform.apply(batch, &self.rows);
            }
        }
    }
}

fn step_predicate(
    alias: &str,
    own: &ConfigMap,
    predicates: &HashMap<String, Predicate>,
) -> Result<Option<(Predicate, bool)>, ConfigError> {
    let negate_key = format!("transforms.{alias}.negate");
    let predicate_key = format!("transforms.{alias}.predicate");
    let negate = match own.get("negate").map(|text| text.trim()) {
        None => None,
        Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Some(text) => {
            return Err(ConfigError::invalid(&negate_key, text, "Expected value to be either true or false"));
        }
    };
    match (own.get("predicate").map(|name| name.trim()), negate) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ConfigError::new(
            &negate_key,
            format!(
                "Config '{negate_key}' was provided but there is no config '{predicate_key}' defining a predicate to be \
                 negated."
            ),
        )),
        (Some(name), negate) => match predicates.get(name) {
            Some(predicate) => Ok(Some((predicate.clone(), negate.unwrap_or(false)))),
            None => Err(ConfigError::invalid(
                &predicate_key,
                name,
                "no predicate of that alias is defined in predicates",
            )),
        },
    }
}

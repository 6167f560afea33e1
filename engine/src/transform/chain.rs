//! The chain of a connector: `transforms`, `predicates` and what belongs to each alias.

use std::collections::HashMap;

use super::Transform;
use super::class::create;
use super::predicate::Predicate;
use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, RecordState};

struct Step {
    /// The transform's class, as the configuration names it.
    class: String,
    transform: Box<dyn Transform>,
    /// Which records it sees; `true` turns the predicate round.
    predicate: Option<(Predicate, bool)>,
}

/// Transforms in the order in which they run.
#[derive(Default)]
pub struct Chain {
    steps: Vec<Step>,
    rows: Vec<u32>,
    /// For each step that failed records of the last batch: where its errors end, and the step.
    failures: Vec<(usize, usize)>,
}

/// The aliases of a list key, no two the same. An empty one stays: its class is then missing.
fn aliases(config: &ConfigMap, key: &str) -> Result<Vec<String>, ConfigError> {
    let text = config.get(key).map(|text| text.trim()).unwrap_or_default();
    let mut aliases: Vec<String> = Vec::new();
    if text.is_empty() {
        return Ok(aliases);
    }
    for alias in text.split(',').map(str::trim) {
        if aliases.iter().any(|known| known == alias) {
            let list = text.replace(',', ", ");
            return Err(ConfigError::invalid(key, format!("[{list}]"), "Duplicate alias provided."));
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
        let class = |prefix: &str| {
            let key = format!("{prefix}type");
            config.get(&key).map(|class| class.trim()).unwrap_or_default().to_owned()
        };
        let mut predicates = HashMap::new();
        let predicate_aliases = aliases(config, "predicates")?;
        let mut steps = Vec::new();
        for alias in aliases(config, "transforms")? {
            let prefix = format!("transforms.{alias}.");
            let class = class(&prefix);
            let transform = create(&prefix, &class, config)?;
            steps.push((alias, class, transform));
        }
        for alias in predicate_aliases {
            let prefix = format!("predicates.{alias}.");
            let predicate = Predicate::create(&prefix, &class(&prefix), config)?;
            predicates.insert(alias, predicate);
        }
        let step = |(alias, class, transform): (String, String, Box<dyn Transform>)| {
            Ok(Step { predicate: step_predicate(&alias, config, &predicates)?, class, transform })
        };
        let steps: Result<Vec<Step>, ConfigError> = steps.into_iter().map(step).collect();
        Ok(Self { steps: steps?, rows: Vec::new(), failures: Vec::new() })
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs every step over the live records of the batch.
    pub fn apply(&mut self, batch: &mut Batch) {
        self.failures.clear();
        for (place, step) in self.steps.iter_mut().enumerate() {
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
                let (errors, values) = (batch.errors.len(), batch.values.len());
                step.transform.apply(batch, &self.rows);
                batch.own_from = Some(match (step.transform.keeps_rows_apart(), batch.own_from) {
                    (true, own) => own.unwrap_or(values),
                    (false, _) => batch.values.len(),
                });
                if batch.errors.len() > errors {
                    self.failures.push((batch.errors.len(), place));
                }
            }
        }
    }

    /// The class of the transform that gave this one of the last batch's errors.
    #[must_use]
    pub fn failed_class(&self, error: usize) -> Option<&str> {
        let (_, place) = self.failures.iter().find(|(end, _)| error < *end)?;
        Some(&self.steps.get(*place)?.class)
    }
}

fn step_predicate(
    alias: &str,
    config: &ConfigMap,
    predicates: &HashMap<String, Predicate>,
) -> Result<Option<(Predicate, bool)>, ConfigError> {
    let negate_key = format!("transforms.{alias}.negate");
    let predicate_key = format!("transforms.{alias}.predicate");
    let negate = config.get(&negate_key);
    if let Some(text) = negate
        && !["true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text.trim()))
    {
        return Err(ConfigError::invalid(&negate_key, text, "Expected value to be either true or false"));
    }
    // Connect reads both without trimming them.
    let negate_is = negate.is_some_and(|text| text.eq_ignore_ascii_case("true"));
    match (config.get(&predicate_key), negate) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ConfigError::new(
            &negate_key,
            format!(
                "Config '{negate_key}' was provided but there is no config '{predicate_key}' defining a predicate to be \
                 negated."
            ),
        )),
        (Some(name), _) => match predicates.get(name) {
            Some(predicate) => Ok(Some((predicate.clone(), negate_is))),
            None => Err(ConfigError::invalid(
                &predicate_key,
                name,
                "no predicate of that alias is defined in predicates",
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Record, SchemaBuilder, Side, Type, Value};

    fn chain(config: &[(&str, &str)]) -> Chain {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Chain::from_config(&config).unwrap()
    }

    /// One record whose key and value are one struct of two texts.
    fn shared() -> Batch {
        let mut batch = Batch::default();
        let text = |name: &str, builder: SchemaBuilder| {
            builder.field(name, SchemaBuilder::new(Type::String).build())
        };
        let schema = batch.intern_schema(&text("b", text("a", SchemaBuilder::structure())).build());
        let texts = [Value::String(batch.put_str("1")), Value::String(batch.put_str("x"))];
        let value = Value::Struct(batch.push_values(&texts));
        let (key_schema, key, value_schema) = (schema, value, schema);
        batch.records.push(Record { key_schema, key, value_schema, value, ..Record::default() });
        batch
    }

    fn texts(batch: &Batch, side: Side) -> Vec<String> {
        let (_, Value::Struct(range)) = batch.records[0].side(side) else { panic!("no struct") };
        let text = |value: &Value| match value {
            Value::String(span) => batch.str(*span).to_owned(),
            other => format!("{other:?}"),
        };
        batch.items(range).iter().map(text).collect()
    }

    const MASK: [(&str, &str); 4] = [
        ("transforms", "mask"),
        ("transforms.mask.type", "org.apache.kafka.connect.transforms.MaskField$Value"),
        ("transforms.mask.fields", "a"),
        ("transforms.mask.replacement", "*"),
    ];

    #[test]
    fn a_struct_that_may_be_shared_is_copied() {
        let mut batch = shared();
        chain(&MASK).apply(&mut batch);
        assert_eq!(
            (texts(&batch, Side::Key), texts(&batch, Side::Value)),
            (vec!["1".into(), "x".into()], vec!["*".into(), "x".into()])
        );

        // also when a transform has made it shared: the value's copy becomes the key's as well
        let mut batch = shared();
        let text = "org.apache.kafka.connect.transforms.";
        let steps = [
            ("transforms", "hoist,copy,key,value,mask".to_owned()),
            ("transforms.hoist.type", format!("{text}HoistField$Value")),
            ("transforms.hoist.field", "h".to_owned()),
            ("transforms.copy.type", format!("{text}ValueToKey")),
            ("transforms.copy.fields", "h".to_owned()),
            ("transforms.key.type", format!("{text}ExtractField$Key")),
            ("transforms.key.field", "h".to_owned()),
            ("transforms.value.type", format!("{text}ExtractField$Value")),
            ("transforms.value.field", "h".to_owned()),
        ];
        let steps: Vec<_> = steps
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .chain(MASK[1..].iter().copied())
            .collect();
        batch.rows_are_own();
        chain(&steps).apply(&mut batch);
        assert!(batch.errors.is_empty(), "{:?}", batch.errors);
        assert_eq!(
            (texts(&batch, Side::Key), texts(&batch, Side::Value)),
            (vec!["1".into(), "x".into()], vec!["*".into(), "x".into()])
        );
    }

    #[test]
    fn a_struct_that_fails_is_as_it_was() {
        let cast = [
            ("transforms", "cast"),
            ("transforms.cast.type", "org.apache.kafka.connect.transforms.Cast$Value"),
            ("transforms.cast.spec", "a:int32,b:int32"),
        ];
        let mut batch = shared();
        batch.rows_are_own();
        let values = batch.values.len();
        chain(&cast).apply(&mut batch);
        assert_eq!((batch.errors.len(), batch.values.len()), (1, values), "changed where it was");
        assert_eq!(texts(&batch, Side::Value), ["1", "x"]);
    }
}

//! Transforms and predicates: a chain that runs over whole batches.
//!
//! A transform compiles a plan for each schema it meets and then runs it over the rows; see [`PlanCache`].

mod chain;
mod field_plan;
mod filter;
mod insert_field;
mod java_regex;
mod mask_field;
mod predicate;
mod regex_router;
mod replace_field;

use std::sync::Arc;

pub use chain::Chain;
pub use predicate::{PREDICATE_CLASSES, Predicate};

use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, RecordError, SchemaRef, Side, Stage};

/// Changes records of a batch.
pub trait Transform: Send {
    /// Applies the transform to the records at `rows`, which are live. What fails marks its record.
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]);
}

/// Schemas whose plans a transform keeps.
const CACHED_PLANS: usize = 16;

/// Plans by schema. The one used last is tried first, by pointer.
pub(crate) struct PlanCache<P> {
    plans: Vec<(SchemaRef, P)>,
    last: usize,
}

impl<P> Default for PlanCache<P> {
    fn default() -> Self {
        Self { plans: Vec::new(), last: 0 }
    }
}

impl<P> PlanCache<P> {
    /// The plan for `schema`, compiled if it is not there.
    pub(crate) fn get(&mut self, schema: &SchemaRef, compile: impl FnOnce() -> P) -> &mut P {
        let is_it = |entry: &(SchemaRef, P)| Arc::ptr_eq(&entry.0, schema);
        if !self.plans.get(self.last).is_some_and(is_it) {
            self.last = self.plans.iter().position(is_it).unwrap_or_else(|| {
                if self.plans.len() >= CACHED_PLANS {
                    self.plans.remove(0);
                }
                self.plans.push((Arc::clone(schema), compile()));
                self.plans.len() - 1
            });
        }
        &mut self.plans[self.last].1
    }
}

/// The package of Kafka's own transforms.
const PACKAGE: &str = "org.apache.kafka.connect.transforms.";

/// Names of the transforms that [`create`] knows, without package; a `$Key` and a `$Value` form exist where it says so.
const NAMES: &[(&str, bool)] = &[
    ("Filter", false),
    ("InsertField", true),
    ("MaskField", true),
    ("RegexRouter", false),
    ("ReplaceField", true),
];

/// Class names of all transforms, as `GET /connector-plugins?connectorsOnly=false` lists them.
#[must_use]
pub fn classes() -> Vec<String> {
    let sides = |(name, sided): &(&str, bool)| match sided {
        true => vec![format!("{PACKAGE}{name}$Key"), format!("{PACKAGE}{name}$Value")],
        false => vec![format!("{PACKAGE}{name}")],
    };
    NAMES.iter().flat_map(sides).collect()
}

/// A transform by its Java class, with the part of the configuration below its alias.
fn create(key: &str, class: &str, config: &ConfigMap) -> Result<Box<dyn Transform>, ConfigError> {
    let unknown = || {
        ConfigError::invalid(
            key,
            class,
            format!("Class {class} could not be found. This build has {}", classes().join(", ")),
        )
    };
    let name = class.strip_prefix(PACKAGE).ok_or_else(unknown)?;
    let (name, side) = match name.split_once('$') {
        Some((name, "Key")) => (name, Some(Side::Key)),
        Some((name, "Value")) => (name, Some(Side::Value)),
        Some(_) => return Err(unknown()),
        None => (name, None),
    };
    let transform: Box<dyn Transform> = match (name, side) {
        ("Filter", None) => Box::new(filter::Filter),
        ("RegexRouter", None) => Box::new(regex_router::RegexRouter::new(config)?),
        ("InsertField", Some(side)) => Box::new(insert_field::InsertField::new(config, side)?),
        ("MaskField", Some(side)) => Box::new(mask_field::MaskField::new(config, side)?),
        ("ReplaceField", Some(side)) => Box::new(replace_field::ReplaceField::new(config, side)?),
        _ => return Err(unknown()),
    };
    Ok(transform)
}

/// A failure of a transform, `DataException`.
fn data_error(message: impl Into<String>) -> RecordError {
    RecordError::data(Stage::Transformation, message)
}

//! A client's properties, read by way of the table of its settings.

use std::time::Duration;

use super::key::{Effect, Key, SettingKind};
use super::nearest::nearest;
use super::{Properties, invalid, tables};
use crate::Result;

/// Which of Kafka's clients; each knows its own settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRole {
    /// An admin client.
    Admin,
    /// A producer.
    Producer,
    /// A consumer.
    Consumer,
}

impl ClientRole {
    fn own(self) -> &'static [Key] {
        match self {
            ClientRole::Admin => tables::ADMIN,
            ClientRole::Producer => tables::PRODUCER,
            ClientRole::Consumer => tables::CONSUMER,
        }
    }

    /// Every setting that such a client knows.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static Key> {
        self.own().iter().chain(tables::COMMON).chain(tables::SECURITY)
    }

    fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }

    const fn name(self) -> &'static str {
        match self {
            ClientRole::Admin => "an admin client",
            ClientRole::Producer => "a producer",
            ClientRole::Consumer => "a consumer",
        }
    }
}

/// Keys of this family are labels for metrics reporters; the JVM takes any.
const FREE_FAMILY: &str = "metrics.context.";

/// Checks the settings of a client, and tells what in them will have no effect: a line for each key that such a client does not
/// know, with the nearest one that it knows, and for each that only means something to the JVM's.
///
/// # Errors
/// [`crate::ErrorKind::Config`]: the first value that is not allowed, with its key and what is.
pub fn check_settings(role: ClientRole, properties: &Properties) -> Result<Vec<String>> {
    let values = Values::new(role, properties);
    values.check()?;
    Ok(values.warnings())
}

/// A setting as Kafka's documentation has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its type.
    pub kind: SettingKind,
    /// What it is where it is not set.
    pub default: Option<&'static str>,
}

/// What is known of a setting of such a client; none if it has no such setting.
#[must_use]
pub fn describe_setting(role: ClientRole, name: &str) -> Option<Setting> {
    role.key(name).map(|key| Setting { kind: key.kind, default: key.default })
}

/// The properties of a client of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    role: ClientRole,
    properties: &'a Properties,
}

impl<'a> Values<'a> {
    pub(crate) const fn new(role: ClientRole, properties: &'a Properties) -> Self {
        Self { role, properties }
    }

    pub(crate) const fn role(&self) -> ClientRole {
        self.role
    }

    /// Refuses a value of a known key that is not allowed.
    pub(crate) fn check(&self) -> Result<()> {
        let known = self.properties.iter().filter_map(|(name, value)| Some((self.role.key(name)?, value)));
        known.into_iter().try_for_each(|(key, value)| key.check(value.trim()))
    }

    /// What has no effect.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.properties.iter().filter_map(|(name, value)| self.warning(name, value.trim())).collect()
    }

    /// [`Self::check`], with the warnings in the log.
    pub(crate) fn check_and_warn(&self) -> Result<()> {
        self.check()?;
        let client = self.properties.get("client.id").map(String::as_str).unwrap_or_default();
        for warning in self.warnings() {
            tracing::warn!(client, "{warning}");
        }
        Ok(())
    }

    fn warning(&self, name: &str, value: &str) -> Option<String> {
        match self.role.key(name) {
            Some(Key { effect: Effect::Without(why), default, .. }) => {
                let changes = !value.is_empty() && default.is_none_or(|default| default != value);
                changes.then(|| format!("{name} has no effect: {why}"))
            }
            Some(_) => None,
            None if name.starts_with(FREE_FAMILY) => None,
            None => Some(match nearest(name, self.role.keys().map(|key| key.name)) {
                Some(nearest) => format!(
                    "{name} is not a setting of {} and has no effect; did you mean {nearest}?",
                    self.role.name()
                ),
                None => format!("{name} is not a setting of {} and has no effect", self.role.name()),
            }),
        }
    }

    /// What the user has set, which may be nothing but an empty text.
    pub(crate) fn given(&self, name: &str) -> Option<&'a str> {
        self.properties.get(name).map(|value| value.trim())
    }

    /// What the user has set of a family of keys, in the order of their names.
    pub(crate) fn family(&self, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let of = self.properties.iter().filter(|(name, _)| name.starts_with(prefix));
        let mut of: Vec<_> = of.map(|(name, value)| (name.as_str(), value.trim())).collect();
        of.sort_unstable();
        of
    }

    /// The value or the default; none where that is missing or empty.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        let value = self.given(name).or_else(|| self.role.key(name)?.default);
        value.filter(|value| !value.is_empty())
    }

    /// A number within its range. A key that this client does not have is 0.
    pub(crate) fn number(&self, name: &str) -> Result<i64> {
        self.parsed(name).map(Option::unwrap_or_default)
    }

    /// A number within its range, or the one for clients that do not have this key.
    pub(crate) fn number_or(&self, name: &str, other: i64) -> Result<i64> {
        self.parsed(name).map(|number| number.unwrap_or(other))
    }

    /// Milliseconds. Less than none, which a few keys allow, is for ever.
    pub(crate) fn millis(&self, name: &str) -> Result<Duration> {
        let millis = self.number(name)?;
        // 24 days are for ever here, and can be added to any moment
        Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX).min(i32::MAX as u64)))
    }

    /// A number with a fraction within its range.
    pub(crate) fn fraction(&self, name: &str) -> Result<f64> {
        self.parsed(name).map(Option::unwrap_or_default)
    }

    /// A boolean; of a key that this client does not have, false.
    pub(crate) fn boolean(&self, name: &str) -> Result<bool> {
        Ok(self.checked(name)?.is_some_and(|value| value.eq_ignore_ascii_case("true")))
    }

    /// The parts of a list.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.text(name).unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty())
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.checked(name)? else { return Ok(None) };
        value.parse().map(Some).map_err(|_| invalid(name, value, "a number"))
    }

    fn checked(&self, name: &str) -> Result<Option<&'a str>> {
        let Some(key) = self.role.key(name) else { return Ok(None) };
        debug_assert!(!matches!(key.kind, SettingKind::Password), "passwords are texts");
        match self.given(name) {
            Some(value) => key.check(value).map(|()| Some(value)),
            None => Ok(key.default),
        }
    }
}

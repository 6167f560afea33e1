//! What is known of one setting.

use std::fmt;

use super::invalid;
use crate::Result;
use crate::client::consumer::is_offset_reset;

/// No default, and none needed.
pub(super) const NONE: Option<&str> = None;
/// As [`NONE`]: the JVM's clients insist on a value.
pub(super) const REQUIRED: Option<&str> = None;

/// A setting's type, as Kafka's `ConfigDef` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// `true` or `false`, in any case.
    Boolean,
    /// 16 bits.
    Short,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Text.
    String,
    /// Comma separated.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is not shown.
    Password,
}

/// What a setting's values may be, beyond its type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Allowed {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// A range and one value beside it.
    BetweenOr(i64, i64, i64),
    Range(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    NonEmpty,
    /// What `auto.offset.reset` takes.
    OffsetReset,
}

/// Whether a setting changes anything here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Used,
    /// It changes nothing, and nobody would miss it.
    Ignored,
    /// It changes nothing, and whoever sets it has to know; the reason with the remedy.
    Without(&'static str),
}

/// A setting.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: SettingKind,
    pub(super) default: Option<&'static str>,
    pub(super) allowed: Allowed,
    pub(super) effect: Effect,
}

macro_rules! kinds {
    ($($function:ident $kind:ident),*) => {
        $(pub(super) const fn $function(name: &'static str, default: Option<&'static str>) -> Key {
            Key { name, kind: SettingKind::$kind, default, allowed: Allowed::Any, effect: Effect::Used }
        })*
    };
}
kinds!(
    boolean Boolean, short Short, int Int, long Long, double Double, text String, list List, class Class, password Password
);

impl Key {
    pub(super) const fn allows(mut self, allowed: Allowed) -> Self {
        self.allowed = allowed;
        self
    }

    pub(super) const fn ignored(mut self) -> Self {
        self.effect = Effect::Ignored;
        self
    }

    pub(super) const fn without_effect(mut self, why: &'static str) -> Self {
        self.effect = Effect::Without(why);
        self
    }

    /// Refuses a value that the type or the range does not have.
    pub(super) fn check(&self, value: &str) -> Result<()> {
        if self.is_typed(value) && self.is_allowed(value) {
            return Ok(());
        }
        Err(invalid(
            self.name,
            if self.kind == SettingKind::Password { "[hidden]" } else { value },
            &self.to_string(),
        ))
    }

    fn is_typed(&self, value: &str) -> bool {
        match self.kind {
            SettingKind::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            SettingKind::Short => value.parse::<i16>().is_ok(),
            SettingKind::Int => value.parse::<i32>().is_ok(),
            SettingKind::Long => value.parse::<i64>().is_ok(),
            SettingKind::Double => value.parse::<f64>().is_ok_and(f64::is_finite),
            SettingKind::String | SettingKind::List | SettingKind::Class | SettingKind::Password => true,
        }
    }

    fn is_allowed(&self, value: &str) -> bool {
        let number = || value.parse::<i64>().unwrap_or(i64::MIN);
        match self.allowed {
            Allowed::Any => true,
            Allowed::AtLeast(least) => number() >= least,
            Allowed::Between(least, most) => (least..=most).contains(&number()),
            Allowed::BetweenOr(least, most, other) => (least..=most).contains(&number()) || number() == other,
            Allowed::Range(least, most) => {
                value.parse().is_ok_and(|value: f64| (least..=most).contains(&value))
            }
            Allowed::OneOf(values) => values.contains(&value),
            Allowed::OneOfAnyCase(values) => values.iter().any(|known| known.eq_ignore_ascii_case(value)),
            Allowed::NonEmpty => !value.is_empty(),
            Allowed::OffsetReset => is_offset_reset(value),
        }
    }
}

/// What is allowed, as a person reads it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = match self.kind {
            SettingKind::Short => i64::from(i16::MAX),
            SettingKind::Int => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        match self.allowed {
            Allowed::AtLeast(least) => write!(f, "a number from {least} to {most}"),
            Allowed::Between(least, most) => write!(f, "a number from {least} to {most}"),
            Allowed::BetweenOr(least, most, other) => {
                write!(f, "a number from {least} to {most}, or {other}")
            }
            Allowed::Range(least, most) => write!(f, "a number from {least} to {most}"),
            Allowed::OneOf(values) | Allowed::OneOfAnyCase(values) => {
                write!(f, "one of {}", values.join(", "))
            }
            Allowed::NonEmpty => f.write_str("a text that is not empty"),
            Allowed::OffsetReset => f.write_str(
                "earliest, latest, none, or by_duration: with an ISO 8601 duration such as by_duration:PT1H",
            ),
            Allowed::Any => match self.kind {
                SettingKind::Boolean => f.write_str("true or false"),
                SettingKind::Short | SettingKind::Int | SettingKind::Long => {
                    write!(f, "a whole number of at most {most}")
                }
                SettingKind::Double => f.write_str("a number"),
                SettingKind::String | SettingKind::List | SettingKind::Class | SettingKind::Password => {
                    f.write_str("a text")
                }
            },
        }
    }
}

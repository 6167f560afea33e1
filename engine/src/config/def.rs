//! One table per plugin: it parses, validates, answers REST and documents.

use std::fmt;

use indexmap::IndexMap;
use thiserror::Error;

use super::ConfigMap;

/// A configuration value that cannot be used; the text is Kafka's.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{message}")]
pub struct ConfigError {
    /// The key at fault, empty where it is not one key.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
    /// The exception class that JVM Connect would name.
    pub java_class: &'static str,
}

/// Kafka's exception for configurations.
const CONFIG_EXCEPTION: &str = "org.apache.kafka.common.config.ConfigException";

impl ConfigError {
    /// `Invalid value V for configuration K: why`.
    #[must_use]
    pub fn invalid(key: &str, value: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(key, format!("Invalid value {value} for configuration {key}: {why}"))
    }

    /// `Missing required configuration "K" which has no default value.`
    #[must_use]
    pub fn missing(key: &str) -> Self {
        Self::new(key, format!("Missing required configuration \"{key}\" which has no default value."))
    }

    /// Any other text.
    #[must_use]
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into(), java_class: CONFIG_EXCEPTION }
    }

    /// The same with another exception class.
    #[must_use]
    pub const fn of_class(mut self, java_class: &'static str) -> Self {
        self.java_class = java_class;
        self
    }
}

/// Kafka's types of configuration values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// A number.
    Double,
    /// Comma separated.
    List,
    /// A class name.
    Class,
    /// Text that is never shown.
    Password,
}

impl ConfigType {
    /// The name in REST answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// How much a key matters to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// HIGH.
    High,
    /// MEDIUM.
    Medium,
    /// LOW.
    Low,
}

impl Importance {
    /// The name in REST answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

/// How wide user interfaces show a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// NONE.
    None,
    /// SHORT.
    Short,
    /// MEDIUM.
    Medium,
    /// LONG.
    Long,
}

impl Width {
    /// The name in REST answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Short => "SHORT",
            Self::Medium => "MEDIUM",
            Self::Long => "LONG",
        }
    }
}

/// What a value must be beyond its type.
#[derive(Debug, Clone, Copy)]
pub enum Validator {
    /// Anything of the type.
    Any,
    /// At least this.
    AtLeast(i64),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of these, whatever the case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// Not empty.
    NonEmpty,
    /// A list with something in it.
    NonEmptyList,
    /// A list of names: none empty, no two the same, and at least one unless `empty`.
    Names {
        /// Whether there may be none at all.
        empty: bool,
    },
    /// Says what is wrong with a value, if something is.
    Check(fn(&str) -> Option<String>),
}

/// A key of the table.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Value where none is given; `None`: the key is required.
    pub default: Option<&'static str>,
    /// Whether the default is `null` (then [`Self::default`] is `Some("")`).
    pub null_default: bool,
    /// What it must be.
    pub validator: Validator,
    /// How much it matters.
    pub importance: Importance,
    /// What it does.
    pub doc: &'static str,
    /// Group in user interfaces, empty for none.
    pub group: &'static str,
    /// Name in user interfaces; the key's own where empty.
    pub display_name: &'static str,
    /// Place within the group; -1 without a group.
    pub order: i32,
    /// Width in user interfaces.
    pub width: Width,
}

impl ConfigKey {
    /// A required key.
    #[must_use]
    pub const fn required(
        name: &'static str,
        kind: ConfigType,
        importance: Importance,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default: None,
            null_default: false,
            validator: Validator::Any,
            importance,
            doc,
            group: "",
            display_name: "",
            order: -1,
            width: Width::None,
        }
    }

    /// A key with a default.
    #[must_use]
    pub const fn with_default(
        name: &'static str,
        kind: ConfigType,
        default: &'static str,
        importance: Importance,
        doc: &'static str,
    ) -> Self {
        let mut key = Self::required(name, kind, importance, doc);
        key.default = Some(default);
        key
    }

    /// A key whose default is null.
    #[must_use]
    pub const fn nullable(
        name: &'static str,
        kind: ConfigType,
        importance: Importance,
        doc: &'static str,
    ) -> Self {
        let mut key = Self::with_default(name, kind, "", importance, doc);
        key.null_default = true;
        key
    }

    /// The same key at a place in user interfaces.
    #[must_use]
    pub const fn shown(
        mut self,
        group: &'static str,
        order: i32,
        width: Width,
        display_name: &'static str,
    ) -> Self {
        (self.group, self.order, self.width, self.display_name) = (group, order, width, display_name);
        self
    }

    /// The same key with a validator.
    #[must_use]
    pub const fn valid(mut self, validator: Validator) -> Self {
        self.validator = validator;
        self
    }

    /// Checks a value as the user wrote it; gives it trimmed as Kafka does.
    ///
    /// # Errors
    /// Names key, value and what is allowed. A password is not shown.
    pub fn check<'a>(&self, value: &'a str) -> Result<&'a str, ConfigError> {
        self.check_as(self.name, value)
    }

    /// [`Self::check`] under another name: that of a transform's key within its connector's configuration.
    fn check_as<'a>(&self, name: &str, value: &'a str) -> Result<&'a str, ConfigError> {
        let trimmed = if self.kind == ConfigType::Password { value } else { java_trim(value) };
        let shown = if self.kind == ConfigType::Password { "[hidden]" } else { trimmed };
        let invalid = |why: String| ConfigError::invalid(name, shown, why);
        let whole = |type_name: &str, min: i64, max: i64| match trimmed.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(invalid(format!("Not a number of type {type_name}"))),
        };
        let number = match self.kind {
            ConfigType::Boolean
                if trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false") =>
            {
                None
            }
            ConfigType::Boolean => return Err(invalid("Expected value to be either true or false".into())),
            ConfigType::Int => whole("INT", i32::MIN.into(), i32::MAX.into())?,
            ConfigType::Short => whole("SHORT", i16::MIN.into(), i16::MAX.into())?,
            ConfigType::Long => whole("LONG", i64::MIN, i64::MAX)?,
            ConfigType::Double if trimmed.parse::<f64>().is_err() => {
                return Err(invalid("Not a number of type DOUBLE".into()));
            }
            _ => None,
        };
        if let Validator::Names { empty } = self.validator {
            return names_error(self.name, trimmed, empty)
                .map_or(Ok(trimmed), |message| Err(ConfigError::new(name, message)));
        }
        // Validators name the key as its plugin does, without a prefix.
        self.validate(trimmed, number).map_or(Ok(trimmed), |why| {
            Err(ConfigError { key: name.to_owned(), ..ConfigError::invalid(self.name, shown, why) })
        })
    }

    fn validate(&self, value: &str, number: Option<i64>) -> Option<String> {
        match self.validator {
            Validator::Any => None,
            Validator::AtLeast(least) => {
                number.filter(|number| *number < least).map(|_| format!("Value must be at least {least}"))
            }
            Validator::OneOf(allowed) => {
                (!allowed.contains(&value)).then(|| format!("String must be one of: {}", allowed.join(", ")))
            }
            Validator::OneOfIgnoringCase(allowed) => {
                (!allowed.iter().any(|one| one.eq_ignore_ascii_case(value)))
                    .then(|| format!("String must be one of (case insensitive): {}", allowed.join(", ")))
            }
            Validator::Names { .. } => None,
            Validator::NonEmptyList => value.is_empty().then(|| "Empty list".to_owned()),
            Validator::NonEmpty => value.is_empty().then(|| "String must be non-empty".to_owned()),
            Validator::Check(check) => check(value),
        }
    }
}

/// `String.trim()`: control characters go too, blanks beyond ASCII stay.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|char| char <= ' ')
}

/// What is wrong with a list of names.
fn names_error(key: &str, value: &str, empty: bool) -> Option<String> {
    if value.is_empty() {
        let message =
            format!("Configuration '{key}' must not be empty. Valid values include: any non-empty value");
        return (!empty).then_some(message);
    }
    let names: Vec<&str> = value.split(',').map(str::trim).collect();
    if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
        return Some(format!("Configuration '{key}' values must not be duplicated."));
    }
    let is_blank = names.iter().any(|name| name.is_empty());
    is_blank.then(|| format!("Configuration '{key}' values must not be empty."))
}

/// A plugin's table.
#[derive(Debug, Clone, Copy)]
pub struct ConfigDef {
    /// Its keys in the order in which they are shown.
    pub keys: &'static [ConfigKey],
}

impl ConfigDef {
    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static ConfigKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Every error of a configuration, in the order of the table.
    #[must_use]
    pub fn validate(&self, config: &ConfigMap) -> Vec<ConfigError> {
        self.validate_below("", config)
    }

    /// [`Self::validate`] of keys that have a prefix in the configuration, such as `transforms.alias.`.
    #[must_use]
    pub fn validate_below(&self, prefix: &str, config: &ConfigMap) -> Vec<ConfigError> {
        let check = |key: &ConfigKey| {
            let name = format!("{prefix}{}", key.name);
            match config.get(&name) {
                Some(value) => key.check_as(&name, value).err(),
                None if key.default.is_none() => Some(ConfigError::missing(&name)),
                None => None,
            }
        };
        self.keys.iter().filter_map(check).collect()
    }

    /// The values, defaults filled in.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(&self, config: &ConfigMap) -> Result<ParsedConfig, ConfigError> {
        self.parse_below("", config)
    }

    /// [`Self::parse`] of keys that have a prefix in the configuration; the result has them without.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse_below(&self, prefix: &str, config: &ConfigMap) -> Result<ParsedConfig, ConfigError> {
        if let Some(error) = self.validate_below(prefix, config).into_iter().next() {
            return Err(error);
        }
        let value = |key: &ConfigKey| {
            let given = config.get(&format!("{prefix}{}", key.name));
            let given = given.map(|value| key.check(value).unwrap_or_default().to_owned());
            let default = key.default.filter(|_| !key.null_default).map(str::to_owned);
            Some((key.name, given.or(default)?))
        };
        Ok(ParsedConfig { values: self.keys.iter().filter_map(value).collect() })
    }
}

/// A configuration that has been checked.
#[derive(Clone, Default)]
pub struct ParsedConfig {
    values: IndexMap<&'static str, String>,
}

impl fmt::Debug for ParsedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl ParsedConfig {
    /// Text, `None` where the value is null.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A boolean.
    #[must_use]
    pub fn boolean(&self, key: &str) -> bool {
        self.string(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A whole number; 0 where the table has none.
    #[must_use]
    pub fn long(&self, key: &str) -> i64 {
        self.string(key).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A list: parts trimmed, none for an empty text.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<&str> {
        match self.string(key).map(str::trim) {
            None | Some("") => Vec::new(),
            Some(text) => text.split(',').map(str::trim).collect(),
        }
    }

    /// A list without repetitions, as Kafka 4.2 and newer read most lists; the first one of each stays.
    #[must_use]
    pub fn set(&self, key: &str) -> Vec<&str> {
        let mut unique = Vec::new();
        for item in self.list(key) {
            if !unique.contains(&item) {
                unique.push(item);
            }
        }
        unique
    }
}

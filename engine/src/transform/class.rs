//! Which transforms there are: their Java classes, their configuration tables, and how each is made.

use super::Transform;
use crate::config::{ConfigDef, ConfigError, ConfigMap, ParsedConfig};
use crate::data::Side;

/// Makes a transform; one that has no sides is made for [`Side::Value`].
type Make = fn(&ParsedConfig, Side) -> Result<Box<dyn Transform>, ConfigError>;

/// A transform.
struct Class {
    /// Java class, without `$Key` and `$Value`.
    name: &'static str,
    /// Whether it has these two forms, and only these.
    sided: bool,
    def: &'static ConfigDef,
    make: Make,
}

macro_rules! class {
    ($name:literal, $sided:literal, $module:path) => {{
        use $module as module;
        Class { name: $name, sided: $sided, def: &module::DEF, make: module::make }
    }};
}

static CLASSES: &[Class] = &[
    class!("org.apache.kafka.connect.transforms.Cast", true, super::cast),
    class!("org.apache.kafka.connect.transforms.DropHeaders", false, super::drop_headers),
    class!("org.apache.kafka.connect.transforms.ExtractField", true, super::extract_field),
    class!("org.apache.kafka.connect.transforms.Filter", false, super::filter),
    class!("org.apache.kafka.connect.transforms.Flatten", true, super::flatten),
    class!("org.apache.kafka.connect.transforms.HeaderFrom", true, super::header_from),
    class!("org.apache.kafka.connect.transforms.HoistField", true, super::hoist_field),
    class!("org.apache.kafka.connect.transforms.InsertField", true, super::insert_field),
    class!("org.apache.kafka.connect.transforms.InsertHeader", false, super::insert_header),
    class!("org.apache.kafka.connect.transforms.MaskField", true, super::mask_field),
    class!("org.apache.kafka.connect.transforms.RegexRouter", false, super::regex_router),
    class!("org.apache.kafka.connect.transforms.ReplaceField", true, super::replace_field),
    class!("org.apache.kafka.connect.transforms.SetSchemaMetadata", true, super::set_schema_metadata),
    class!("org.apache.kafka.connect.transforms.TimestampConverter", true, super::timestamp_converter),
    class!("org.apache.kafka.connect.transforms.TimestampRouter", false, super::timestamp_router),
    class!("org.apache.kafka.connect.transforms.ValueToKey", false, super::value_to_key),
    class!("io.debezium.transforms.ExtractNewRecordState", false, super::debezium::unwrap),
    class!("io.debezium.transforms.ByLogicalTableRouter", false, super::debezium::logical_router),
    Class {
        name: "io.debezium.transforms.ToLogicalTopicRouter",
        sided: false,
        def: &super::debezium::logical_router::TO_TOPIC_DEF,
        make: super::debezium::logical_router::make,
    },
    class!("io.debezium.transforms.outbox.EventRouter", false, super::debezium::event_router),
    class!("io.confluent.connect.transforms.Drop", true, super::confluent::drop),
    class!("io.confluent.connect.transforms.ExtractTopic", true, super::confluent::extract_topic),
    Class {
        name: "io.confluent.connect.transforms.ExtractTopic$Header",
        sided: false,
        def: &super::confluent::extract_topic::HEADER_DEF,
        make: super::confluent::extract_topic::make_header,
    },
    class!("io.confluent.connect.transforms.Filter", true, super::confluent::filter),
    class!("io.confluent.connect.transforms.TombstoneHandler", false, super::confluent::tombstone_handler),
];

/// Class names of all transforms, as `GET /connector-plugins?connectorsOnly=false` lists them.
#[must_use]
pub fn classes() -> Vec<String> {
    let names = |class: &Class| match class.sided {
        true => vec![format!("{}$Key", class.name), format!("{}$Value", class.name)],
        false => vec![class.name.to_owned()],
    };
    CLASSES.iter().flat_map(names).collect()
}

/// A class name, or its last part where that is unmistakable; `$Key` and `$Value` only behind a full name.
fn find(name: &str) -> Option<(&'static Class, Side)> {
    if let Some(class) = CLASSES.iter().find(|class| !class.sided && class.name == name) {
        return Some((class, Side::Value));
    }
    let (base, side) = match name.split_once('$') {
        Some((base, "Key")) => (base, Some(Side::Key)),
        Some((base, "Value")) => (base, Some(Side::Value)),
        Some(_) => return None,
        None => (name, None),
    };
    let is_it = |class: &&Class| {
        let alias = !class.sided && class.name.rsplit('.').next() == Some(base);
        class.name == base || alias
    };
    let class = CLASSES.iter().find(is_it)?;
    (class.sided == side.is_some()).then_some((class, side.unwrap_or(Side::Value)))
}

/// The configuration table of a transform.
#[must_use]
pub fn config_def(class: &str) -> Option<&'static ConfigDef> {
    find(class).map(|(class, _)| class.def)
}

/// A transform by its Java class, configured by the keys that begin with `prefix`.
pub(super) fn create(
    prefix: &str,
    class: &str,
    config: &ConfigMap,
) -> Result<Box<dyn Transform>, ConfigError> {
    let (found, side) = find(class).ok_or_else(|| unknown(prefix, class))?;
    (found.make)(&found.def.parse_below(prefix, config)?, side)
}

fn unknown(prefix: &str, class: &str) -> ConfigError {
    let key = format!("{prefix}type");
    if class.is_empty() || class == "null" {
        return ConfigError::invalid(&key, "null", "Not a Transformation");
    }
    if CLASSES.iter().any(|known| known.name == class) {
        return ConfigError::new(
            &key,
            format!("{class} is abstract and cannot be created: use {class}$Key or {class}$Value"),
        );
    }
    let known = classes().join(", ");
    ConfigError::invalid(&key, class, format!("Class {class} could not be found. This build has {known}"))
}

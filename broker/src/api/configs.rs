//! DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.

use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as AlterResponse;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::dispatch::Context;
use crate::state::{NODE_ID, Refusal, text};
use crate::topics::admin::{SOURCE_DEFAULT, SOURCE_TOPIC};
use crate::topics::config::{DEFINITIONS, Definition, Kind, TopicConfig, definition};

/// Resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Source of a broker's own static setting.
const SOURCE_STATIC: i8 = 4;

/// Operations of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// First version with a type for every value.
const TYPES: i16 = 3;

/// DescribeConfigs.
pub(crate) fn describe_configs(c: &Context<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let one = |resource: DescribeConfigsResource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(c, &resource, synonyms) {
            Ok(configs) => result.with_configs(configs).with_error_message(None),
            Err(refusal) => {
                result.with_error_code(refusal.code).with_error_message(Some(text(&refusal.reason)))
            }
        }
    };
    DescribeConfigsResponse::default().with_results(request.resources.into_iter().map(one).collect())
}

fn describe(
    c: &Context<'_>,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let wanted = |name: &str| {
        let keys = resource.configuration_keys.as_ref();
        keys.is_none_or(|keys| keys.iter().any(|k| k.as_str() == name))
    };
    match resource.resource_type {
        TOPIC => {
            let topic = c.shared.topic_or_create(&resource.resource_name, false)?;
            let config = topic.config.read();
            let shown = DEFINITIONS.iter().filter(|d| wanted(d.name));
            Ok(shown.map(|d| topic_value(c.version, d, &config, synonyms)).collect())
        }
        BROKER => {
            let name = resource.resource_name.as_str();
            if !name.is_empty() && name != NODE_ID.to_string() {
                let reason = format!("there is no broker {name}, only {NODE_ID}");
                return Err(Refusal::new(ResponseError::InvalidRequest, reason));
            }
            let shown = broker_values(c).into_iter().filter(|(name, ..)| wanted(name));
            Ok(shown.map(|(name, value, kind)| broker_value(c.version, name, &value, kind)).collect())
        }
        other => {
            let reason = format!("resource type {other} has no configs on this broker");
            Err(Refusal::new(ResponseError::InvalidRequest, reason))
        }
    }
}

fn topic_value(
    version: i16,
    d: &Definition,
    config: &TopicConfig,
    synonyms: bool,
) -> DescribeConfigsResourceResult {
    let set = config.overrides().contains_key(d.name);
    let name = StrBytes::from_static_str(d.name);
    let synonym = |value: &str, source| {
        DescribeConfigsSynonym::default()
            .with_name(name.clone())
            .with_value(Some(text(value)))
            .with_source(source)
    };
    let mut all = Vec::new();
    if synonyms {
        if set {
            all.push(synonym(config.get(d.name), SOURCE_TOPIC));
        }
        all.push(synonym(d.default, SOURCE_DEFAULT));
    }
    DescribeConfigsResourceResult::default()
        .with_name(name.clone())
        .with_value(Some(text(config.get(d.name))))
        .with_config_source(if set { SOURCE_TOPIC } else { SOURCE_DEFAULT })
        .with_synonyms(all)
        .with_config_type(if version >= TYPES { d.kind.wire_id() } else { 0 })
}

/// What the broker says of itself: the settings that clients look at.
fn broker_values(c: &Context<'_>) -> Vec<(&'static str, String, Kind)> {
    let config = &c.shared.config;
    let int = Kind::Int { min: 0 };
    vec![
        ("auto.create.topics.enable", config.auto_create_topics.to_string(), Kind::Boolean),
        ("default.replication.factor", "1".to_owned(), int),
        ("delete.topic.enable", "true".to_owned(), Kind::Boolean),
        ("log.cleanup.policy", "delete".to_owned(), Kind::List(&["compact", "delete"])),
        ("min.insync.replicas", "1".to_owned(), int),
        ("node.id", NODE_ID.to_string(), int),
        ("num.partitions", config.default_partitions.to_string(), int),
        ("transaction.max.timeout.ms", config.transaction_max_timeout.as_millis().to_string(), int),
    ]
}

fn broker_value(version: i16, name: &'static str, value: &str, kind: Kind) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(text(value)))
        .with_read_only(true)
        .with_config_source(SOURCE_STATIC)
        .with_config_type(if version >= TYPES { kind.wire_id() } else { 0 })
}

/// IncrementalAlterConfigs.
pub(crate) fn incremental_alter(
    c: &Context<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let change = |configs: &mut IndexMap<String, String>| {
            resource.configs.iter().try_for_each(|config| change_one(configs, config))
        };
        let done = alter(c, resource.resource_type, &resource.resource_name, validate_only, change);
        let (code, message) = outcome(done);
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

/// AlterConfigs: replaces all settings of a resource.
pub(crate) fn alter_configs(c: &Context<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let change = |configs: &mut IndexMap<String, String>| {
            configs.clear();
            let set =
                resource.configs.iter().filter_map(|config| Some((&config.name, config.value.as_ref()?)));
            configs.extend(set.map(|(name, value)| (name.to_string(), value.to_string())));
            Ok(())
        };
        let done = alter(c, resource.resource_type, &resource.resource_name, validate_only, change);
        let (code, message) = outcome(done);
        AlterResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

fn outcome(done: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match done {
        Ok(()) => (0, None),
        Err(refusal) => (refusal.code, Some(text(&refusal.reason))),
    }
}

fn alter(
    c: &Context<'_>,
    resource_type: i8,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&mut IndexMap<String, String>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if resource_type != TOPIC {
        let reason = "only the settings of topics can be changed on this broker";
        return Err(Refusal::new(ResponseError::InvalidRequest, reason));
    }
    let topic = c.shared.topic_or_create(name, false)?;
    let mut configs = topic.config.read().overrides().clone();
    change(&mut configs)?;
    let config =
        TopicConfig::new(configs).map_err(|reason| Refusal::new(ResponseError::InvalidConfig, reason))?;
    if validate_only { Ok(()) } else { c.shared.set_topic_config(&topic, config) }
}

fn change_one(configs: &mut IndexMap<String, String>, config: &AlterableConfig) -> Result<(), Refusal> {
    let invalid = |reason: String| Refusal::new(ResponseError::InvalidConfig, reason);
    let name = config.name.as_str();
    let value = || {
        let value = config.value.as_ref().map(|v| v.to_string());
        value.ok_or_else(|| invalid(format!("null value for configuration {name}")))
    };
    match config.config_operation {
        SET => {
            configs.insert(name.to_owned(), value()?);
        }
        DELETE => {
            configs.shift_remove(name);
        }
        operation @ (APPEND | SUBTRACT) => {
            let known = definition(name).filter(|d| matches!(d.kind, Kind::List(_)));
            let known = known.ok_or_else(|| invalid(format!("configuration {name} is not a list")))?;
            let current = configs.get(name).map_or(known.default, String::as_str).to_owned();
            let change = value()?;
            let mut entries: Vec<&str> =
                current.split(',').map(str::trim).filter(|e| !e.is_empty()).collect();
            for entry in change.split(',').map(str::trim) {
                entries.retain(|e| *e != entry);
                if operation == APPEND {
                    entries.push(entry);
                }
            }
            configs.insert(name.to_owned(), entries.join(","));
        }
        other => {
            return Err(Refusal::new(ResponseError::InvalidRequest, format!("unknown operation {other}")));
        }
    }
    Ok(())
}

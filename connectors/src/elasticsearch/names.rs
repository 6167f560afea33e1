//! Names of targets.

use super::settings::{Flavor, Settings, Streams};

/// Longest name of an index.
const MOST_CHARS: usize = 255;
/// Longest namespace of a data stream.
const MOST_NAMESPACE: usize = 100;

fn cut(text: &mut String, chars: usize) {
    if let Some((at, _)) = text.char_indices().nth(chars) {
        text.truncate(at);
    }
}

/// The index of a topic.
fn index(flavor: Flavor, topic: &str) -> String {
    let mut name = topic.to_lowercase();
    cut(&mut name, MOST_CHARS);
    if flavor == Flavor::OpenSearch {
        name = name.replace(':', "_");
    }
    let first: &[char] = if flavor == Flavor::OpenSearch { &['-', '_', '+'] } else { &['-', '_'] };
    if name.starts_with(first) {
        name.remove(0);
    }
    match name.as_str() {
        "." | ".." => name.replace('.', "dot"),
        _ => name,
    }
}

/// The target of a topic; `None` where topics are mapped and this one is not.
pub(super) fn target(settings: &Settings, topic: &str) -> Option<String> {
    if let Some(existing) = &settings.existing {
        return existing.mapping.iter().find(|(known, _)| known == topic).map(|(_, target)| target.clone());
    }
    let flavor = settings.connection.flavor;
    Some(match &settings.streams {
        Streams::None => index(flavor, topic),
        Streams::Parts([kind, dataset, namespace]) => {
            let mut namespace = namespace.replace("${topic}", &topic.to_lowercase());
            cut(&mut namespace, MOST_NAMESPACE);
            format!("{kind}-{dataset}-{namespace}")
        }
        Streams::Prefix(Some(prefix), _) => format!("{prefix}-{}", index(flavor, topic)),
        Streams::Prefix(None, _) => index(flavor, topic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes() {
        let name = |topic| index(Flavor::Elasticsearch, topic);
        assert_eq!(name("Orders.EU"), "orders.eu");
        assert_eq!(name("__x"), "_x");
        assert_eq!(name("-x"), "x");
        assert_eq!(name("."), "dot");
        assert_eq!(name(".."), "dotdot");
        assert_eq!(name(&"x".repeat(300)).len(), 255);
        assert_eq!(index(Flavor::OpenSearch, "+a:b"), "a_b");
    }

    #[test]
    fn data_streams() {
        let settings = |entries: &[(&str, &str)], flavor| {
            let mut config: aqueduct_engine::connector::ConfigMap =
                [("connection.url".to_owned(), "h".to_owned())].into();
            config.extend(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            Settings::new(flavor, &config).unwrap()
        };
        let parts =
            settings(&[("data.stream.type", "LOGS"), ("data.stream.dataset", "shop")], Flavor::Elasticsearch);
        assert_eq!(target(&parts, "Orders").unwrap(), "logs-shop-orders");
        let prefix =
            settings(&[("data.stream.enabled", "true"), ("data.stream.prefix", "p")], Flavor::OpenSearch);
        assert_eq!(target(&prefix, "Orders").unwrap(), "p-orders");
        let mapped = settings(
            &[("external.resource.usage", "index"), ("topic.to.external.resource.mapping", "a:X")],
            Flavor::Elasticsearch,
        );
        assert_eq!(target(&mapped, "a").as_deref(), Some("X"));
        assert_eq!(target(&mapped, "b"), None);
    }
}

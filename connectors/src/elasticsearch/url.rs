//! URLs of nodes.

use aqueduct_engine::config::ConfigError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::settings::Secret;

const KEY: &str = "connection.url";

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeUrl {
    pub(super) https: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What precedes every path, without closing slash; empty mostly.
    pub(super) path: String,
    /// Basic authentication that the URL itself holds.
    pub(super) authorization: Option<Secret>,
}

impl NodeUrl {
    /// Reads `[http[s]://][user:password@]host[:port][/path]`. The default port is that of the scheme.
    ///
    /// # Errors
    /// Names the URL without user and password.
    pub(super) fn parse(url: &str) -> Result<NodeUrl, ConfigError> {
        let shown = url.rsplit('@').next().unwrap_or_default();
        let bad = |why: &str| ConfigError::invalid(KEY, shown, why);
        let (scheme, rest) = url.trim().split_once("://").unwrap_or(("http", url.trim()));
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(bad("it is neither http nor https")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (user, place) =
            authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.contains(|char: char| char.is_whitespace() || char.is_control()) {
            return Err(bad("it has no host"));
        }
        let port = match port {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| bad("its port is no number up to 65535"))?,
        };
        let path = path.trim_end_matches('/');
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("its path has characters that a URL has not"));
        }
        let authorization = user.map(|user| {
            let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
            Secret(format!("Basic {}", BASE64_STANDARD.encode(decode(&user))))
        });
        Ok(NodeUrl { https, host: host.to_owned(), port, path: path.to_owned(), authorization })
    }

    /// `host:port` as a header has it.
    pub(super) fn authority(&self) -> String {
        let NodeUrl { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Takes percent encoding off.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                bytes.push((digit(*high).unwrap_or(0) * 16 + digit(*low).unwrap_or(0)) as u8);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let node = NodeUrl::parse("https://me:se%40cret@[::1]:9200/es/").unwrap();
        assert_eq!(
            (node.https, node.host.as_str(), node.port, node.path.as_str()),
            (true, "::1", 9200, "/es")
        );
        assert_eq!(node.authority(), "[::1]:9200");
        assert_eq!(node.authorization.unwrap().0, format!("Basic {}", BASE64_STANDARD.encode("me:se@cret")));
        let plain = NodeUrl::parse("host:9200").unwrap();
        assert_eq!((plain.https, plain.host.as_str(), plain.port), (false, "host", 9200));
        assert_eq!(NodeUrl::parse("https://host").unwrap().port, 443);
        for bad in ["ftp://me:secret@host", "http://", "http://host:99999", "http://host:0", "http://a b"] {
            let error = NodeUrl::parse(bad).unwrap_err();
            assert!(!error.message.contains("secret"), "{error}");
        }
    }
}

//! What stands before every request: CORS, fixed response headers, and who may ask (`rest.extension.classes`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use indexmap::IndexMap;

use crate::config::java_properties;
use crate::connector::ConfigMap;

const EXTENSION: &str = "BasicAuthSecurityRestExtension";
const LOGIN_MODULE: &str = "PropertyFileLoginModule";
/// The entry of the JAAS file.
const ENTRY: &str = "KafkaConnect";

/// A setting of REST that cannot be used: names the key and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct RestConfigError {
    key: &'static str,
    what: String,
}

fn error(key: &'static str, what: impl Into<String>) -> RestConfigError {
    RestConfigError { key, what: what.into() }
}

/// The settings, made ready once.
#[derive(Default)]
pub struct Guard {
    origins: Vec<String>,
    methods: String,
    /// Headers of every answer; true replaces one that is there.
    headers: Vec<(HeaderName, HeaderValue, bool)>,
    /// User and password of each who may ask; none: everybody may.
    users: Option<IndexMap<String, String>>,
}

impl Guard {
    /// Reads `access.control.allow.*`, `response.http.headers.config` and `rest.extension.classes`. `jaas` is the file that the
    /// JVM's `java.security.auth.login.config` names.
    pub fn from_properties(properties: &ConfigMap, jaas: Option<&Path>) -> Result<Guard, RestConfigError> {
        let text = |key: &str| properties.get(key).map(|value| value.trim()).unwrap_or_default();
        let list = |key: &str| {
            let items = text(key).split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect::<Vec<String>>()
        };
        let mut users = None;
        for class in list("rest.extension.classes") {
            if !class.ends_with(EXTENSION) {
                let what = format!("{class} is a Java class that is not built in; {EXTENSION} is");
                return Err(error("rest.extension.classes", what));
            }
            users = Some(users_of(jaas)?);
        }
        Ok(Guard {
            origins: list("access.control.allow.origin"),
            methods: text("access.control.allow.methods").to_owned(),
            headers: response_headers(text("response.http.headers.config"))?,
            users,
        })
    }

    fn admits(&self, request: &Request) -> bool {
        let Some(users) = &self.users else { return true };
        if is_internal(request) {
            return true;
        }
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let decoded = given
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, encoded)| base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok());
        let Some(decoded) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else { return false };
        let Some((user, password)) = decoded.split_once(':') else { return false };
        users.get(user).is_some_and(|known| same(known.as_bytes(), password.as_bytes()))
    }

    /// CORS headers for the origin of a request, if it may read the answer.
    fn allow_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|allowed| allowed == "*" || allowed == text).then(|| origin.clone())
    }

    fn decorate(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        for (name, value, replace) in &self.headers {
            if *replace {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
    }

    /// The answer to a browser that asks before it asks.
    fn preflight(&self, request: &Request) -> Option<Response> {
        if request.method() != Method::OPTIONS
            || !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        self.allow_origin(request.headers())?;
        let methods = if self.methods.is_empty() { "GET,POST,HEAD" } else { &self.methods };
        let mut response = StatusCode::OK.into_response();
        if let Ok(methods) = HeaderValue::from_str(methods) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        Some(response)
    }
}

/// Workers prove to each other who they are by signatures.
fn is_internal(request: &Request) -> bool {
    let path = request.uri().path().trim_end_matches('/');
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    matches!(
        (request.method(), segments.as_slice()),
        (&Method::POST, ["connectors", _, "tasks"]) | (&Method::PUT, ["connectors", _, "fence"])
    )
}

/// Compares without telling by its time how much is the same.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    a.len() == b.len() && difference == 0
}

/// The middleware.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let origin = guard.allow_origin(request.headers());
    let mut response = match guard.preflight(&request) {
        Some(response) => response,
        None if !guard.admits(&request) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"\"")];
            (StatusCode::UNAUTHORIZED, challenge, "User cannot access the resource.").into_response()
        }
        None => next.run(request).await,
    };
    guard.decorate(response.headers_mut(), origin);
    response
}

/// `[set|add|setDate|addDate] name:value` with commas between; a date's value is milliseconds since 1970. An item that holds
/// commas stands in double quotes.
fn response_headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue, bool)>, RestConfigError> {
    const KEY: &str = "response.http.headers.config";
    let bad = |item: &str| {
        let allowed = "allowed is [set|add|setDate|addDate] name:value, with commas between";
        error(KEY, format!("{item} is not a header; {allowed}"))
    };
    let mut headers = Vec::new();
    for item in split_quoted(text) {
        let (action, rest) = item.split_once(char::is_whitespace).ok_or_else(|| bad(&item))?;
        let (name, value) = rest.trim().split_once(':').ok_or_else(|| bad(&item))?;
        let value = value.trim();
        let value = match action.to_ascii_lowercase().as_str() {
            "set" | "add" => value.to_owned(),
            "setdate" | "adddate" => {
                let millis = value.parse::<i64>().ok().and_then(chrono::DateTime::from_timestamp_millis);
                let date = millis.ok_or_else(|| bad(&item))?;
                date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
            }
            _ => return Err(bad(&item)),
        };
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| bad(&item))?;
        let value = HeaderValue::from_str(&value).map_err(|_| bad(&item))?;
        headers.push((name, value, action.to_ascii_lowercase().starts_with("set")));
    }
    Ok(headers)
}

fn split_quoted(text: &str) -> Vec<String> {
    let (mut items, mut item, mut quoted) = (Vec::new(), String::new(), false);
    for char in text.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            char => item.push(char),
        }
    }
    items.push(item);
    items.into_iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn users_of(jaas: Option<&Path>) -> Result<IndexMap<String, String>, RestConfigError> {
    const KEY: &str = "rest.extension.classes";
    let remedy = "set -Djava.security.auth.login.config=FILE in KAFKA_OPTS, as for the JVM";
    let path = jaas.ok_or_else(|| error(KEY, format!("{EXTENSION} needs a JAAS file; {remedy}")))?;
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|cause| error(KEY, format!("{}: cannot be read: {cause}", path.display())))
    };
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let file = credentials_file(&text).ok_or_else(|| {
        let wanted = format!("{ENTRY} {{ …{LOGIN_MODULE} required file=\"…\"; }};");
        error(KEY, format!("{}: there is no entry {wanted}", path.display()))
    })?;
    let users = java_properties::parse(&read(&file)?)
        .map_err(|cause| error(KEY, format!("{}: {cause}", file.display())))?;
    if users.is_empty() {
        return Err(error(KEY, format!("{}: no user is in it; write user=password lines", file.display())));
    }
    Ok(users)
}

/// The `file` of the entry's login module.
fn credentials_file(jaas: &str) -> Option<PathBuf> {
    let entry = jaas.split_once(ENTRY)?.1.split_once('{')?.1.split_once('}')?.0;
    let module = entry.split(';').find(|module| module.contains(LOGIN_MODULE))?;
    let value = module.split_once("file")?.1.trim_start().strip_prefix('=')?.trim_start();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split(char::is_whitespace).next()?,
    };
    Some(PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn only_known_users_and_other_workers_are_admitted() {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users");
        std::fs::write(&users, "ada=love:lace\n").unwrap();
        let jaas = folder.path().join("jaas");
        let text = format!(
            "KafkaConnect {{\n org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule required\n file=\"{}\";\n}};",
            users.display()
        );
        std::fs::write(&jaas, text).unwrap();
        let class = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";
        let properties: ConfigMap =
            [("rest.extension.classes".to_owned(), class.to_owned())].into_iter().collect();
        let guard = Guard::from_properties(&properties, Some(&jaas)).unwrap();
        let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        let asks = |credentials: &str| request("GET", "/", &[("authorization", credentials)]);
        assert!(guard.admits(&asks(&basic("ada:love:lace"))));
        assert!(!guard.admits(&asks(&basic("ada:lovelace"))));
        assert!(!guard.admits(&asks(&basic("bob:love:lace"))));
        assert!(!guard.admits(&asks("Basic ???")));
        assert!(!guard.admits(&request("GET", "/", &[])));
        assert!(guard.admits(&request("POST", "/connectors/c/tasks", &[])));
        assert!(!guard.admits(&request("GET", "/connectors/c/tasks", &[])));
        assert!(Guard::from_properties(&properties, None).is_err());
        std::fs::write(&users, "").unwrap();
        assert!(Guard::from_properties(&properties, Some(&jaas)).is_err());
    }

    #[test]
    fn headers_of_answers() {
        let headers = response_headers("set X-A: 1, \"add X-B: 1,2\",setDate Expires: 0").unwrap();
        let shown: Vec<_> =
            headers.iter().map(|(name, value, set)| (name.as_str(), value.to_str().unwrap(), *set)).collect();
        let expires = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(shown, [("x-a", "1", true), ("x-b", "1,2", false), ("expires", expires, true)]);
        assert!(response_headers("put a:b").is_err() && response_headers("set ab").is_err());
    }

    #[test]
    fn origins() {
        let properties: ConfigMap =
            [("access.control.allow.origin".to_owned(), "http://a".to_owned())].into_iter().collect();
        let guard = Guard::from_properties(&properties, None).unwrap();
        let allowed = |origin: &str| guard.allow_origin(request("GET", "/", &[("origin", origin)]).headers());
        assert!(allowed("http://a").is_some() && allowed("http://b").is_none());
        let preflight =
            request("OPTIONS", "/", &[("origin", "http://a"), ("access-control-request-method", "PUT")]);
        assert!(guard.preflight(&preflight).is_some());
        assert!(guard.preflight(&request("OPTIONS", "/", &[("origin", "http://a")])).is_none());
    }
}

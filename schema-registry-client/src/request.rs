//! A question to a registry, before it is known who answers.

use serde_json::Value as Json;

/// HTTP's verbs, as far as they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

/// Verb, path, query and body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// Segments, not encoded.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Json>,
}

impl Request {
    pub(crate) fn new(verb: Verb, path: &[&str]) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        Self { verb, path, query: Vec::new(), body: None }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// The flag if it is set.
    pub(crate) fn flag(self, name: &'static str, set: bool) -> Self {
        if set { self.query(name, true) } else { self }
    }

    pub(crate) fn body(mut self, body: Json) -> Self {
        self.body = Some(body);
        self
    }

    /// Path and query as a URL has them.
    pub(crate) fn target(&self) -> String {
        let mut target = String::new();
        for segment in &self.path {
            target.push('/');
            encode(segment, &mut target);
        }
        for (index, (name, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            encode(value, &mut target);
        }
        target
    }
}

/// Percent encoding of everything that is not unreserved (RFC 3986).
pub(crate) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    out.extend(
                        char::from_digit(u32::from(nibble), 16).map(|digit| digit.to_ascii_uppercase()),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded() {
        let request = Request::new(Verb::Get, &["subjects", "a/b c:ü", "versions"])
            .flag("normalize", false)
            .flag("deleted", true)
            .query("subject", ":.ctx:x");
        let expected = "/subjects/a%2Fb%20c%3A%C3%BC/versions?deleted=true&subject=%3A.ctx%3Ax";
        assert_eq!(request.target(), expected);
    }
}

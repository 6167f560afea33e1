//! Paths to nested fields (KIP-821).

use crate::config::{ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};

const VERSION: &str = "field.syntax.version";

/// The row of `field.syntax.version` in a table.
pub(super) const VERSION_KEY: ConfigKey = ConfigKey::with_default(
    VERSION,
    ConfigType::String,
    "V1",
    Importance::High,
    "V1: the name of a field of the root; V2: a path of names with dots between them, backticks around a name that has \
     dots itself.",
)
.valid(Validator::OneOfIgnoringCase(&["V1", "V2"]));

/// The steps of the path under `key`.
///
/// # Errors
/// A backtick that has no partner.
pub(super) fn steps(config: &ParsedConfig, key: &str) -> Result<Vec<String>, ConfigError> {
    let path = config.string(key).unwrap_or_default();
    match config.string(VERSION) {
        Some(version) if version.eq_ignore_ascii_case("V2") => split(path).ok_or_else(|| {
            let message = format!(
                "Incomplete backtick pair in path: [{path}], consider adding a backslash before backtick at position {} to \
                 escape it",
                path.find('`').unwrap_or_default()
            );
            ConfigError::new(key, message)
        }),
        _ => Ok(vec![path.to_owned()]),
    }
}

/// Steps of a V2 path; `None` for a backtick that has no partner.
fn split(path: &str) -> Option<Vec<String>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('`') {
            let (step, behind) = quoted_step(quoted)?;
            steps.push(step);
            rest = behind;
        } else if let Some((step, behind)) = rest.split_once('.') {
            steps.push(step.to_owned());
            rest = behind;
        } else {
            steps.push(rest.to_owned());
            rest = "";
        }
    }
    if path.ends_with('.') {
        steps.push(String::new());
    }
    Some(steps)
}

/// The step behind an opening backtick, and what follows its dot. A backtick closes where a dot or the end follows and no
/// backslash stands before it.
fn quoted_step(text: &str) -> Option<(String, &str)> {
    let mut step = String::new();
    let mut start = 0;
    let mut from = 0;
    loop {
        let at = from + text[from..].find('`')?;
        let escaped = text[..at].ends_with('\\');
        let behind = &text[at + 1..];
        if behind.is_empty() {
            step.push_str(&text[start..at]);
            return (!escaped).then_some((step, behind));
        }
        if let Some(next) = behind.strip_prefix('.') {
            if !escaped {
                step.push_str(&text[start..at]);
                return Some((step, next));
            }
            step.push_str(&text[start..at - 1]);
            step.push('`');
            start = at + 1;
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_kip_821_says() {
        for (path, steps) in [
            ("a", &["a"][..]),
            ("a.b", &["a", "b"]),
            ("a..b", &["a", "", "b"]),
            ("a.", &["a", ""]),
            (".a", &["", "a"]),
            ("`a.b`.c", &["a.b", "c"]),
            ("a.`b.c`", &["a", "b.c"]),
            ("`a`b`.c", &["a`b", "c"]),
            ("`a\\`.b`.c", &["a`.b", "c"]),
            ("``", &[""]),
        ] {
            assert_eq!(split(path).unwrap(), steps, "{path}");
        }
        assert_eq!(split("`a.b"), None);
        assert_eq!(split("`"), None);
        assert_eq!(split("`a\\`"), None);
        assert_eq!(split(""), Some(Vec::new()));
    }
}

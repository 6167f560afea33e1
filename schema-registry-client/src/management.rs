//! What tools need: listing, deleting, compatibility, configs, modes and contexts. Nothing of it is kept.

use serde_json::{Value as Json, json};

use crate::client::{Client, body_of, malformed};
use crate::error::Error;
use crate::model::{Compatibility, CompatibilityReport, Mode, Schema, Version};
use crate::request::{Request, Verb};

fn texts(answer: &Json) -> Result<Vec<String>, Error> {
    let items = answer.as_array().ok_or_else(|| malformed("list"))?;
    Ok(items.iter().filter_map(Json::as_str).map(str::to_owned).collect())
}

fn numbers(answer: &Json) -> Result<Vec<i32>, Error> {
    let items = answer.as_array().ok_or_else(|| malformed("list"))?;
    Ok(items.iter().filter_map(Json::as_i64).filter_map(|number| i32::try_from(number).ok()).collect())
}

/// `config` or `mode`, of a subject or of all.
fn setting(verb: Verb, kind: &str, subject: Option<&str>) -> Request {
    match subject {
        Some(subject) => Request::new(verb, &[kind, subject]),
        None => Request::new(verb, &[kind]),
    }
}

/// All methods fail with the registry's error, or with what keeps it from answering.
impl Client {
    /// Subjects; with `deleted` also those that are soft-deleted.
    pub async fn subjects(&self, deleted: bool) -> Result<Vec<String>, Error> {
        texts(&self.ask(&Request::new(Verb::Get, &["subjects"]).flag("deleted", deleted)).await?)
    }

    /// Versions of a subject.
    pub async fn versions(&self, subject: &str, deleted: bool) -> Result<Vec<i32>, Error> {
        let request = Request::new(Verb::Get, &["subjects", subject, "versions"]).flag("deleted", deleted);
        numbers(&self.ask(&request).await?)
    }

    /// Subjects and versions that have the schema of an id.
    pub async fn uses_of(&self, id: i32) -> Result<Vec<(String, i32)>, Error> {
        let request = Request::new(Verb::Get, &["schemas", "ids", &id.to_string(), "versions"]);
        let answer = self.ask(&request).await?;
        let pair = |item: &Json| {
            let version = i32::try_from(item.get("version")?.as_i64()?).ok()?;
            Some((item.get("subject")?.as_str()?.to_owned(), version))
        };
        Ok(answer.as_array().ok_or_else(|| malformed("list"))?.iter().filter_map(pair).collect())
    }

    /// Ids of the schemas that use a version of a subject.
    pub async fn referenced_by(&self, subject: &str, version: Version) -> Result<Vec<i32>, Error> {
        let path = ["subjects", subject, "versions", &version.to_string(), "referencedby"];
        numbers(&self.ask(&Request::new(Verb::Get, &path)).await?)
    }

    /// Deletes a subject; gives its versions. `permanent` needs a soft delete before it.
    pub async fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<i32>, Error> {
        let request = Request::new(Verb::Delete, &["subjects", subject]).flag("permanent", permanent);
        let answer = self.ask(&request).await?;
        self.forget_subject(subject);
        numbers(&answer)
    }

    /// Deletes a version of a subject.
    pub async fn delete_version(
        &self,
        subject: &str,
        version: Version,
        permanent: bool,
    ) -> Result<i32, Error> {
        let path = ["subjects", subject, "versions", &version.to_string()];
        let answer = self.ask(&Request::new(Verb::Delete, &path).flag("permanent", permanent)).await?;
        self.forget_subject(subject);
        let number = answer.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| malformed("version"))
    }

    /// Whether a schema could follow a version of a subject, by the subject's compatibility level.
    pub async fn compatibility_with(
        &self,
        subject: &str,
        version: Version,
        schema: &Schema,
    ) -> Result<CompatibilityReport, Error> {
        let path = ["compatibility", "subjects", subject, "versions", &version.to_string()];
        let request = Request::new(Verb::Post, &path).query("verbose", "true").body(body_of(schema));
        let answer = self.ask(&request).await?;
        let is_compatible =
            answer.get("is_compatible").and_then(Json::as_bool).ok_or_else(|| malformed("is_compatible"))?;
        let messages = answer.get("messages").map(texts).transpose()?.unwrap_or_default();
        Ok(CompatibilityReport { is_compatible, messages })
    }

    /// The compatibility level of a subject, or of all.
    pub async fn compatibility(&self, subject: Option<&str>) -> Result<Compatibility, Error> {
        let request = setting(Verb::Get, "config", subject).flag("defaultToGlobal", subject.is_some());
        let answer = self.ask(&request).await?;
        let level = answer.get("compatibilityLevel").or_else(|| answer.get("compatibility"));
        level
            .and_then(Json::as_str)
            .and_then(Compatibility::by_name)
            .ok_or_else(|| malformed("compatibilityLevel"))
    }

    /// Sets the compatibility level of a subject, or of all.
    pub async fn set_compatibility(&self, subject: Option<&str>, level: Compatibility) -> Result<(), Error> {
        let request = setting(Verb::Put, "config", subject).body(json!({ "compatibility": level.name() }));
        self.ask(&request).await.map(drop)
    }

    /// Gives a subject the level of all again.
    pub async fn reset_compatibility(&self, subject: &str) -> Result<(), Error> {
        self.ask(&setting(Verb::Delete, "config", Some(subject))).await.map(drop)
    }

    /// The mode of a subject, or of all.
    pub async fn mode(&self, subject: Option<&str>) -> Result<Mode, Error> {
        let request = setting(Verb::Get, "mode", subject).flag("defaultToGlobal", subject.is_some());
        let answer = self.ask(&request).await?;
        answer.get("mode").and_then(Json::as_str).and_then(Mode::by_name).ok_or_else(|| malformed("mode"))
    }

    /// Sets the mode of a subject, or of all.
    pub async fn set_mode(&self, subject: Option<&str>, mode: Mode) -> Result<(), Error> {
        let request = setting(Verb::Put, "mode", subject).body(json!({ "mode": mode.name() }));
        self.ask(&request).await.map(drop)
    }

    /// Contexts.
    pub async fn contexts(&self) -> Result<Vec<String>, Error> {
        texts(&self.ask(&Request::new(Verb::Get, &["contexts"])).await?)
    }
}

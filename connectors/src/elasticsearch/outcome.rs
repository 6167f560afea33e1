//! What an answer means for its record, or its request.

use super::bulk::{Action, Op};
use super::response::ItemError;

/// What becomes of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The cluster has it.
    Done,
    /// The cluster has a newer version, or the same.
    Stale,
    /// The document is at fault.
    Malformed,
    /// Somebody else changed the document at the same time.
    Conflict,
    /// It may go better later; true if the cluster has too much to do.
    Retry(bool),
    /// It does not help to go on.
    Fatal,
}

/// Types of errors that are the document's fault, as the JVM's connector lists them, and newer names of the same.
const MALFORMED: [&str; 9] = [
    "strict_dynamic_mapping_exception",
    "mapper_parsing_exception",
    "illegal_argument_exception",
    "action_request_validation_exception",
    "document_parsing_exception",
    "x_content_parse_exception",
    "parsing_exception",
    "not_x_content_exception",
    "json_parse_exception",
];

/// Types of errors that pass.
const PASSING: [&str; 8] = [
    "es_rejected_execution_exception",
    "rejected_execution_exception",
    "unavailable_shards_exception",
    "circuit_breaking_exception",
    "process_cluster_event_timeout_exception",
    "no_shard_available_action_exception",
    "node_closed_exception",
    "primary_missing_action_exception",
];

/// The fate of an item that was not done.
pub(super) fn of_item(op: &Op, error: &ItemError) -> Fate {
    let is = |kind: &str| error.text.contains(kind);
    if is("version_conflict_engine_exception") {
        return match op.action {
            // it is there already: a request that was repeated
            Action::Create => Fate::Done,
            _ if op.versioned => Fate::Stale,
            _ => Fate::Conflict,
        };
    }
    if error.status == 429 || PASSING.iter().any(|kind| is(kind)) {
        return Fate::Retry(true);
    }
    if MALFORMED.iter().any(|kind| is(kind)) {
        return Fate::Malformed;
    }
    match error.status {
        404 if op.action == Action::Delete => Fate::Done,
        // read-only, or a disk above its watermark: somebody may be about to mend it
        403 if is("cluster_block_exception") => Fate::Retry(false),
        500 | 502..=504 => Fate::Retry(error.status == 503),
        _ => Fate::Fatal,
    }
}

/// What a status other than 2xx means for a whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A part of it may go through: too large, or one bad operation among good ones.
    Split,
    /// It may go better later, perhaps at another node; true if the cluster has too much to do.
    Retry(bool),
    /// It does not help to go on.
    Fatal,
}

/// By the status.
pub(super) fn of_status(status: u16) -> Refusal {
    match status {
        400 | 413 => Refusal::Split,
        408 | 500 | 502 | 504 => Refusal::Retry(false),
        429 | 503 => Refusal::Retry(true),
        _ => Refusal::Fatal,
    }
}

/// What a user can do about a status.
pub(super) fn remedy(status: u16) -> &'static str {
    match status {
        401 => "; check connection.username and connection.password, or connection.api.key",
        403 => "; the user lacks a privilege (index, create_index, write), or the index is read-only",
        404 => {
            "; there is no such index and it is not made by itself: check action.auto_create_index and the user's privileges"
        }
        413 => "; lower bulk.size.bytes below the cluster's http.max_content_length",
        429 | 503 => {
            "; the cluster has more to do than it can: lower max.in.flight.requests, or raise max.retries"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::bulk::Doc;
    use super::*;

    fn fate(action: Action, versioned: bool, status: u16, text: &str) -> Fate {
        let op = Op { action, versioned, doc: Doc::None, line: (0, 0), batch: 0, record: 0, identity: 0 };
        of_item(&op, &ItemError { item: 0, status, text: text.to_owned() })
    }

    #[test]
    fn items() {
        let conflict = "version_conflict_engine_exception: [1]: version conflict";
        assert_eq!(fate(Action::Index, true, 409, conflict), Fate::Stale);
        assert_eq!(fate(Action::Delete, true, 409, conflict), Fate::Stale);
        assert_eq!(fate(Action::Update, false, 409, conflict), Fate::Conflict);
        assert_eq!(fate(Action::Create, false, 409, conflict), Fate::Done);
        assert_eq!(fate(Action::Index, true, 429, "es_rejected_execution_exception"), Fate::Retry(true));
        assert_eq!(fate(Action::Index, true, 400, "document_parsing_exception: [1:6]"), Fate::Malformed);
        let fields = "illegal_argument_exception: Limit of total fields [1000] has been exceeded";
        assert_eq!(fate(Action::Index, true, 400, fields), Fate::Malformed);
        assert_eq!(fate(Action::Index, true, 403, "cluster_block_exception: blocked"), Fate::Retry(false));
        assert_eq!(fate(Action::Index, true, 404, "index_not_found_exception: no such index"), Fate::Fatal);
        assert_eq!(fate(Action::Index, true, 403, "security_exception: unauthorized"), Fate::Fatal);
    }

    #[test]
    fn statuses() {
        assert_eq!(of_status(413), Refusal::Split);
        assert_eq!(of_status(429), Refusal::Retry(true));
        assert_eq!(of_status(502), Refusal::Retry(false));
        assert_eq!(of_status(401), Refusal::Fatal);
    }
}

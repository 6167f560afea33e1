//! What a task counts.

use metrics::Counter;

/// Counters of one task.
#[derive(Debug, Clone)]
pub(super) struct SearchMetrics {
    /// Documents that the cluster has acknowledged.
    pub(super) documents: Counter,
    /// Bulk requests, retries included.
    pub(super) requests: Counter,
    pub(super) retries: Counter,
    /// Documents that were older than the cluster's: what a replay leads to.
    pub(super) stale: Counter,
    /// Updates that lost against somebody else's.
    pub(super) conflicts: Counter,
    pub(super) malformed: Counter,
}

impl SearchMetrics {
    pub(super) fn new(connector: &str, task: usize) -> SearchMetrics {
        let labels = [("connector", connector.to_owned()), ("task", task.to_string())];
        SearchMetrics {
            documents: metrics::counter!("aqueduct_search_documents_total", &labels),
            requests: metrics::counter!("aqueduct_search_bulk_requests_total", &labels),
            retries: metrics::counter!("aqueduct_search_retries_total", &labels),
            stale: metrics::counter!("aqueduct_search_stale_versions_total", &labels),
            conflicts: metrics::counter!("aqueduct_search_conflicts_total", &labels),
            malformed: metrics::counter!("aqueduct_search_malformed_documents_total", &labels),
        }
    }
}

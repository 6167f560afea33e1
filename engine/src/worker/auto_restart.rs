//! `errors.auto.restart`: a failed task is started again by itself, later and later, and not for ever.

use std::time::Duration;

use crate::config::ConfigError;
use crate::connector::{ConfigMap, ConnectError};

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);
/// A task that has run this long begins anew with the first wait.
const HEALTHY: Duration = Duration::from_secs(600);
/// Restarts in a row without `errors.auto.restart.max.attempts`.
const DEFAULT_ATTEMPTS: i64 = 10;

/// The policy of one task, and how often in a row it has acted.
#[derive(Debug)]
pub(super) struct AutoRestart {
    enabled: bool,
    /// Negative: no bound.
    attempts: i64,
    in_a_row: u32,
}

impl AutoRestart {
    pub(super) fn from_config(connector: &ConfigMap) -> AutoRestart {
        let text = |key: &str| connector.get(key).map(|value| value.trim());
        let attempts = text("errors.auto.restart.max.attempts").and_then(|value| value.parse().ok());
        AutoRestart {
            enabled: text("errors.auto.restart").is_some_and(|value| value.eq_ignore_ascii_case("true")),
            attempts: attempts.unwrap_or(DEFAULT_ATTEMPTS),
            in_a_row: 0,
        }
    }

    /// How long to wait before the next start, if there is to be one.
    pub(super) fn next(&mut self, ran: Duration, error: &ConnectError) -> Option<Duration> {
        if ran >= HEALTHY {
            self.in_a_row = 0;
        }
        let exhausted = self.attempts >= 0 && i64::from(self.in_a_row) >= self.attempts;
        if !self.enabled || exhausted || !may_pass(error) {
            return None;
        }
        let wait = FIRST.saturating_mul(1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX)).min(LONGEST);
        self.in_a_row += 1;
        Some(wait.mul_f64(0.8 + 0.2 * fastrand::f64()))
    }
}

/// Whether another start may go better: not after a record that must not be skipped, nor with a configuration that is wrong.
fn may_pass(error: &ConnectError) -> bool {
    if error.to_string().starts_with("Tolerance exceeded") {
        return false;
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<ConfigError>() {
            return false;
        }
        cause = error.source();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(entries: &[(&str, &str)]) -> AutoRestart {
        AutoRestart::from_config(&entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn waits_grow_and_end() {
        let error = ConnectError::fatal("the database is away");
        assert_eq!(policy(&[]).next(Duration::ZERO, &error), None);
        let mut policy =
            policy(&[("errors.auto.restart", "true"), ("errors.auto.restart.max.attempts", "3")]);
        let waits: Vec<_> = std::iter::from_fn(|| policy.next(Duration::ZERO, &error)).collect();
        assert_eq!(waits.len(), 3);
        assert!(waits[0] <= FIRST && waits[2] > FIRST * 3 && waits[2] <= FIRST * 4, "{waits:?}");
        assert!(policy.next(HEALTHY, &error).is_some(), "a healthy run begins anew");
    }

    #[test]
    fn what_cannot_pass_is_left() {
        let mut policy = policy(&[("errors.auto.restart", "true")]);
        let poisoned = ConnectError::fatal("Tolerance exceeded in error handler");
        assert_eq!(policy.next(Duration::ZERO, &poisoned), None);
        let wrong = ConnectError::fatal("x").caused_by(ConfigError::missing("topic"));
        assert_eq!(policy.next(Duration::ZERO, &wrong), None);
    }
}

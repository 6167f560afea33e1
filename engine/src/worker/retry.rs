//! `errors.retry.*`: how long, and after which waits, something that may pass is tried again.

use std::time::Duration;

use crate::connector::ConfigMap;

pub(super) const TIMEOUT: &str = "errors.retry.timeout";
pub(super) const LONGEST_DELAY: &str = "errors.retry.delay.max.ms";
/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(300);
const DEFAULT_LONGEST: Duration = Duration::from_secs(60);
/// Longest wait between two calls of a task that asked for a repetition: the JVM does not wait at all.
const LONGEST_FOR_TASKS: Duration = Duration::from_secs(5);

/// The waits of one task.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    /// How long look-ups may take; none: as long as the other side is down.
    pub(super) limit: Option<Duration>,
    longest: Duration,
}

impl Retry {
    pub(super) fn from_config(connector: &ConfigMap) -> Retry {
        let millis = |key: &str| connector.get(key).and_then(|value| value.trim().parse::<i64>().ok());
        let positive = |ms: i64| u64::try_from(ms).ok().map(Duration::from_millis);
        Retry {
            limit: millis(TIMEOUT).and_then(positive),
            longest: millis(LONGEST_DELAY).and_then(positive).unwrap_or(DEFAULT_LONGEST),
        }
    }

    /// The wait after the `attempt`th failure, from 1. As in the JVM it is random once it would be longer than
    /// `errors.retry.delay.max.ms`, so that tasks which failed together do not come back together.
    fn delay(&self, attempt: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).and_then(|times| FIRST.checked_mul(times));
        match doubled {
            Some(delay) if delay <= self.longest => delay,
            _ => self.longest.mul_f64(fastrand::f64()),
        }
    }

    /// The same for a `poll` or `put` that asked to be repeated, a few seconds at most.
    pub(super) fn task_delay(&self, attempt: u32) -> Duration {
        let bounded = Retry { longest: self.longest.min(LONGEST_FOR_TASKS), ..self.clone() };
        bounded.delay(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(timeout: &str, longest: &str) -> Retry {
        let pairs = [(TIMEOUT, timeout), (LONGEST_DELAY, longest)];
        let set = pairs.iter().filter(|(_, value)| !value.is_empty());
        Retry::from_config(&set.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn waits_double_and_are_random_beyond_the_longest() {
        let default = retry("", "");
        let waits: Vec<u128> = (1..=8).map(|attempt| default.delay(attempt).as_millis()).collect();
        assert_eq!(waits, [300, 600, 1200, 2400, 4800, 9600, 19200, 38400]);
        for attempt in [9, 33, u32::MAX] {
            assert!(default.delay(attempt) < Duration::from_secs(60));
        }
        let short = retry("", "1000");
        assert_eq!(short.delay(2), Duration::from_millis(600));
        assert!(short.delay(3) < Duration::from_secs(1));
        assert!((1..99).all(|attempt| default.task_delay(attempt) <= LONGEST_FOR_TASKS));
        assert_eq!(retry("", "0").delay(1), Duration::ZERO);
    }

    #[test]
    fn the_limit_is_only_there_when_asked_for() {
        assert_eq!(retry("", "").limit, None);
        assert_eq!(retry("-1", "").limit, None);
        assert_eq!(retry("0", "").limit, Some(Duration::ZERO));
        assert_eq!(retry("1500", "").limit, Some(Duration::from_millis(1500)));
    }
}

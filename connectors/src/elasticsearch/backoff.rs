//! How long to wait before a retry.

use std::time::Duration;

/// Longest wait. (The JVM's connector would go up to a day.)
const MOST: Duration = Duration::from_secs(60);

/// Before retry `retry`, from 1 on: a part, at random from 0 to 1, of `base` × 2^retry.
pub(super) fn delay(base: Duration, retry: u32, random: f64) -> Duration {
    let doubled = 2_u32.checked_pow(retry).and_then(|factor| base.checked_mul(factor)).unwrap_or(MOST);
    doubled.min(MOST).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute() {
        let base = Duration::from_millis(100);
        assert_eq!(delay(base, 1, 1.0), Duration::from_millis(200));
        assert_eq!(delay(base, 3, 0.5), Duration::from_millis(400));
        assert_eq!(delay(base, 30, 1.0), MOST);
        assert_eq!(delay(base, u32::MAX, 1.0), MOST);
        assert_eq!(delay(Duration::ZERO, 5, 1.0), Duration::ZERO);
    }
}

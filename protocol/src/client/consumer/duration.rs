//! ISO 8601 durations as Java's `Duration.parse` reads them: `PnDTnHnMn.nS`.

use std::time::Duration;

/// Most seconds that are taken: a century.
const MOST_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

/// A duration that is not negative; none for anything else.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.to_ascii_uppercase();
    let text = text.strip_prefix('P')?;
    let (days, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    if !days.is_empty() {
        seconds += whole(days.strip_suffix('D')?)? * 86_400.0;
    }
    let mut rest = time;
    for (unit, worth) in [('H', 3_600.0), ('M', 60.0)] {
        if let Some((number, after)) = rest.split_once(unit) {
            seconds += whole(number)? * worth;
            rest = after;
        }
    }
    if !rest.is_empty() {
        let number = rest.strip_suffix('S')?;
        let (units, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        whole(units)?;
        seconds += number.parse::<f64>().ok()?;
    }
    (seconds <= MOST_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

fn whole(digits: &str) -> Option<f64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_java_reads_them() {
        for (text, millis) in [
            ("PT0S", 0),
            ("PT20.345S", 20_345),
            ("PT15M", 900_000),
            ("PT10H", 36_000_000),
            ("P2D", 172_800_000),
            ("P2DT3H4M", 183_840_000),
            ("pt1h1s", 3_601_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        let wrong = [
            "",
            "P",
            "PT",
            "P1DT",
            "1H",
            "PT1",
            "P1H",
            "PT-1S",
            "-PT1S",
            "PT1S1M",
            "PT.5S",
            "PT1.S",
            "PTS",
            "P1000000D",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

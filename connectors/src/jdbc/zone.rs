//! `db.timezone`: Java's zone ids, and wall clock time in them.

use chrono::{DateTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _};
use chrono_tz::Tz;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Zone {
    #[default]
    Utc,
    /// Seconds east of Greenwich.
    Fixed(i64),
    Region(Tz),
}

/// Java's old three-letter ids, where they are not those of the tz database.
const SHORT_IDS: [(&str, &str); 28] = [
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
    ("EST", "-05:00"),
    ("MST", "-07:00"),
    ("HST", "-10:00"),
];
const MICROS: i64 = 1_000_000;

impl Zone {
    /// Reads a `java.time.ZoneId`.
    pub(super) fn parse(id: &str) -> Option<Zone> {
        let id = SHORT_IDS.iter().find(|(short, _)| *short == id).map_or(id, |(_, long)| long);
        if ["UTC", "GMT", "UT", "Z"].contains(&id) {
            return Some(Zone::Utc);
        }
        let offset = ["UTC", "GMT", "UT"].iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
        if offset.starts_with(['+', '-']) {
            return offset_seconds(offset)
                .map(|seconds| if seconds == 0 { Zone::Utc } else { Zone::Fixed(seconds) });
        }
        id.parse().ok().map(Zone::Region)
    }

    /// Microseconds that the wall clock shows at an instant; both counted from 1970.
    pub(super) fn wall(self, micros: i64) -> i64 {
        match self {
            Zone::Utc => micros,
            Zone::Fixed(seconds) => micros.saturating_add(seconds * MICROS),
            Zone::Region(zone) => {
                let Some(instant) = DateTime::from_timestamp_micros(micros) else { return micros };
                let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc();
                micros.saturating_add(i64::from(offset) * MICROS)
            }
        }
    }

    /// The instant at which the wall clock shows this. As Java's calendar: of two such instants the later one, and what the
    /// clock jumps over is counted on.
    pub(super) fn instant(self, wall: i64) -> i64 {
        match self {
            Zone::Utc => wall,
            Zone::Fixed(seconds) => wall.saturating_sub(seconds * MICROS),
            Zone::Region(zone) => {
                let Some(local) = DateTime::from_timestamp_micros(wall) else { return wall };
                let offset = local_offset(zone, local.naive_utc());
                wall.saturating_sub(offset * MICROS)
            }
        }
    }
}

fn local_offset(zone: Tz, local: NaiveDateTime) -> i64 {
    use chrono::LocalResult::{Ambiguous, None, Single};
    let seconds = match zone.offset_from_local_datetime(&local) {
        Single(offset) => offset.fix().local_minus_utc(),
        Ambiguous(_, later) => later.fix().local_minus_utc(),
        // within a gap: the offset before it
        None => {
            let before = local - TimeDelta::hours(3);
            zone.offset_from_local_datetime(&before)
                .earliest()
                .map_or(0, |offset| offset.fix().local_minus_utc())
        }
    };
    i64::from(seconds)
}

/// `+2`, `+02`, `+0230`, `+02:30`, `+02:30:15`.
fn offset_seconds(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text[1..].chars().filter(|char| *char != ':').collect();
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = if digits.len() == 1 { format!("0{digits}") } else { digits };
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    let total = hours * 3600 + minutes * 60 + seconds;
    (minutes < 60 && seconds < 60 && total <= 18 * 3600 && digits.len() % 2 == 0).then_some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_ids() {
        assert_eq!(Zone::parse("UTC"), Some(Zone::Utc));
        assert_eq!(Zone::parse("GMT+2"), Some(Zone::Fixed(7200)));
        assert_eq!(Zone::parse("-05:30"), Some(Zone::Fixed(-19800)));
        assert_eq!(Zone::parse("EST"), Some(Zone::Fixed(-18000)));
        assert_eq!(Zone::parse("PST"), Some(Zone::Region(Tz::America__Los_Angeles)));
        assert_eq!(Zone::parse("Europe/Berlin"), Some(Zone::Region(Tz::Europe__Berlin)));
        for bad in ["", "Nowhere", "+", "+25", "+02:60", "+123", "UTC+"] {
            assert_eq!(Zone::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn wall_clocks() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        assert_eq!(berlin.wall(at("2024-07-01T12:00:00")), at("2024-07-01T14:00:00"));
        assert_eq!(berlin.instant(at("2024-07-01T14:00:00")), at("2024-07-01T12:00:00"));
        // twice on the clock: the second time; not on the clock: an hour further
        assert_eq!(berlin.instant(at("2024-10-27T02:30:00")), at("2024-10-27T01:30:00"));
        assert_eq!(berlin.instant(at("2024-03-31T02:30:00")), at("2024-03-31T01:30:00"));
        assert_eq!(Zone::Fixed(3600).instant(MICROS), MICROS - 3600 * MICROS);
    }
}

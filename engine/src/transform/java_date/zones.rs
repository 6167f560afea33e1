//! Time zones that are read by name. A name that was read makes its zone that of the format: `SimpleDateFormat` keeps it
//! for what it prints and reads from then on.

use super::calendar::{DAY, Date, EPOCH, day_of_week_on_or_before, fixed_date};
use super::names::begins_with;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// When clocks go an hour forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Summer {
    Never,
    /// The second Sunday of March to the first of November, at 2:00 (from 2007 on; before that April to October).
    America,
    /// The last Sunday of March to the last of October, at 1:00 UTC.
    Europe,
    /// The first Sunday of October to the first of April, at 2:00 standard time.
    Australia,
    /// The last Sunday of September to the first of April, at 2:00 standard time.
    NewZealand,
    /// The Friday before the last Sunday of March to the last Sunday of October, at 2:00.
    Israel,
}

/// A time zone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Zone {
    /// Standard time, in full and short; summer time, in full and short. Equal pairs where there is no summer time.
    names: [&'static str; 4],
    /// Minutes east of UTC.
    standard: i64,
    summer: Summer,
}

const fn zone(names: [&'static str; 4], standard: i64, summer: Summer) -> Zone {
    Zone { names, standard, summer }
}

/// A zone without summer time.
const fn fixed(name: &'static str, short: &'static str, standard: i64) -> Zone {
    Zone { names: [name, short, name, short], standard, summer: Summer::Never }
}

pub(super) static UTC: Zone = fixed("Coordinated Universal Time", "UTC", 0);

/// Where a name is that of several zones, the first one is Java's.
static ZONES: &[Zone] = &[
    zone(["Pacific Standard Time", "PST", "Pacific Daylight Time", "PDT"], -480, Summer::America),
    zone(["Mountain Standard Time", "MST", "Mountain Daylight Time", "MDT"], -420, Summer::America),
    zone(["Central Standard Time", "CST", "Central Daylight Time", "CDT"], -360, Summer::America),
    zone(["Eastern Standard Time", "EST", "Eastern Daylight Time", "EDT"], -300, Summer::America),
    zone(
        ["Hawaii-Aleutian Standard Time", "HST", "Hawaii-Aleutian Daylight Time", "HDT"],
        -600,
        Summer::Never,
    ),
    zone(
        ["Hawaii-Aleutian Standard Time", "HAST", "Hawaii-Aleutian Daylight Time", "HADT"],
        -600,
        Summer::America,
    ),
    zone(["Alaska Standard Time", "AKST", "Alaska Daylight Time", "AKDT"], -540, Summer::America),
    zone(["Atlantic Standard Time", "AST", "Atlantic Daylight Time", "ADT"], -240, Summer::America),
    zone(["Newfoundland Standard Time", "NST", "Newfoundland Daylight Time", "NDT"], -210, Summer::America),
    zone(
        ["Central European Standard Time", "CET", "Central European Summer Time", "CEST"],
        60,
        Summer::Europe,
    ),
    zone(
        ["Western European Standard Time", "WET", "Western European Summer Time", "WEST"],
        0,
        Summer::Europe,
    ),
    zone(
        ["Eastern European Standard Time", "EET", "Eastern European Summer Time", "EEST"],
        120,
        Summer::Europe,
    ),
    zone(["Israel Standard Time", "IST", "Israel Daylight Time", "IDT"], 120, Summer::Israel),
    fixed("Japan Standard Time", "JST", 540),
    zone(["Moscow Standard Time", "MSK", "Moscow Summer Time", "MSD"], 180, Summer::Never),
    zone(["Central European Time", "CET", "Central European Summer Time", "CEST"], 60, Summer::Europe),
    zone(["Western European Time", "WET", "Western European Summer Time", "WEST"], 0, Summer::Europe),
    zone(["Eastern European Time", "EET", "Eastern European Summer Time", "EEST"], 120, Summer::Europe),
    fixed("Greenwich Mean Time", "GMT", 0),
    zone(["Greenwich Mean Time", "GMT", "British Summer Time", "BST"], 0, Summer::Europe),
    fixed("India Standard Time", "IST", 330),
    fixed("Korean Standard Time", "KST", 540),
    fixed("Singapore Standard Time", "SGT", 480),
    fixed("Hong Kong Standard Time", "HKT", 480),
    zone(
        ["Australian Eastern Standard Time", "AEST", "Australian Eastern Daylight Time", "AEDT"],
        600,
        Summer::Australia,
    ),
    fixed("Australian Central Standard Time", "ACST", 570),
    fixed("Australian Western Standard Time", "AWST", 480),
    zone(["New Zealand Standard Time", "NZST", "New Zealand Daylight Time", "NZDT"], 720, Summer::NewZealand),
    fixed("Brasilia Standard Time", "BRT", -180),
    fixed("Argentina Standard Time", "ART", -180),
    fixed("Gulf Standard Time", "GST", 240),
    fixed("Pakistan Standard Time", "PKT", 300),
    fixed("South Africa Standard Time", "SAST", 120),
    fixed("East Africa Time", "EAT", 180),
    fixed("West Africa Standard Time", "WAT", 60),
    fixed("Central Africa Time", "CAT", 120),
];

impl Zone {
    /// The length of the name that the text begins with, and its offset in milliseconds.
    fn matches(&self, text: &str) -> Option<(usize, i64)> {
        let at = self.names.iter().position(|name| begins_with(text, name))?;
        let summer = if at >= 2 && self.summer != Summer::Never { HOUR } else { 0 };
        Some((self.names[at].len(), self.standard * MINUTE + summer))
    }

    /// The offset at a moment, in milliseconds.
    pub(super) fn offset(&self, ms: i64) -> i64 {
        self.standard * MINUTE + if self.is_summer(ms) { HOUR } else { 0 }
    }

    /// Its name at a moment.
    pub(super) fn name(&self, ms: i64, short: bool) -> &'static str {
        self.names[usize::from(self.is_summer(ms)) * 2 + usize::from(short)]
    }

    fn is_summer(&self, ms: i64) -> bool {
        let standard = self.standard * MINUTE;
        let year = Date::of_millis(ms.saturating_add(standard)).year;
        let midnight = |date: i64| (date - EPOCH) * DAY;
        // The so-many-th Sunday of a month, and the last one.
        let nth =
            |month: i64, n: i64| midnight(day_of_week_on_or_before(fixed_date(true, year, month, 7 * n), 1));
        let last =
            |month: i64| midnight(day_of_week_on_or_before(fixed_date(true, year, month + 1, 1) - 1, 1));
        match self.summer {
            Summer::Never => false,
            Summer::America => {
                let (start, end) = if year >= 2007 {
                    (nth(3, 2), nth(11, 1))
                } else if year >= 1987 {
                    (nth(4, 1), last(10))
                } else {
                    (last(4), last(10))
                };
                year >= 1967 && (start + 2 * HOUR - standard..end + HOUR - standard).contains(&ms)
            }
            Summer::Europe => year >= 1996 && (last(3) + HOUR..last(10) + HOUR).contains(&ms),
            Summer::Israel => {
                let (start, end) = (last(3) - 2 * DAY + 2 * HOUR, last(10) + HOUR);
                year >= 2013 && (start - standard..end - standard).contains(&ms)
            }
            Summer::Australia => {
                year >= 2008
                    && !(nth(4, 1) + 2 * HOUR - standard..nth(10, 1) + 2 * HOUR - standard).contains(&ms)
            }
            Summer::NewZealand => {
                year >= 2008
                    && !(nth(4, 1) + 2 * HOUR - standard..last(9) + 2 * HOUR - standard).contains(&ms)
            }
        }
    }
}

/// The zone whose name the text begins with, the name's length and its offset. The zone at hand is asked first.
pub(super) fn find(text: &str, current: &'static Zone) -> Option<(&'static Zone, usize, i64)> {
    let candidates = [current, &UTC].into_iter().chain(ZONES);
    candidates.filter_map(|zone| zone.matches(text).map(|(length, offset)| (zone, length, offset))).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summer_time() {
        let zone = |name| find(name, &UTC).map(|(zone, ..)| zone).unwrap();
        let (january, july) = (1_577_836_800_000, 1_593_561_600_000);
        for (name, in_january, in_july) in
            [("PST", "PST", "PDT"), ("cest", "CET", "CEST"), ("BST", "GMT", "BST"), ("AEST", "AEDT", "AEST")]
        {
            assert_eq!((zone(name).name(january, true), zone(name).name(july, true)), (in_january, in_july));
        }
        let pacific = zone("PDT");
        assert!(!pacific.is_summer(1_583_661_599_999)); // 2020-03-08T09:59:59.999Z
        assert!(pacific.is_summer(1_583_661_600_000));
        assert!(pacific.is_summer(1_604_221_199_999)); // 2020-11-01T08:59:59.999Z
        assert!(!pacific.is_summer(1_604_221_200_000));
    }
}

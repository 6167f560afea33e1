//! `java.util.GregorianCalendar`: the Julian calendar up to 4 October 1582, the Gregorian one from the day after.
//!
//! A fixed date counts days; 1 is the first day of the year 1 of the Gregorian calendar, a Monday.

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;
/// The fixed date of 1970-01-01.
pub(super) const EPOCH: i64 = 719_163;
/// The first fixed date of the Gregorian calendar, 1582-10-15.
pub(super) const CUTOVER: i64 = 577_736;
/// The year of both calendars.
pub(super) const CUTOVER_YEAR: i64 = 1582;

/// The fixed date of a day of a month, 1 to 12; the day may be out of its month. Years go on before 1 with 0, -1 …
pub(super) fn fixed_date(gregorian: bool, year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year.div_euclid(4) + day_of_year;
    if gregorian { days - year.div_euclid(100) + year.div_euclid(400) - 305 } else { days - 307 }
}

/// Length of a month, 1 to 12.
pub(super) fn month_length(gregorian: bool, year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    fixed_date(gregorian, next_year, next, 1) - fixed_date(gregorian, year, month, 1)
}

/// The last such day of the week (Sunday is 1) that is not behind `date`.
pub(super) fn day_of_week_on_or_before(date: i64, day_of_week: i64) -> i64 {
    date - (date - (day_of_week - 1)).rem_euclid(7)
}

/// Year, month and day of a fixed date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    /// The fixed date.
    pub(super) fixed: i64,
    /// 0 for 1 BC, and so on.
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: i64,
    /// 1 to 31.
    pub(super) day: i64,
}

impl Date {
    /// The date of a moment.
    pub(super) fn of_millis(ms: i64) -> Self {
        Self::of(ms.div_euclid(DAY) + EPOCH)
    }

    fn of(fixed: i64) -> Self {
        let gregorian = fixed >= CUTOVER;
        // Days since 1 March of the year 0, in eras after which leap years repeat.
        let (days, era_days, era_years) =
            if gregorian { (fixed + 305, 146_097, 400) } else { (fixed + 307, 1461, 4) };
        let era = days.div_euclid(era_days);
        let day_of_era = days.rem_euclid(era_days);
        let leaps = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era =
            if gregorian { (day_of_era - leaps) / 365 } else { (day_of_era - day_of_era / 1460) / 365 };
        let centuries = if gregorian { year_of_era / 100 } else { 0 };
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - centuries);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self { fixed, year: year_of_era + era * era_years + i64::from(month <= 2), month, day }
    }

    fn gregorian(self) -> bool {
        self.fixed >= CUTOVER
    }

    /// Sunday is 1.
    pub(super) fn day_of_week(self) -> i64 {
        self.fixed.rem_euclid(7) + 1
    }

    /// The first day of the year, as a fixed date.
    fn january_1(self) -> i64 {
        // In the year of both calendars it is a Julian day.
        fixed_date(self.gregorian() && self.year != CUTOVER_YEAR, self.year, 1, 1)
    }

    /// From 1.
    pub(super) fn day_of_year(self) -> i64 {
        self.fixed - self.january_1() + 1
    }

    /// From 1; the week of 1 January is the first, and weeks begin on Sundays.
    pub(super) fn week_of_year(self) -> i64 {
        let week = week_number(self.january_1(), self.fixed);
        let next = fixed_date(self.gregorian(), self.year + 1, 1, 1);
        let first_sunday = day_of_week_on_or_before(next + 6, 1);
        if week >= 52 && first_sunday > next && self.fixed >= first_sunday - 7 { 1 } else { week }
    }

    /// The year of the week.
    pub(super) fn week_year(self) -> i64 {
        self.year + i64::from(self.month == 12 && self.week_of_year() == 1)
    }

    /// From 1.
    pub(super) fn week_of_month(self) -> i64 {
        week_number(self.fixed - self.day + 1, self.fixed)
    }
}

/// The number of the week of `date` in a period that begins on `first`.
fn week_number(first: i64, date: i64) -> i64 {
    (date - day_of_week_on_or_before(first, 1)).div_euclid(7) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_calendars_there_and_back() {
        for fixed in (-2_000_000..2_000_000).step_by(97).chain(CUTOVER - 3..CUTOVER + 3) {
            let date = Date::of(fixed);
            assert_eq!(fixed_date(date.gregorian(), date.year, date.month, date.day), fixed, "{date:?}");
        }
        assert_eq!(fixed_date(true, 1970, 1, 1), EPOCH);
        assert_eq!(Date::of(CUTOVER - 1), Date { fixed: CUTOVER - 1, year: 1582, month: 10, day: 4 });
        assert_eq!(month_length(true, 2024, 2), 29);
        assert_eq!(month_length(false, 1900, 2), 29);
        assert_eq!(month_length(true, 1900, 2), 28);
    }
}

//! From calendar fields to a moment, as `java.util.Calendar` resolves them: fields of the most recently set group win,
//! and every field may be out of its range.

use super::calendar::{
    CUTOVER, CUTOVER_YEAR, DAY, EPOCH, day_of_week_on_or_before, fixed_date, month_length,
};

/// Calendar fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Era,
    Year,
    /// From 0.
    Month,
    WeekOfYear,
    WeekOfMonth,
    Day,
    DayOfYear,
    /// Sunday is 1.
    DayOfWeek,
    DayOfWeekInMonth,
    Half,
    Hour,
    HourOfDay,
    Minute,
    Second,
    Millisecond,
    /// Milliseconds east of UTC.
    Offset,
    WeekYear,
}

const COUNT: usize = Field::WeekYear as usize + 1;

/// Values of fields and the order in which they were set; 0 stands for never.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    values: [i64; COUNT],
    stamps: [u32; COUNT],
    last: u32,
}

/// Which fields make the day.
#[derive(Debug, Clone, Copy)]
enum Day {
    OfMonth,
    WeekOfMonth,
    InMonth,
    OfYear,
    WeekOfYear,
}

impl Fields {
    pub(super) fn set(&mut self, field: Field, value: i64) {
        self.last += 1;
        self.values[field as usize] = value;
        self.stamps[field as usize] = self.last;
    }

    /// A hundred years later.
    pub(super) fn next_century(&mut self) {
        self.values[Field::Year as usize] += 100;
        self.values[Field::WeekYear as usize] += 100;
    }

    fn get(&self, field: Field) -> i64 {
        self.values[field as usize]
    }

    fn stamp(&self, field: Field) -> u32 {
        self.stamps[field as usize]
    }

    fn is_set(&self, field: Field) -> bool {
        self.stamp(field) > 0
    }

    /// The later of two stamps if both are set.
    fn both(&self, one: Field, other: Field) -> u32 {
        if self.is_set(one) && self.is_set(other) { self.stamp(one).max(self.stamp(other)) } else { 0 }
    }

    /// The most recently set combination of fields that says the day.
    fn day(&self) -> Day {
        let week_stamp = self.stamp(Field::WeekOfYear);
        let mut of_month = self.stamp(Field::Day);
        let mut week_of_month = self.both(Field::WeekOfMonth, Field::DayOfWeek);
        let mut in_month = self.both(Field::DayOfWeekInMonth, Field::DayOfWeek);
        let of_year = self.stamp(Field::DayOfYear);
        let week_of_year = self.both(Field::WeekOfYear, Field::DayOfWeek);
        let mut best = of_month.max(week_of_month).max(in_month).max(of_year).max(week_of_year);
        if best == 0 {
            // No complete combination: parts of one.
            week_of_month = self.stamp(Field::WeekOfMonth);
            in_month = self.stamp(Field::DayOfWeekInMonth).max(self.stamp(Field::DayOfWeek));
            best = week_of_month.max(in_month).max(week_stamp);
            if best == 0 {
                of_month = self.stamp(Field::Month);
                best = of_month;
            }
        }
        let in_month_stamp = self.stamp(Field::DayOfWeekInMonth);
        if best == of_month {
            Day::OfMonth
        } else if best == week_of_month && self.stamp(Field::WeekOfMonth) >= week_stamp
            || best == in_month && in_month_stamp >= week_stamp
        {
            let weeks = if week_of_month == in_month {
                self.stamp(Field::WeekOfMonth) >= in_month_stamp
            } else {
                best == week_of_month
            };
            if weeks { Day::WeekOfMonth } else { Day::InMonth }
        } else if best == of_year {
            Day::OfYear
        } else {
            Day::WeekOfYear
        }
    }

    /// The fixed date in one of the calendars.
    fn fixed_date(&self, gregorian: bool, year: i64, day: Day) -> i64 {
        let month = match day {
            Day::OfYear | Day::WeekOfYear => 0,
            _ => self.get(Field::Month),
        };
        let (year, month) = (year + month.div_euclid(12), month.rem_euclid(12) + 1);
        let first = fixed_date(gregorian, year, month, 1);
        let day_of_week = if self.is_set(Field::DayOfWeek) { self.get(Field::DayOfWeek) } else { 1 };
        let week = |number: i64| {
            // Weeks begin on Sundays; the first one is that of the first day.
            let sunday = day_of_week_on_or_before(first, 1);
            day_of_week_on_or_before(sunday + 6, day_of_week) + 7 * (number - 1)
        };
        match day {
            Day::OfMonth if self.is_set(Field::Day) => first + self.get(Field::Day) - 1,
            Day::OfMonth => first,
            Day::OfYear => first + self.get(Field::DayOfYear) - 1,
            Day::WeekOfYear => week(self.get(Field::WeekOfYear)),
            // Java multiplies these two in 32 bits.
            Day::WeekOfMonth => week(1) + weeks_of_days(self.get(Field::WeekOfMonth) - 1),
            Day::InMonth => {
                let is_set = self.is_set(Field::DayOfWeekInMonth);
                let number = if is_set { self.get(Field::DayOfWeekInMonth) } else { 1 };
                let from = if number >= 0 {
                    first + weeks_of_days(number) - 1
                } else {
                    first + month_length(gregorian, year, month) + 7 * (number + 1) - 1
                };
                day_of_week_on_or_before(from, day_of_week)
            }
        }
    }

    /// Milliseconds of the day, which may be of another day.
    fn time(&self) -> i64 {
        let half_stamp = self.both(Field::Hour, Field::Half);
        let of_day = self.stamp(Field::HourOfDay);
        let best = if half_stamp.max(of_day) == 0 {
            self.stamp(Field::Hour).max(self.stamp(Field::Half))
        } else {
            half_stamp.max(of_day)
        };
        let hours = if best == of_day {
            self.get(Field::HourOfDay)
        } else {
            self.get(Field::Hour) + 12 * self.get(Field::Half)
        };
        ((hours * 60 + self.get(Field::Minute)) * 60 + self.get(Field::Second)) * 1000
            + self.get(Field::Millisecond)
    }

    /// The day of `YYYY`, `ww` and a day of the week.
    fn week_date(&self) -> Option<i64> {
        let mut week = if self.is_set(Field::WeekOfYear) { self.get(Field::WeekOfYear) } else { 1 };
        let mut day = if self.is_set(Field::DayOfWeek) { self.get(Field::DayOfWeek) } else { 1 };
        if day >= 8 {
            day -= 1;
            week += day / 7;
            day = iso_to_java(day % 7 + 1);
        } else if day <= 0 {
            let weeks = (7 - day) / 7;
            week -= weeks;
            day = iso_to_java(day + 7 * weeks);
        }
        // The era is that of the date which the other fields make.
        let year = self.get(Field::WeekYear);
        let year = if self.date(0)? < fixed_date(false, 1, 1, 1) { 1 - year } else { year };
        let first = fixed_date(year > CUTOVER_YEAR, year, 1, 1);
        Some(day_of_week_on_or_before(first, 1) + (day - 1) + 7 * (week - 1))
    }

    /// Milliseconds since 1970; `None` for an era that is none.
    pub(super) fn millis(&self) -> Option<i64> {
        let time = self.time();
        let (days, time) = (time.div_euclid(DAY), time.rem_euclid(DAY));
        let fixed = if self.stamp(Field::WeekYear) > self.stamp(Field::Year) {
            self.week_date()? + days
        } else {
            self.date(days)?
        };
        Some((fixed - EPOCH).wrapping_mul(DAY).wrapping_add(time).wrapping_sub(self.get(Field::Offset)))
    }

    /// The fixed date, with so many days added.
    fn date(&self, days: i64) -> Option<i64> {
        let mut year = if self.is_set(Field::Year) { self.get(Field::Year) } else { 1970 };
        match self.get(Field::Era) {
            0 if self.is_set(Field::Era) => year = 1 - year,
            0 | 1 => {}
            _ => return None,
        }
        let day = self.day();
        let in_calendar = |gregorian| days + self.fixed_date(gregorian, year, day);
        if year > CUTOVER_YEAR {
            let date = in_calendar(true);
            return Some(if date >= CUTOVER { date } else { in_calendar(false) });
        }
        let julian = in_calendar(false);
        if year < CUTOVER_YEAR || matches!(day, Day::OfYear | Day::WeekOfYear) {
            return Some(julian);
        }
        let gregorian = in_calendar(true);
        Some(if gregorian >= CUTOVER { gregorian } else { julian })
    }
}

/// Days of so many weeks, in 32 bits.
fn weeks_of_days(weeks: i64) -> i64 {
    i64::from(7_i32.wrapping_mul(weeks as i32))
}

/// A day of the week from Monday as 1 to Sunday as 1; others stay.
pub(super) fn iso_to_java(day: i64) -> i64 {
    match day {
        7 => 1,
        1..=6 => day + 1,
        other => other,
    }
}

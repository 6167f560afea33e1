//! Dates in Connect's ISO forms, as `java.text.SimpleDateFormat` (lenient, UTC) reads and writes them.

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// The first day of the Gregorian calendar, 1582-10-15, in days since 1970; before it Java's calendar is the Julian one.
const CUTOVER: i64 = -141_427;
/// Days from 0000-03-01 (Julian) to 1970-01-01.
const JULIAN_EPOCH: i64 = 719_470;

/// Appends `HH:mm:ss.SSS'Z'` for what is before 1970-01-02, `yyyy-MM-dd` for a whole day, else both with a `T` between.
pub(crate) fn print_iso(ms: i64, out: &mut Vec<u8>) {
    let (days, rest) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    if ms >= DAY {
        let (year, month, day) = civil(days);
        out.extend_from_slice(format!("{year:04}-{month:02}-{day:02}").as_bytes());
        if rest == 0 {
            return;
        }
        out.push(b'T');
    }
    let (seconds, ms) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    out.extend_from_slice(format!("{hour:02}:{minute:02}:{second:02}.{ms:03}Z").as_bytes());
}

/// Appends `java.util.Date.toString()` in UTC: `Thu Jan 01 00:00:00 UTC 1970`. Before the year 1 it is the year of the era.
pub(crate) fn print_date(ms: i64, out: &mut Vec<u8>) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, seconds) = (ms.div_euclid(DAY), ms.rem_euclid(DAY) / 1000);
    let (year, month, day) = civil(days);
    let year = if year > 0 { year } else { 1 - year };
    let (weekday, month) = (DAYS[days.rem_euclid(7) as usize], MONTHS[(month - 1) as usize % 12]);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}");
    out.extend_from_slice(text.as_bytes());
}

/// Reads a text that begins as the pattern says: runs of a letter of `yMdHmsS` are numbers of any length, everything else
/// stands for itself. Fields may go beyond their range. Milliseconds since 1970; `None` if it does not fit.
pub(crate) fn parse_iso(text: &str, pattern: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let mut fields = [(b'y', 1970_i64), (b'M', 1), (b'd', 1), (b'H', 0), (b'm', 0), (b's', 0), (b'S', 0)];
    let mut last = 0;
    for byte in pattern.bytes() {
        let Some((_, value)) = fields.iter_mut().find(|(letter, _)| *letter == byte) else {
            rest = rest.strip_prefix(&[byte])?;
            continue;
        };
        if byte != last {
            *value = field(&mut rest)?;
        }
        last = byte;
    }
    let [year, month, day, hour, minute, second, ms] = fields.map(|(_, value)| value);
    let months = year * 12 + month - 1;
    let days = days_from_civil(months.div_euclid(12), months.rem_euclid(12) + 1, day);
    // so does Java
    Some(days.wrapping_mul(DAY).wrapping_add(((hour * 60 + minute) * 60 + second) * 1000 + ms))
}

/// A number after blanks, as `java.text.DecimalFormat` reads it: a minus sign and an exponent may be there. `intValue()` of
/// it: the low bits of a whole number, the nearest of one that fits no 64 bits.
fn field(text: &mut &[u8]) -> Option<i64> {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let start = &text[blanks..];
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(start.first() == Some(&b'-'));
    let mut end = sign + digits(&start[sign..]);
    if end == sign {
        return None;
    }
    if start.get(end) == Some(&b'E') {
        let from = end + 1 + usize::from(start.get(end + 1) == Some(&b'-'));
        let exponent = start.get(from..).map_or(0, digits);
        end = if exponent > 0 { from + exponent } else { end };
    }
    *text = &start[end..];
    let number = std::str::from_utf8(&start[..end]).ok()?;
    let int = match number.parse::<i64>() {
        Ok(whole) => whole as i32,
        Err(_) => {
            let number: f64 = number.parse().ok()?;
            let whole = number as i64;
            if whole as f64 == number && whole != i64::MAX { whole as i32 } else { number as i32 }
        }
    };
    Some(int.into())
}

/// Days since 1970 of a date of Java's calendar; the day may be out of its month.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // years begin in March, so that the leap day is the last
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leaps = year.div_euclid(4);
    let gregorian = year * 365 + leaps - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
    if gregorian >= CUTOVER { gregorian } else { year * 365 + leaps + day_of_year - JULIAN_EPOCH }
}

/// Year, month and day of a day since 1970 of Java's calendar.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let (year, day_of_year) = if days >= CUTOVER {
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        (year + era * 400, day - (365 * year + year / 4 - year / 100))
    } else {
        let days = days + JULIAN_EPOCH;
        let (era, day) = (days.div_euclid(1461), days.rem_euclid(1461));
        let year = (day - day / 1460) / 365;
        (year + era * 4, day - 365 * year)
    };
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_both_calendars() {
        assert_eq!(parse_iso("1970-01-01", "yyyy-MM-dd"), Some(0));
        assert_eq!(parse_iso("2020-02-30", "yyyy-MM-dd"), parse_iso("2020-03-01", "yyyy-MM-dd"));
        assert_eq!(parse_iso("1582-10-15", "yyyy-MM-dd"), Some(CUTOVER * DAY));
        assert_eq!(parse_iso("1582-10-04", "yyyy-MM-dd"), Some((CUTOVER - 1) * DAY));
        assert_eq!(parse_iso("2020-01-0x", "yyyy-MM-dd"), parse_iso("2019-12-31", "yyyy-MM-dd"));
        assert_eq!(parse_iso("x", "yyyy-MM-dd"), None);
        assert_eq!(parse_iso("2E3-1-1", "yyyy-MM-dd"), parse_iso("2000-01-01", "yyyy-MM-dd"));
        assert!(parse_iso("99999999999999999999-1-1", "yyyy-MM-dd").is_some());
        let mut out = Vec::new();
        print_iso(1_577_934_245_678, &mut out);
        assert_eq!(out, b"2020-01-02T03:04:05.678Z");
        out.clear();
        print_date(-1, &mut out);
        assert_eq!(out, b"Wed Dec 31 23:59:59 UTC 1969");
    }
}

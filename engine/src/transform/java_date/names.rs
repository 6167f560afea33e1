//! Names of months, days and eras in English.

/// Months, in full; the first three letters are their short form.
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Days from Sunday, in full; the first three letters are their short form.
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Eras, short and in full.
pub(super) const ERAS: [(&str, i64); 4] = [("BC", 0), ("AD", 1), ("Before Christ", 0), ("Anno Domini", 1)];
/// Halves of a day.
pub(super) const HALVES: [(&str, i64); 2] = [("AM", 0), ("PM", 1)];

/// Whether `text` begins with `name`, whatever the case.
pub(super) fn begins_with(text: &str, name: &str) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// The value of the longest name that `text` begins with, and the name's length.
pub(super) fn longest<'a>(text: &str, names: impl Iterator<Item = (&'a str, i64)>) -> Option<(i64, usize)> {
    let mut best: Option<(i64, usize)> = None;
    for (name, value) in names {
        if best.is_none_or(|(_, length)| name.len() > length) && begins_with(text, name) {
            best = Some((value, name.len()));
        }
    }
    best
}

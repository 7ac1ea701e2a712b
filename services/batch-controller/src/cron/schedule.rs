//! PURE: when a schedule is due.

use chrono::{DateTime, Datelike, Timelike, Utc};
use croner::Cron;
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

/// A cron schedule in a time zone.
#[derive(Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// Missed times beyond which nobody wants to know their number.
const MISSED_MAX: usize = 100;

// === impl Schedule ===

impl Schedule {
    /// Reads five fields, or a name as `@hourly`. Without a zone the schedule is in UTC.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, Unreadable> {
        let cron = text.parse::<Cron>().map_err(|error| Unreadable(format!("{text:?}: {error}")))?;
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|error| Unreadable(format!("{name:?}: {error}")))?,
        };
        Ok(Schedule { cron, zone })
    }

    /// The first time after `time`.
    pub fn next(&self, time: Timestamp) -> Option<Timestamp> {
        // The schedule is about clocks on the wall, so it is asked in wall time and the answer put back into the zone.
        let wall = time.to_zoned(self.zone.clone()).datetime();
        let found = self.cron.find_next_occurrence(&as_chrono(wall)?, false).ok()?;
        self.zone.to_zoned(as_civil(found)?).ok().map(|zoned| zoned.timestamp()).filter(|found| *found > time)
    }

    /// The last time in `(after, until]`, and how many there were, up to a hundred.
    pub fn last_between(&self, after: Timestamp, until: Timestamp) -> Option<(Timestamp, usize)> {
        let mut times = std::iter::successors(self.next(after), |time| self.next(*time));
        let mut last = None;
        for count in 1..=MISSED_MAX {
            match times.next().filter(|time| *time <= until) {
                Some(time) => last = Some((time, count)),
                None => return last,
            }
        }
        // So many were missed that they are not worth walking through: begin near the end.
        let recent = until.checked_sub(jiff::SignedDuration::from_hours(24 * 366)).ok()?.max(last?.0);
        let later = std::iter::successors(self.next(recent), |time| self.next(*time));
        let found = later.take_while(|time| *time <= until).last();
        found.map(|time| (time, MISSED_MAX)).or(last)
    }
}

fn as_chrono(wall: civil::DateTime) -> Option<DateTime<Utc>> {
    let date = chrono::NaiveDate::from_ymd_opt(
        i32::from(wall.year()),
        u32::try_from(wall.month()).ok()?,
        u32::try_from(wall.day()).ok()?,
    )?;
    let part = |number: i8| u32::try_from(number).ok();
    Some(date.and_hms_opt(part(wall.hour())?, part(wall.minute())?, part(wall.second())?)?.and_utc())
}

fn as_civil(time: DateTime<Utc>) -> Option<civil::DateTime> {
    let part = |number: u32| i8::try_from(number).ok();
    civil::DateTime::new(
        i16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn the_next_time_is_after_the_given_one() {
        let schedule = Schedule::parse("*/15 * * * *", None).expect("a schedule");
        assert_eq!(schedule.next(at("2026-01-01T00:15:00Z")), Some(at("2026-01-01T00:30:00Z")));
        assert_eq!(schedule.next(at("2026-01-01T00:15:01Z")), Some(at("2026-01-01T00:30:00Z")));
    }

    #[test]
    fn names_and_time_zones_are_understood_and_nonsense_is_refused() {
        let schedule = Schedule::parse("@daily", Some("Europe/Berlin")).expect("a schedule");
        assert_eq!(schedule.next(at("2026-07-01T10:00:00Z")), Some(at("2026-07-01T22:00:00Z")));
        assert!(Schedule::parse("every day", None).is_err());
        assert!(Schedule::parse("@daily", Some("Nowhere/Else")).is_err());
    }

    #[test]
    fn missed_times_are_counted_and_the_last_one_found() {
        let schedule = Schedule::parse("0 * * * *", None).expect("a schedule");
        let (from, until) = (at("2026-01-01T00:30:00Z"), at("2026-01-01T03:10:00Z"));
        assert_eq!(schedule.last_between(from, until), Some((at("2026-01-01T03:00:00Z"), 3)));
        assert_eq!(schedule.last_between(until, at("2026-01-01T03:59:00Z")), None);
        let long = at("2026-02-01T00:00:30Z");
        assert_eq!(schedule.last_between(from, long), Some((at("2026-02-01T00:00:00Z"), 100)));
    }
}

//! When a source is due.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};

/// How late a run may start before it counts as missed.
const PUNCTUAL: SignedDuration = SignedDuration::from_mins(2);
/// The maximum time between two runs.
const MAX_INTERVAL: SignedDuration = SignedDuration::from_hours(24 * 366);

/// When a source is due. The resolution is one minute.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At the multiples of this time since 1970, so that restarts shift nothing.
    Every(SignedDuration),
    /// At the times of a cron expression in a time zone.
    Cron(Box<Cron>, TimeZone),
}

/// What happens to runs that could not start in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One run stands for all of them.
    #[default]
    Last,
    /// Each of them runs, one after the other.
    All,
    /// They are left out.
    None,
}

/// What to do about a source that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whether it runs now.
    pub runs: bool,
    /// When it is due next.
    pub next: Timestamp,
}

/// Writes `every 10 minutes`, or a cron expression with its time zone.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => {
                let printer = SpanPrinter::new()
                    .designator(Designator::Verbose)
                    .spacing(Spacing::BetweenUnitsAndDesignators);
                write!(f, "every {}", printer.duration_to_string(interval))
            }
            Self::Cron(cron, zone) => {
                let zone = zone.iana_name().unwrap_or("UTC");
                write!(f, "{} in {zone}", cron.as_str())
            }
        }
    }
}

/// Parses a time such as `10 minutes` or `1 day`. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    let span: Result<Span, _> = text.parse();
    let length = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let length = length
        .map_err(|_| "is not a time such as \"10 minutes\", \"2 hours\" or \"1 day\"".to_owned())?;
    if length <= SignedDuration::ZERO || length > MAX_INTERVAL {
        return Err("must be more than nothing and at most 366 days".to_owned());
    }
    Ok(length)
}

impl Schedule {
    /// Parses the time between two runs.
    pub(crate) fn every(text: &str) -> Result<Self, String> {
        let interval = duration(text)?;
        if interval.as_nanos() % 60_000_000_000 != 0 {
            return Err(
                "must be whole minutes, because sources are started once a minute".to_owned(),
            );
        }
        Ok(Self::Every(interval))
    }

    /// Parses a cron expression of five fields.
    pub(crate) fn cron(text: &str, zone: TimeZone) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| {
            format!("{error}; write minute, hour, day, month and weekday, like \"*/10 8-18 * * MON-FRI\"")
        })?;
        let schedule = Self::Cron(Box::new(cron), zone);
        if schedule.after(Timestamp::UNIX_EPOCH).is_none() {
            return Err("never happens".to_owned());
        }
        Ok(schedule)
    }

    /// Returns the schedule with another length of a minute in its interval, so that tests need not wait for minutes.
    #[must_use]
    pub fn with_minute(self, minute: SignedDuration) -> Self {
        match self {
            Self::Every(interval) => {
                let minutes = i32::try_from(interval.as_mins()).unwrap_or(i32::MAX);
                Self::Every(minute.saturating_mul(minutes))
            }
            cron @ Self::Cron(..) => cron,
        }
    }

    /// Returns the first time after `time` at which the source is due, or `None` if there is none.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => {
                let interval = interval.as_nanos();
                let intervals = time.as_nanosecond().div_euclid(interval) + 1;
                Timestamp::from_nanosecond(intervals.checked_mul(interval)?).ok()
            }
            Self::Cron(cron, zone) => {
                let after = time.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&after, false).ok()?.timestamp();
                // The hour that is repeated when clocks go back must not lead backwards.
                (next > time).then_some(next)
            }
        }
    }

    /// Returns the time between the two runs that follow `time`.
    pub fn interval(&self, time: Timestamp) -> SignedDuration {
        match self {
            Self::Every(interval) => *interval,
            Self::Cron(..) => {
                let next = self.after(time);
                let following = next.and_then(|next| Some((next, self.after(next)?)));
                following.map_or(MAX_INTERVAL, |(next, following)| {
                    following.duration_since(next)
                })
            }
        }
    }

    /// Decides about a source that was due at `due`, which is not after `now`.
    pub fn decide(&self, due: Timestamp, now: Timestamp, missed: Missed) -> Due {
        let is_late = now.duration_since(due) >= PUNCTUAL;
        let next_after = |time| self.after(time).unwrap_or(Timestamp::MAX);
        match missed {
            Missed::Last => Due {
                runs: true,
                next: next_after(now),
            },
            Missed::All => Due {
                runs: true,
                next: next_after(due),
            },
            Missed::None => Due {
                runs: !is_late,
                next: next_after(now),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(text: &str, zone: &str) -> Schedule {
        Schedule::cron(text, landfall_domain::zone(zone).unwrap()).unwrap()
    }

    #[test]
    fn intervals_are_multiples_since_1970() {
        let schedule = Schedule::every("10 minutes").unwrap();
        let next = schedule.after(at("2026-11-20T08:35:00Z")).unwrap();
        assert_eq!(next, at("2026-11-20T08:40:00Z"));
        assert_eq!(schedule.after(next), Some(at("2026-11-20T08:50:00Z")));
        let day = Schedule::every("1 day").unwrap();
        assert_eq!(day.after(next), Some(at("2026-11-21T00:00:00Z")));
    }

    #[test]
    fn schedules_are_written_as_people_read_them() {
        let written = |text| Schedule::every(text).unwrap().to_string();
        assert_eq!(written("1 minute"), "every 1 minute");
        assert_eq!(written("90 minutes"), "every 1 hour 30 minutes");
        assert_eq!(written("1 day"), "every 24 hours");
        let schedule = cron("30 8 * * MON-FRI", "Europe/Berlin");
        assert_eq!(schedule.to_string(), "30 8 * * 1-5 in Europe/Berlin");
    }

    #[test]
    fn bad_intervals_are_refused() {
        for text in [
            "",
            "10",
            "30 seconds",
            "90 s",
            "-1 minute",
            "0 minutes",
            "400 days",
            "1 month",
        ] {
            assert!(Schedule::every(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cron_expressions_follow_the_clock_of_their_zone() {
        let schedule = cron("30 8 * * MON-FRI", "Europe/Berlin");
        // Friday in summer time, then Monday in winter time.
        let friday = schedule.after(at("2026-10-23T00:00:00Z")).unwrap();
        assert_eq!(friday, at("2026-10-23T06:30:00Z"));
        assert_eq!(schedule.after(friday), Some(at("2026-10-26T07:30:00Z")));
    }

    #[test]
    fn no_run_is_lost_or_doubled_when_clocks_change() {
        // 02:30 does not exist on that day; it runs once all the same.
        let schedule = cron("30 2 * * *", "Europe/Berlin");
        let runs = |from: &str, to: &str| {
            let mut time = at(from);
            let mut runs = Vec::new();
            while let Some(next) = schedule.after(time).filter(|next| *next < at(to)) {
                runs.push(next);
                time = next;
            }
            runs
        };
        assert_eq!(
            runs("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z").len(),
            1
        );
        assert_eq!(
            runs("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z").len(),
            1
        );
    }

    #[test]
    fn bad_cron_expressions_are_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "0 0 31 2 *",
            "@never",
        ] {
            assert!(Schedule::cron(text, TimeZone::UTC).is_err(), "{text}");
        }
    }

    #[test]
    fn missed_runs_are_joined_repeated_or_left_out() {
        let schedule = Schedule::every("10 minutes").unwrap();
        let (due, now) = (at("2026-11-20T08:00:00Z"), at("2026-11-20T08:35:00Z"));
        let decide = |missed| {
            let due = schedule.decide(due, now, missed);
            (due.runs, due.next.to_string())
        };
        assert_eq!(decide(Missed::Last), (true, "2026-11-20T08:40:00Z".into()));
        assert_eq!(decide(Missed::All), (true, "2026-11-20T08:10:00Z".into()));
        assert_eq!(decide(Missed::None), (false, "2026-11-20T08:40:00Z".into()));
        let punctual = schedule.decide(due, due + SignedDuration::from_secs(70), Missed::None);
        assert!(punctual.runs);
    }

    proptest! {
        #[test]
        fn every_schedule_leads_forward(
            seconds in 0_i64..4_000_000_000,
            minutes in 1_i64..10_000,
            expression in prop::sample::select(vec![
                "* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "0 2 * * SUN", "59 23 31 12 *",
            ]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        ) {
            let time = Timestamp::from_second(seconds).unwrap();
            let every = Schedule::Every(SignedDuration::from_mins(minutes));
            for schedule in [every, cron(expression, zone)] {
                let next = schedule.after(time).unwrap();
                prop_assert!(next > time);
                prop_assert_eq!(next.as_second() % 60, 0);
                prop_assert!(schedule.interval(time) > SignedDuration::ZERO);
            }
        }
    }
}

//! Which files have to go. Pure.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::RecordError;
use crate::config::model::Record;

const GB: f64 = 1e9;
const DAY: f64 = 86_400.0;

/// What is deleted: the oldest first, never what is being written or kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    pub enabled: bool,
    /// Files older than this; `null`: however old.
    pub max_age_days: Option<f64>,
    /// The oldest while all together are larger than this; `null`: however large.
    pub max_size_gb: Option<f64>,
    /// The oldest while less than this is free; `null`: however full.
    pub min_free_gb: Option<f64>,
}

impl From<&Record> for Retention {
    fn from(record: &Record) -> Self {
        let limit = |value: f64| (value > 0.0).then_some(value);
        Self {
            enabled: record.retention,
            max_age_days: limit(record.max_age_days),
            max_size_gb: limit(record.max_size_gb),
            min_free_gb: limit(record.min_free_gb),
        }
    }
}

impl Retention {
    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    /// With the key.
    pub fn check(&self) -> Result<(), RecordError> {
        let limits = [
            ("max_age_days", self.max_age_days, 36_500.0),
            ("max_size_gb", self.max_size_gb, 1e6),
            ("min_free_gb", self.min_free_gb, 1e6),
        ];
        for (key, limit, most) in limits {
            if limit.is_some_and(|limit| !(limit > 0.0 && limit <= most)) {
                let words = format!("{key} is a number above 0, at most {most}; null is no limit");
                return Err(RecordError::Invalid(words));
            }
        }
        Ok(())
    }
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Goes,
    Stays,
    /// It stays, and so do all that began later.
    Enough,
}

/// Which files have to go: asked about one after the other, those that began first before the others, without
/// those that are kept or being written.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What ended before this goes.
    oldest: Option<SystemTime>,
    most: Option<u64>,
    least: Option<u64>,
    total: u64,
    free: u64,
}

impl Sweep {
    /// `total`: the bytes of all files, kept ones too; `free`: what is free on the disk.
    pub fn new(retention: &Retention, now: SystemTime, total: u64, free: u64) -> Self {
        let age = retention.max_age_days.and_then(|days| Duration::try_from_secs_f64(days * DAY).ok());
        let bytes = |gb: f64| (gb * GB) as u64;
        Self {
            oldest: age.and_then(|age| now.checked_sub(age)),
            most: retention.max_size_gb.map(bytes),
            least: retention.min_free_gb.map(bytes),
            total,
            free,
        }
    }

    pub fn verdict(&self, began: SystemTime, ended: SystemTime) -> Verdict {
        let large = self.most.is_some_and(|most| self.total > most);
        let full = self.least.is_some_and(|least| self.free < least);
        let before = |time: SystemTime| self.oldest.is_some_and(|oldest| time < oldest);
        if large || full || before(ended) {
            Verdict::Goes
        } else if before(began) {
            Verdict::Stays
        } else {
            Verdict::Enough
        }
    }

    /// One that had to go is gone.
    pub fn gone(&mut self, bytes: u64) {
        self.total = self.total.saturating_sub(bytes);
        self.free = self.free.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct File {
        ended: SystemTime,
        bytes: u64,
        untouchable: bool,
    }

    /// The positions of those that have to go.
    fn choose(files: &[File], retention: &Retention, now: SystemTime, free: u64) -> Vec<usize> {
        let mut sweep = Sweep::new(retention, now, files.iter().map(|file| file.bytes).sum(), free);
        let mut gone = Vec::new();
        for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.untouchable) {
            let began = file.ended - Duration::from_secs(3600);
            match sweep.verdict(began, file.ended) {
                Verdict::Goes => {
                    sweep.gone(file.bytes);
                    gone.push(index);
                }
                Verdict::Stays => {}
                Verdict::Enough => break,
            }
        }
        gone
    }

    fn days(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs((days + 1) * 86_400)
    }

    /// One a day from day 0 on, 1 GB each.
    fn files(untouchable: &[usize]) -> Vec<File> {
        let file = |day| File {
            ended: days(day),
            bytes: 1_000_000_000,
            untouchable: untouchable.contains(&(day as usize)),
        };
        (0..5).map(file).collect()
    }

    #[test]
    fn the_oldest_go_by_age_size_and_free_space_and_what_is_kept_stays() {
        let limit = |age, size, free| Retention {
            enabled: true,
            max_age_days: age,
            max_size_gb: size,
            min_free_gb: free,
        };
        // limits, untouchable, free GB, gone; now is day 6
        type Row<'a> = (Retention, &'a [usize], u64, &'a [usize]);
        let table: &[Row<'_>] = &[
            (limit(None, None, None), &[], 0, &[]),
            (limit(Some(3.5), None, None), &[], 9, &[0, 1, 2]),
            (limit(Some(3.5), None, None), &[1], 9, &[0, 2]),
            (limit(None, Some(3.0), None), &[], 9, &[0, 1]),
            (limit(None, Some(3.0), None), &[0, 1], 9, &[2, 3]),
            (limit(None, None, Some(3.0)), &[], 1, &[0, 1]),
            (limit(None, None, Some(3.0)), &[0, 1, 2, 3, 4], 1, &[]),
            (limit(Some(5.5), Some(3.0), Some(2.0)), &[], 1, &[0, 1]),
        ];
        for (retention, untouchable, free, gone) in table {
            let chosen = choose(&files(untouchable), retention, days(6), free * 1_000_000_000);
            assert_eq!(chosen, *gone, "{retention:?} {untouchable:?}");
        }
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let retention = Retention { max_size_gb: Some(bad), ..Retention::default() };
            assert!(matches!(retention.check(), Err(RecordError::Invalid(_))), "{bad}");
        }
        assert_eq!(Retention::from(&Record::default()).check(), Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_untouchable_goes_and_nothing_younger_before_something_older(
            list in proptest::collection::vec((0u64..3_000_000_000, any::<bool>()), 0..40),
            size in proptest::option::of(0.1f64..20.0),
            least in proptest::option::of(0.1f64..20.0),
            free in 0u64..20_000_000_000,
        ) {
            let files: Vec<File> = list.iter().enumerate().map(|(day, (bytes, untouchable))| {
                File { ended: days(day as u64), bytes: *bytes, untouchable: *untouchable }
            }).collect();
            let retention =
                Retention { enabled: true, max_age_days: None, max_size_gb: size, min_free_gb: least };
            let gone = choose(&files, &retention, days(100), free);
            prop_assert!(gone.iter().all(|index| !files[*index].untouchable));
            let touchable: Vec<usize> = (0..files.len()).filter(|index| !files[*index].untouchable).collect();
            prop_assert!(touchable.starts_with(&gone), "the oldest first, without a gap");
        }
    }
}

//! Times of the week, as people write them: `mon-fri 08:00-18:00`. Pure; used by `record`.

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: u16 = 24 * 60;

/// A time on some days of the week. One that ends before it begins goes on to the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Monday is the lowest bit.
    days: u8,
    /// Minutes of the day.
    from: u16,
    to: u16,
}

impl Span {
    pub const ALLOWED: &'static str =
        "times such as \"08:00-18:00\", \"mon-fri 08:00-18:00\" or \"sat,sun 22:00-06:00\"";

    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (days, times) = match text.rsplit_once(' ') {
            Some((days, times)) => (weekdays(days.trim())?, times),
            None => (0x7f, &*text),
        };
        let (from, to) = times.split_once('-')?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        (from < DAY && from != to).then_some(Self { days, from, to })
    }

    /// Whether it holds at this time; Monday is day 0.
    pub fn holds(&self, day: usize, minute: u16) -> bool {
        let on = |day: usize| self.days >> (day % 7) & 1 == 1;
        if self.from < self.to {
            return on(day) && (self.from..self.to).contains(&minute);
        }
        (on(day) && minute >= self.from) || (on(day + 6) && minute < self.to)
    }
}

fn weekdays(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|day| *day == name.trim());
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `sat-mon` goes over the end of the week.
        let count = (last + 7 - first) % 7;
        (first..=first + count).for_each(|day| days |= 1 << (day % 7));
    }
    Some(days)
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok());
    let (hours, minutes): (u16, u16) = (number(hours)??, number(minutes)??);
    let at = hours * 60 + minutes;
    (minutes < 60 && at <= DAY).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_holds_on_its_days_from_its_first_minute_to_before_its_last() {
        // text, then day, hour, minute and whether it holds
        type Row = (&'static str, &'static [(usize, u16, u16, bool)]);
        let table: &[Row] = &[
            ("08:00-18:00", &[(0, 8, 0, true), (6, 17, 59, true), (3, 18, 0, false), (3, 7, 59, false)]),
            ("mon-fri 08:00-18:00", &[(0, 9, 0, true), (4, 9, 0, true), (5, 9, 0, false)]),
            ("sat,sun 00:00-24:00", &[(5, 0, 0, true), (6, 23, 59, true), (0, 0, 0, false)]),
            ("Sun 22:00-06:00", &[(6, 22, 0, true), (0, 5, 59, true), (0, 6, 0, false), (6, 5, 0, false)]),
            (
                "sat-mon 10:00-11:00",
                &[(5, 10, 0, true), (6, 10, 0, true), (0, 10, 0, true), (1, 10, 0, false)],
            ),
        ];
        for (text, moments) in table {
            let span = Span::parse(text).unwrap();
            for (day, hour, minute, holds) in *moments {
                assert_eq!(
                    span.holds(*day, hour * 60 + minute),
                    *holds,
                    "{text} on {day} at {hour}:{minute}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_time_of_the_week_is_refused() {
        for text in [
            "",
            "08:00",
            "8:00-9:00",
            "08:00-08:00",
            "24:00-08:00",
            "08:60-09:00",
            "25:00-26:00",
            "foo 08:00-09:00",
            "mon-xyz 08:00-09:00",
            "08:00-09:00 mon",
        ] {
            assert_eq!(Span::parse(text), None, "{text:?}");
        }
    }
}

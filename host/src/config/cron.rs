//! Cron expressions, time zones and dates of schedules.
//!
//! The crate `croner` evaluates the expressions. Its errors name no position, so [`check`] looks
//! for the field and the item that it rejects.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The longest expression.
const MOST_CHARACTERS: usize = 256;

/// The expressions that have a name.
const NAMED: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields of an expression, with the values that they accept. An expression with five fields
/// has no seconds.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L, or a day with W"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT, with L or #1 to #5"),
];

fn parser() -> CronParser {
    // `0/5` is not standard, but the cron expressions of egg accept it.
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).sloppy_ranges(true).build()
}

/// Parses a valid expression. `None` for one that [`check`] rejects.
pub fn parse(text: &str) -> Option<Cron> {
    check(text).ok()?;
    parser().parse(expanded(text)?).ok()
}

/// Whether a valid expression names its hours and minutes: no item of either is `*` or `*/n`. The
/// second, which not every expression has, does not matter.
pub fn names_times(text: &str) -> bool {
    let fields = fields(expanded(text).unwrap_or_default());
    // The minute and the hour, whether or not the second comes first.
    let mut minute_and_hour = fields.iter().rev().skip(3).take(2);
    minute_and_hour.all(|(_, field)| field.split(',').all(|item| !item.starts_with('*')))
}

/// Replaces the name of an expression. `None` if there is no expression of this name.
fn expanded(text: &str) -> Option<&str> {
    let text = text.trim();
    match text.starts_with('@') {
        true => NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, expression)| *expression),
        false => Some(text),
    }
}

/// Checks an expression. The error is worded to follow "must be", and names the position of the
/// first item that is wrong.
pub fn check(text: &str) -> Result<(), String> {
    if text.chars().take(MOST_CHARACTERS + 1).count() > MOST_CHARACTERS {
        return Err(format!("a cron expression of at most {MOST_CHARACTERS} characters"));
    }
    let Some(expression) = expanded(text) else {
        let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
        return Err(format!("a cron expression: at character 1 is no known name (there are {})", names.join(", ")));
    };
    let fields = fields(expression);
    if !(5..=6).contains(&fields.len()) {
        let rule = "a cron expression with 5 fields (minute, hour, day, month, weekday), or 6 with the second first";
        return Err(rule.to_owned());
    }
    let names = FIELDS.iter().skip(FIELDS.len() - fields.len());
    for (index, ((at, field), (name, values))) in fields.iter().zip(names).enumerate() {
        let accepts = |item: &str| {
            let others = |other| if other == index { item } else { "*" };
            let whole: Vec<&str> = (0..fields.len()).map(others).collect();
            !item.is_empty() && parser().parse(&whole.join(" ")).is_ok()
        };
        let mut start = *at;
        for item in field.split(',') {
            if !accepts(item) {
                let item = if item.is_empty() { "an empty item".to_owned() } else { format!("`{item}`") };
                return Err(format!(
                    "a cron expression: {item} at character {} is no valid {name} ({values})",
                    // The expression may begin with spaces, which `fields` does not count.
                    start + 1 + leading(text)
                ));
            }
            start += item.chars().count() + 1;
        }
    }
    match parser().parse(expression) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("a cron expression: {error}")),
    }
}

/// The number of spaces at the beginning.
fn leading(text: &str) -> usize {
    text.chars().take_while(|c| c.is_whitespace()).count()
}

/// The fields of an expression, each with its first character's index.
fn fields(expression: &str) -> Vec<(usize, &str)> {
    let mut fields = Vec::new();
    let mut rest = expression;
    let mut at = 0;
    while !rest.is_empty() {
        let spaces = leading(rest);
        rest = rest.trim_start();
        at += spaces;
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let Some((field, after)) = rest.split_at_checked(end) else { break };
        if !field.is_empty() {
            fields.push((at, field));
        }
        at += field.chars().count();
        rest = after;
    }
    fields
}

/// A time zone of the database that is built into the host, by its IANA name.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// A time: with an offset or `Z`, or without one, as a clock in the zone shows it. A date alone is
/// invalid, because it could mean its begin or its end. If the zone skips or repeats the time, the
/// result is what RFC 5545 says.
pub fn time_in(text: &str, zone: &TimeZone) -> Option<u64> {
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) if !text.contains(':') => return None,
        Err(_) => zone.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
    };
    u64::try_from(timestamp.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_and_six_fields_and_names_are_valid() {
        for text in [
            "* * * * *",
            "*/5 * * * * *",
            "0 3 * * MON-FRI",
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 * * 5#3",
            "0/5 * * * *",
            "  0   3 * * *  ",
            "1,2,30-40/2 * * jan,DEC *",
            "@hourly",
            "@Daily",
            "0 0 ? * 1",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
            assert!(parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_fault_names_its_position() {
        for (text, expected) in [
            ("0 25 * * *", "`25` at character 3 is no valid hour (0 to 23)"),
            ("0 0 25 * * *", "`25` at character 5 is no valid hour (0 to 23)"),
            ("*/5,70 * * * *", "`70` at character 5 is no valid minute"),
            ("  61 * * * *", "`61` at character 3 is no valid minute"),
            ("0  0  0 * *", "`0` at character 7 is no valid day of the month"),
            ("0 0 * FOO *", "`FOO` at character 7 is no valid month"),
            ("0 0 * * 8", "`8` at character 9 is no valid day of the week"),
            ("0 0 * * 1#6", "`1#6` at character 9"),
            ("5-1 * * * *", "`5-1` at character 1"),
            ("*/0 * * * *", "`*/0` at character 1"),
            ("1,,2 * * * *", "an empty item at character 3"),
            ("é * * * *", "`é` at character 1"),
            ("99999999999999999999 * * * *", "at character 1"),
            ("* * * *", "with 5 fields"),
            ("* * * * * * *", "or 6 with the second first"),
            ("", "with 5 fields"),
            ("@reboot", "at character 1 is no known name"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.starts_with("a cron expression") && error.contains(expected), "{text}: {error}");
            assert!(parse(text).is_none(), "{text}");
        }
        let long = |items| format!("{}1 * * * *", "1,".repeat(items));
        assert_eq!(check(&long(123)), Ok(()));
        assert!(check(&long(124)).unwrap_err().contains("at most 256 characters"));
    }

    #[test]
    fn an_expression_names_its_times_unless_the_minute_or_the_hour_is_a_wildcard() {
        for text in ["0 2 * * *", "0 2,14 * * *", "*/5 0-10/5 2 * * *", "0/20 3 * * *", "@daily", " 0 0 2-4 * * * "] {
            assert!(names_times(text), "{text}");
        }
        for text in
            ["* * * * *", "0 * * * *", "*/5 2 * * *", "0 7,*/2 * * *", "@hourly", "0 0 */2 * * *", "0 * 2 * * *"]
        {
            assert!(!names_times(text), "{text}");
        }
    }

    #[test]
    fn time_zones_are_built_in() {
        for name in ["Europe/Berlin", "UTC", "America/New_York", "asia/tokyo"] {
            assert!(time_zone(name).is_some(), "{name}");
        }
        for name in ["", "Mars/Olympus", "/etc/localtime", "../UTC"] {
            assert!(time_zone(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_date_needs_a_time() {
        let berlin = time_zone("Europe/Berlin").unwrap();
        let time = |text| time_in(text, &berlin);
        assert_eq!(time("1970-01-01T00:00:01Z"), Some(1_000));
        assert_eq!(time("1970-01-01T02:00:01+02:00"), Some(1_000));
        assert_eq!(time("1970-01-01T01:00:01"), Some(1_000), "Berlin is an hour ahead of UTC");
        for text in ["2026-12-31", "tomorrow", "", "1969-12-31T23:59:59Z", "99999-01-01T00:00:00Z"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}

//! Durations as Go writes them (`time.ParseDuration`): in the configuration, on the command line, in `?timeout=`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// What the schema says of a duration.
pub(super) const PATTERN: &str = r"^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";

/// A text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a number with a unit (ms, s, m, h), such as `10s` or `1m30s`")]
pub struct InvalidDuration;

/// Reads a duration that is not negative, exactly as Go does: `10s`, `1m30s`, `1.5h`, `500ms`, `0`.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(InvalidDuration);
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(InvalidDuration);
        }
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = nanos_of(unit).ok_or(InvalidDuration)?;
        let part = number(whole)?
            .checked_mul(unit)
            .and_then(|part| part.checked_add(part_of(fraction, unit)))
            .ok_or(InvalidDuration)?;
        nanos = nanos.checked_add(part).ok_or(InvalidDuration)?;
        rest = after;
    }
    // Go's durations end at 2^63 - 1 nanoseconds, about 292 years.
    match u64::try_from(nanos) {
        Ok(nanos) if i64::try_from(nanos).is_ok() => Ok(Duration::from_nanos(nanos)),
        _ => Err(InvalidDuration),
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn number(digits: &str) -> Result<u128, InvalidDuration> {
    match digits.trim_start_matches('0') {
        "" => Ok(0),
        digits if digits.len() > 19 => Err(InvalidDuration),
        digits => digits.parse().map_err(|_| InvalidDuration),
    }
}

/// The nanoseconds of `0.fraction` units; what is finer than a nanosecond is cut off.
fn part_of(fraction: &str, unit: u128) -> u128 {
    // The longest unit has 13 digits of nanoseconds: later digits cannot matter.
    let fraction = &fraction[..fraction.len().min(18)];
    let digits = u32::try_from(fraction.len()).unwrap_or(0);
    fraction.parse::<u128>().unwrap_or(0) * unit / 10_u128.pow(digits)
}

fn nanos_of(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).map_err(|error| de::Error::custom(format!("`{text}` is {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0_u64),
            ("+0", 0),
            ("0s", 0),
            ("10s", 10_000_000_000),
            ("+5s", 5_000_000_000),
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            ("1.s", 1_000_000_000),
            (".5s", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("2μs", 2_000),
            ("7ns", 7),
            ("0.9ns", 0),
            ("0000000000000000000000000001s", 1_000_000_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "+",
            "10",
            "s",
            ".s",
            ".",
            "-1s",
            "1 s",
            "1d",
            "1s ",
            "1.2.3s",
            "1S",
            "10s,",
            "٣s",
            "1é",
            "9223372036854775808ns",
            "99999999999999999999999h",
        ] {
            assert_eq!(parse_duration(text), Err(InvalidDuration), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[0-9.+µnmsh]{0,40}|.*") {
            let _ = parse_duration(&text);
        }
    }
}

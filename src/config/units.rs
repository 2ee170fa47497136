//! Durations and sizes as people write them: `1h30m`, `64KiB`. Knows no key and no limit of one.

use std::time::Duration;

/// Why a text is no duration or no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitError {
    NoNumber,
    NoUnit,
    UnknownUnit,
    UnitOrder,
    TooLarge,
}

impl UnitError {
    /// Continues a sentence that starts with the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoNumber => "does not start with a whole number",
            Self::NoUnit => "has no unit",
            Self::UnknownUnit => "has an unknown unit",
            Self::UnitOrder => "does not go from the largest unit to the smallest",
            Self::TooLarge => "is too large",
        }
    }
}

/// `250ms`, `5s`, `10m`, `1h30m`, `2d`: each unit at most once, the largest first.
pub(super) fn duration(text: &str) -> Result<Duration, UnitError> {
    let mut total: u64 = 0;
    let mut units_left = DURATION_UNITS.iter();
    let mut rest = text;
    loop {
        let (count, after) = number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let Some((_, millis)) = units_left.find(|(name, _)| *name == unit) else {
            return Err(unit_error(unit, &DURATION_UNITS));
        };
        let part = count.checked_mul(*millis).ok_or(UnitError::TooLarge)?;
        total = total.checked_add(part).ok_or(UnitError::TooLarge)?;
        if after.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        rest = after;
    }
}

/// `64KiB`, `2GiB`, `100kB`; a bare number counts bytes.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    let (count, unit) = number(text)?;
    if unit.is_empty() {
        return Ok(count);
    }
    let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit);
    };
    count.checked_mul(*bytes).ok_or(UnitError::TooLarge)
}

/// A duration of whole milliseconds in the largest unit that divides it.
pub(super) fn show_duration(duration: Duration) -> String {
    show(duration.as_millis(), &DURATION_UNITS)
}

/// A size in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes.into(), &SIZE_UNITS)
}

fn show(value: u128, units: &[(&str, u64)]) -> String {
    let divides = |factor: u64| value.is_multiple_of(factor.into());
    let largest = units.iter().copied().find(|(_, factor)| divides(*factor));
    let (unit, factor) = largest.unwrap_or(("", 1));
    format!("{}{unit}", value / u128::from(factor))
}

fn number(text: &str) -> Result<(u64, &str), UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(UnitError::NoNumber);
    }
    let count = digits.parse().map_err(|_| UnitError::TooLarge)?;
    Ok((count, rest))
}

fn unit_error(unit: &str, units: &[(&str, u64)]) -> UnitError {
    if unit.is_empty() {
        UnitError::NoUnit
    } else if units.iter().any(|(name, _)| *name == unit) {
        UnitError::UnitOrder
    } else {
        UnitError::UnknownUnit
    }
}

/// Largest first: `duration` walks it once, so that no unit follows a smaller one.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Larger powers first, and binary before decimal, for `show_size`.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;
pub(super) const GIB: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_their_parts() {
        let cases = [
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90m", 5_400_000),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        let cases = [
            ("", UnitError::NoNumber),
            ("s", UnitError::NoNumber),
            ("-5s", UnitError::NoNumber),
            (".5s", UnitError::NoNumber),
            ("5", UnitError::NoUnit),
            ("1h30", UnitError::NoUnit),
            ("5 s", UnitError::UnknownUnit),
            ("1.5s", UnitError::UnknownUnit),
            ("5S", UnitError::UnknownUnit),
            ("5sec", UnitError::UnknownUnit),
            ("30m1h", UnitError::UnitOrder),
            ("1s1s", UnitError::UnitOrder),
            ("99999999999999999999s", UnitError::TooLarge),
            ("18446744073709551615d", UnitError::TooLarge),
            ("18446744073709551s999ms", UnitError::TooLarge),
        ];
        for (text, error) in cases {
            assert_eq!(duration(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal() {
        let cases = [
            ("0", 0),
            ("4096", 4_096),
            ("17B", 17),
            ("64KiB", 65_536),
            ("1MiB", 1_048_576),
            ("2GiB", 2_147_483_648),
            ("64kB", 64_000),
            ("1MB", 1_000_000),
            ("3GB", 3_000_000_000),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_reason() {
        let cases = [
            ("", UnitError::NoNumber),
            ("KiB", UnitError::NoNumber),
            ("-1", UnitError::NoNumber),
            ("64 KiB", UnitError::UnknownUnit),
            ("64kb", UnitError::UnknownUnit),
            ("1.5GiB", UnitError::UnknownUnit),
            ("18446744073709551616", UnitError::TooLarge),
            ("18446744073709551615GiB", UnitError::TooLarge),
        ];
        for (text, error) in cases {
            assert_eq!(size(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn values_are_shown_in_the_largest_unit_that_divides_them() {
        let shown = [1, 1_500, 90_000, 3_600_000, 86_400_000]
            .map(|millis| show_duration(Duration::from_millis(millis)));
        assert_eq!(shown, ["1ms", "1500ms", "90s", "1h", "1d"]);
        assert_eq!([1, 4_096, 1 << 30, 64_000].map(show_size), ["1B", "4KiB", "1GiB", "64kB"]);
    }
}

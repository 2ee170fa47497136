//! A cursor over DER, bounds-checked: as much of it as a certificate's fixed fields take.

use rustls::pki_types::UnixTime;
use std::time::Duration;

/// One element: its tag, and what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(&'a [u8]);

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Der<'a> {
        Der(bytes)
    }

    /// The tag of the next element, if there is one.
    pub(super) fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element. `None` at the end, and for what is cut or longer than any file here.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                (length, rest)
            }
            _ => return None,
        };
        let (body, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Element { tag, body })
    }

    /// The next element's body, if its tag is `tag`.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let element = self.next()?;
        (element.tag == tag).then_some(element.body)
    }

    /// The next element as a reader of its own, if it is a SEQUENCE.
    pub(super) fn sequence(&mut self) -> Option<Der<'a>> {
        self.expect(SEQUENCE).map(Der)
    }

    /// The next element, if it is a time (RFC 5280, section 4.1.2.5: always to the second, in UTC).
    pub(super) fn time(&mut self) -> Option<UnixTime> {
        let element = self.next()?;
        let text = std::str::from_utf8(element.body).ok()?.strip_suffix('Z')?;
        let (year, rest) = match (element.tag, text.len()) {
            (UTC_TIME, 12) => {
                let year = digits(text.get(..2)?)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
            }
            (GENERALIZED_TIME, 14) => (digits(text.get(..4)?)?, text.get(4..)?),
            _ => return None,
        };
        let mut parts = [0; 5];
        for (index, part) in parts.iter_mut().enumerate() {
            *part = digits(rest.get(index * 2..index * 2 + 2)?)?;
        }
        let [month, day, hour, minute, second] = parts;
        let in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
        if !in_range || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        // Before 1970 nothing that is loaded here was valid: the beginning serves as well.
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, which repeats every 400 years of
/// 146,097 days. Years are counted from March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A moment as a date and a time of day, such as `2027-03-01 12:00:00 UTC`.
pub(super) fn date(time: UnixTime) -> String {
    let seconds = time.as_secs();
    let (shifted, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

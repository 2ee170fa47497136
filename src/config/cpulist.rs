//! Reads a CPU list such as `0-3,8`, the form of `/sys/devices/system/cpu/online`. Pins nothing.

use std::collections::BTreeSet;

/// Why a text is no CPU list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CpuListError {
    Number,
    TooHigh,
    Backwards,
    Twice,
}

impl CpuListError {
    /// Continues a sentence that starts with the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "is not made of numbers and ranges",
            Self::TooHigh => "names a CPU above 1023",
            Self::Backwards => "has a range that runs backwards",
            Self::Twice => "names a CPU twice",
        }
    }
}

/// The CPUs of the list, ascending and distinct, at least one.
pub(super) fn parse(text: &str) -> Result<Vec<usize>, CpuListError> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(CpuListError::Backwards);
        }
        for cpu in first..=last {
            if !cpus.insert(cpu) {
                return Err(CpuListError::Twice);
            }
        }
    }
    Ok(cpus.into_iter().collect())
}

fn number(text: &str) -> Result<usize, CpuListError> {
    // `parse` alone would take a leading plus sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuListError::Number);
    }
    match text.parse() {
        Ok(cpu) if cpu <= CPU_MAX => Ok(cpu),
        _ => Err(CpuListError::TooHigh),
    }
}

/// The highest CPU that fits the C library's `cpu_set_t`, with which a thread is pinned.
const CPU_MAX: usize = 1023;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_joined_in_order() {
        assert_eq!(parse("0"), Ok(vec![0]));
        assert_eq!(parse("8,0-3"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse("5-5,1023"), Ok(vec![5, 1023]));
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_reason() {
        for text in ["", "a", "1,", ",1", "1-", "-1", "1-2-3", "+1", " 1", "1;2", "0x1"] {
            assert_eq!(parse(text), Err(CpuListError::Number), "{text:?}");
        }
        for text in ["1024", "0-1024", "99999999999999999999999"] {
            assert_eq!(parse(text), Err(CpuListError::TooHigh), "{text:?}");
        }
        assert_eq!(parse("3-1"), Err(CpuListError::Backwards));
        assert_eq!(parse("0-3,2"), Err(CpuListError::Twice));
    }
}

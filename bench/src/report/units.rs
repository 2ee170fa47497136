//! Owns how figures are written for people: numbers with their units. It knows no metric.

/// Three digits and a prefix: "52.3 k", "1.00 M".
pub fn number(value: f64) -> String {
    // From where on each is used: ten thousand is where digits begin to be counted by the reader,
    // and what would be a thousand of one is one of the next.
    let prefixes = [(0.9995e9, 1e9, " G"), (0.9995e6, 1e6, " M"), (1e4, 1e3, " k")];
    match prefixes.iter().find(|(least, ..)| value.abs() >= *least) {
        Some((_, factor, name)) => format!("{}{name}", digits(value / factor)),
        None => digits(value),
    }
}

/// Of nanoseconds, in the unit that leaves one to three digits before the point.
pub fn time(nanoseconds: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "us")];
    match units.iter().find(|(factor, _)| nanoseconds.abs() >= *factor) {
        Some((factor, unit)) => format!("{} {unit}", digits(nanoseconds / factor)),
        None => format!("{nanoseconds:.0} ns"),
    }
}

pub fn bytes(value: f64) -> String {
    let units = [(1024.0_f64.powi(3), "GiB"), (1024.0_f64.powi(2), "MiB"), (1024.0, "KiB")];
    match units.iter().find(|(factor, _)| value.abs() >= *factor) {
        Some((factor, unit)) => format!("{} {unit}", digits(value / factor)),
        None => format!("{value:.0} B"),
    }
}

pub fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// Three that count, and all that are before the point.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        0.0 => 0,
        // Six places are enough for whatever is said here.
        size if size < 0.0995 => (2 - size.log10().floor() as i32).clamp(3, 6) as usize,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        assert_eq!(digits(0.0), "0");
        assert_eq!(digits(0.006), "0.00600");
        assert_eq!(digits(0.0994), "0.0994");
        assert_eq!(digits(0.0996), "0.10");
        assert_eq!(digits(9.994), "9.99");
        assert_eq!(digits(9.996), "10.0");
        assert_eq!(digits(1234.5), "1234");
        assert_eq!(number(9_999.0), "9999");
        assert_eq!(number(52_345.0), "52.3 k");
        assert_eq!(number(1_000_000.0), "1.00 M");
        assert_eq!(number(999_700.0), "1.00 M");
        assert_eq!(number(999_400.0), "999 k");
    }

    #[test]
    fn every_figure_has_its_unit() {
        assert_eq!(time(950.0), "950 ns");
        assert_eq!(time(5_000_000.0), "5.00 ms");
        assert_eq!(time(1.5e9), "1.50 s");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(percent(0.123), "12.3 %");
    }
}

//! Numbers as people read them: what the command line and the [report](crate::report) print.

/// A count with thousands separated: `312,218`. What is no number, such as a formula, stays as it is.
pub fn count(n: impl ToString) -> String {
    let digits = n.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |d| ("-", d));
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return format!("{sign}{digits}");
    }
    let mut out = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Whether this is a number that an exporter gave and no name, as in `onnx::MatMul_7`.
pub fn is_numbered(name: &str) -> bool {
    name.contains("::")
}

/// A count in three digits: `41.1 M`; below a thousand as it is.
pub fn short_count(n: u64) -> String {
    const NAMES: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if n < 1000 {
        return n.to_string();
    }
    let mut scaled = n as f64 / 1e3;
    let mut name = 0;
    // 999.5 would be written as 1000.
    while scaled >= 999.5 {
        scaled /= 1e3;
        name += 1;
    }
    format!("{} {}", significant(scaled, 3), NAMES[name])
}

/// A number of bytes: `1.60 MB`.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        n if n >= 1e6 => format!("{:.2} MB", n / 1e6),
        n if n >= 1e3 => format!("{:.1} kB", n / 1e3),
        n => format!("{n} B"),
    }
}

/// A number to so many significant digits, never fewer than those before the point: `0.0713`, `1.50`, `1234`; very
/// large and small ones as in `1.50e-7`.
pub fn significant(x: f64, digits: usize) -> String {
    if x == 0.0 || !x.is_finite() {
        return x.to_string();
    }
    let digits = digits.max(1);
    let scientific = format!("{:.*e}", digits - 1, x);
    // After rounding, so that 9.996 counts as 10.0.
    let exponent: i32 = scientific.rsplit_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    match exponent {
        -5..=14 => format!("{x:.*}", (digits as i32 - 1 - exponent).max(0) as usize),
        _ => scientific,
    }
}

/// How many decimals show a standard error to two digits, from 0 to 8; `None` where it is 0 or no number.
pub fn error_decimals(standard_error: f64) -> Option<usize> {
    (standard_error.is_finite() && standard_error > 0.0)
        .then(|| (1.0 - standard_error.log10().floor()).clamp(0.0, 8.0) as usize)
}

/// A time: `0.12 s`, `12.3 s`, `4 min 05 s`, `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    if !(0.0..1e15).contains(&seconds) {
        return format!("{seconds} s");
    }
    if seconds < 59.95 {
        return if seconds < 1.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") };
    }
    let whole = seconds.round() as u64;
    match whole {
        0..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        // To the minute, rounded as a whole so that no hour has 60 of them.
        _ => {
            let minutes = (seconds / 60.0).round() as u64;
            format!("{} h {:02} min", count(minutes / 60), minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators_and_formulas_stay() {
        assert_eq!(count(312_218), "312,218");
        assert_eq!(count(-1234), "-1,234");
        assert_eq!(count(12), "12");
        assert_eq!(count("64*batch"), "64*batch");
    }

    #[test]
    fn short_counts_have_three_digits() {
        let texts = [0, 999, 1000, 41_129_344, 999_499, 999_500, 4_089_184_256, u64::MAX].map(short_count);
        assert_eq!(texts, ["0", "999", "1.00 k", "41.1 M", "999 k", "1.00 M", "4.09 G", "18.4 E"]);
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!([12, 1600, 1_600_000, 2_500_000_000].map(bytes), ["12 B", "1.6 kB", "1.60 MB", "2.50 GB"]);
    }

    #[test]
    fn significant_digits_are_counted_after_rounding() {
        let texts = [0.0713, 1.5, 9.996, 1234.0, -0.25, 1.5e-7, 0.0].map(|x| significant(x, 3));
        assert_eq!(texts, ["0.0713", "1.50", "10.0", "1234", "-0.250", "1.50e-7", "0"]);
        assert_eq!(significant(f64::NAN, 3), "NaN");
    }

    #[test]
    fn standard_errors_get_two_digits() {
        assert_eq!([0.27, 0.0081, 12.0, 1.0].map(error_decimals), [Some(2), Some(4), Some(0), Some(1)]);
        assert_eq!([0.0, f64::NAN, -1.0, f64::INFINITY].map(error_decimals), [None; 4]);
    }

    #[test]
    fn durations_never_have_sixty_of_anything() {
        let times = [0.1234, 12.34, 59.96, 245.0, 3599.7, 3720.0, 7199.0];
        let texts =
            ["0.12 s", "12.3 s", "1 min 00 s", "4 min 05 s", "1 h 00 min", "1 h 02 min", "2 h 00 min"];
        assert_eq!(times.map(duration), texts);
        assert_eq!(duration(f64::NAN), "NaN s");
    }
}

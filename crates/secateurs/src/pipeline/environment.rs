//! What a run runs on.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::report::Environment;
use crate::runtime::find_library;

/// The machine and the versions.
pub(super) fn environment(device: &str, threads: usize) -> Environment {
    // Packages name the file so: libonnxruntime.so.1.32.0.
    let library = find_library().ok().and_then(|path| std::fs::canonicalize(path).ok());
    let name = library.as_deref().and_then(|path| path.file_name()?.to_str());
    let onnx_runtime = name.and_then(|name| Some(name.split_once(".so.")?.1.to_owned()));
    Environment {
        secateurs: env!("CARGO_PKG_VERSION").into(),
        libtorch: Some(secateurs_torch::TORCH_VERSION.into()),
        onnx_runtime,
        device: device.into(),
        cpu: processor(),
        threads,
    }
}

fn processor() -> String {
    // Systems without /proc cannot be asked.
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.trim().into())
}

/// The time, as in `2026-11-24 14:35 UTC`.
pub(super) fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    date_of(seconds)
}

/// Seconds since 1970 in the Gregorian calendar.
fn date_of(seconds: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02} UTC", days + 1, minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // `date -u -d @…` says the same.
        assert_eq!(date_of(0), "1970-01-01 00:00 UTC");
        assert_eq!(date_of(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(date_of(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date_of(1_798_761_540), "2026-12-31 23:59 UTC");
        assert_eq!(date_of(4_107_542_400), "2100-03-01 00:00 UTC");
    }
}

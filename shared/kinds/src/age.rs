//! Times as `kubectl get` prints them.

use jiff::Timestamp;

/// What stands where there is no time.
pub const UNKNOWN: &str = "<unknown>";

/// The time since an RFC 3339 timestamp, as `5m30s`; `<unknown>` when there is none.
pub fn since(timestamp: &str, now: Timestamp) -> String {
    match seconds_since(timestamp, now) {
        Some(seconds) => human_duration(seconds),
        None => UNKNOWN.to_owned(),
    }
}

/// Whole seconds since an RFC 3339 timestamp, negative when it lies ahead.
pub fn seconds_since(timestamp: &str, now: Timestamp) -> Option<i64> {
    let then: Timestamp = timestamp.parse().ok()?;
    Some(now.duration_since(then).as_secs())
}

/// A duration with the two most telling units: `59s`, `3m15s`, `10m`, `5h20m`, `2d3h`, `30d`, `2y40d`.
///
/// A second or so ahead of our clock is skew and reads `0s`; more reads `<invalid>`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        i64::MIN..-1 => "<invalid>".to_owned(),
        -1..=-1 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two_units(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two_units(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two_units(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two_units(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two_units(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 61, "3h1m"),
            (8 * 3600, "8h"),
            (48 * 3600 - 1, "47h"),
            (48 * 3600, "2d"),
            (51 * 3600, "2d3h"),
            (8 * 86400, "8d"),
            (400 * 86400, "400d"),
            (730 * 86400, "2y"),
            (740 * 86400, "2y10d"),
            (9 * 365 * 86400, "9y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds), text, "{seconds} s");
        }
    }

    #[test]
    fn an_absent_time_is_unknown() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a timestamp");
        assert_eq!(since("", now), "<unknown>");
        assert_eq!(since("2026-01-01T00:00:00Z", now), "60s");
    }
}

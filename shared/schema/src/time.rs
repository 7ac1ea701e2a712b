//! Timestamps as the API has them: RFC 3339 in, UTC with a fixed precision out, errors in Go's words.

use jiff::Timestamp;

/// How many digits of a second are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Precision {
    /// `metav1.Time`
    Seconds,
    /// `metav1.MicroTime`: six digits, no more and no fewer, in and out.
    Micros,
}

/// What Go's layouts have for a part of a timestamp, its digits, and the range of its value.
const PARTS: [(&str, usize, u32, u32, &str); 6] = [
    ("2006", 4, 0, 9999, "year"),
    ("01", 2, 1, 12, "month"),
    ("02", 2, 1, 31, "day"),
    ("15", 2, 0, 23, "hour"),
    ("04", 2, 0, 59, "minute"),
    ("05", 2, 0, 59, "second"),
];
/// What stands between the parts.
const SEPARATORS: [&str; 6] = ["-", "-", "T", ":", ":", ""];

/// The text as the API would write it; `None` for Go's zero time, which it writes as null.
pub(crate) fn normalize(text: &str, precision: Precision) -> Result<Option<String>, String> {
    scan(text, precision)
        .map_err(|why| match why.starts_with(CANNOT) {
            true => format!("parsing time {text:?} as {:?}: {why}", precision.layout()),
            false => format!("parsing time {text:?}: {why}"),
        })
        .and_then(|()| {
            // What is left to go wrong is a day that its month does not have.
            text.parse::<Timestamp>().map_err(|_| format!("parsing time {text:?}: day out of range"))
        })
        .map(|time| write(time, precision))
}

/// A timestamp in the API's form.
pub(crate) fn write(time: Timestamp, precision: Precision) -> Option<String> {
    let seconds = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
    let micros = time.subsec_nanosecond().rem_euclid(1_000_000_000) / 1000;
    if seconds == ZERO_SECONDS && time.subsec_nanosecond() == 0 {
        return None;
    }
    let whole = Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN).strftime("%Y-%m-%dT%H:%M:%S");
    Some(match precision {
        Precision::Seconds => format!("{whole}Z"),
        Precision::Micros => format!("{whole}.{micros:06}Z"),
    })
}

/// 0001-01-01T00:00:00Z
const ZERO_SECONDS: i64 = -62_135_596_800;

fn scan(text: &str, precision: Precision) -> Result<(), String> {
    let mut rest = text;
    for ((part, digits, low, high, name), separator) in PARTS.into_iter().zip(SEPARATORS) {
        let number = rest.get(..digits).filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = number else { return Err(cannot(rest, part)) };
        if !number.parse().is_ok_and(|value: u32| (low..=high).contains(&value)) {
            return Err(format!("{name} out of range"));
        }
        rest = &rest[digits..];
        rest = rest.strip_prefix(separator).ok_or_else(|| cannot(rest, separator))?;
    }
    zone(fraction(rest, precision)?)
}

fn fraction(rest: &str, precision: Precision) -> Result<&str, String> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let found = rest.strip_prefix('.').map_or(0, digits);
    match (precision, found) {
        (Precision::Seconds, 0) => Ok(rest),
        (Precision::Seconds, found) => Ok(&rest[1 + found..]),
        (Precision::Micros, 6) => Ok(&rest[7..]),
        (Precision::Micros, _) => Err(cannot(rest, ".000000")),
    }
}

fn zone(rest: &str) -> Result<(), String> {
    if rest == "Z" {
        return Ok(());
    }
    let (sign, offset) = rest.split_at_checked(1).ok_or_else(|| cannot(rest, "Z07:00"))?;
    let number = |text: Option<&str>, high| {
        text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse::<u32>().ok())
            .is_some_and(|value| value <= high)
    };
    let fits = (sign == "+" || sign == "-")
        && number(offset.get(..2), 24)
        && offset.get(2..3) == Some(":")
        && number(offset.get(3..5), 60);
    match (fits, offset.get(5..)) {
        (true, Some("")) => Ok(()),
        (true, Some(more)) => Err(format!("extra text: {more:?}")),
        (false, _) if rest.starts_with('Z') => Err(format!("extra text: {:?}", &rest[1..])),
        _ => Err(cannot(rest, "Z07:00")),
    }
}

const CANNOT: &str = "cannot parse";

fn cannot(rest: &str, part: &str) -> String {
    format!("{CANNOT} {rest:?} as {part:?}")
}

// === impl Precision ===

impl Precision {
    fn layout(self) -> &'static str {
        match self {
            Precision::Seconds => "2006-01-02T15:04:05Z07:00",
            Precision::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_the_precision_of_their_type() {
        let cases = [
            ("2024-05-06T07:08:09Z", Precision::Seconds, Some("2024-05-06T07:08:09Z")),
            ("2024-05-06T07:08:09.987+02:00", Precision::Seconds, Some("2024-05-06T05:08:09Z")),
            ("1960-05-06T07:08:09.5Z", Precision::Seconds, Some("1960-05-06T07:08:09Z")),
            ("2024-05-06T07:08:09.120000-01:30", Precision::Micros, Some("2024-05-06T08:38:09.120000Z")),
            ("0001-01-01T00:00:00Z", Precision::Seconds, None),
        ];
        for (text, precision, wanted) in cases {
            assert_eq!(normalize(text, precision), Ok(wanted.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_as_go_words_it() {
        let refused = |text, precision| normalize(text, precision).unwrap_err();
        assert_eq!(
            refused("soon", Precision::Seconds),
            r#"parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#
        );
        assert_eq!(
            refused("2024-05-06 07:08:09Z", Precision::Seconds),
            r#"parsing time "2024-05-06 07:08:09Z" as "2006-01-02T15:04:05Z07:00": cannot parse " 07:08:09Z" as "T""#
        );
        assert_eq!(
            refused("2024-05-06T07:08:09Z", Precision::Micros),
            r#"parsing time "2024-05-06T07:08:09Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#
        );
        assert_eq!(
            refused("2024-13-06T07:08:09Z", Precision::Seconds),
            r#"parsing time "2024-13-06T07:08:09Z": month out of range"#
        );
        assert!(refused("2024-02-30T07:08:09Z", Precision::Seconds).ends_with("day out of range"));
        assert!(
            refused("2024-02-03T07:08:09", Precision::Seconds).contains("cannot parse \"\" as \"Z07:00\"")
        );
        assert!(refused("2024-02-03T07:08:09é", Precision::Seconds).contains("Z07:00"));
    }
}

//! Formats of texts. One that is not known says nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use model::names;

/// Formats that upstream knows; those of numbers are judged with the numbers.
const KNOWN: [&str; 27] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "date-time",
    "datetime",
    "double",
    "duration",
    "email",
    "float",
    "hexcolor",
    "hostname",
    "int32",
    "int64",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "k8s-short-name",
];

/// Whether a schema that names this format says something by it.
pub fn is_known(format: &str) -> bool {
    KNOWN.contains(&format) || matches!(format, "uuid3" | "uuid4" | "uuid5" | "k8s-long-name")
}

/// Whether a text has the format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => is_date_time(text),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "duration" => is_duration(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uri" => is_uri(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some(b'3')),
        "uuid4" => is_uuid(text, Some(b'4')),
        "uuid5" => is_uuid(text, Some(b'5')),
        "byte" => is_base64(text),
        "hexcolor" => is_hex(text.strip_prefix('#').unwrap_or(text), &[3, 6]),
        "rgbcolor" => is_rgb(text),
        "bsonobjectid" => is_hex(text, &[24]),
        "ssn" => is_grouped(text, &[3, 2, 4]),
        "k8s-short-name" => names::dns_label(text).is_empty(),
        "k8s-long-name" => names::dns_subdomain(text).is_empty(),
        _ => true,
    }
}

fn is_date_time(text: &str) -> bool {
    let date = text.get(..10).is_some_and(|date| date.parse::<jiff::civil::Date>().is_ok());
    date && matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '))
        && text.parse::<jiff::Timestamp>().is_ok()
}

/// Go's durations and, as upstream's registry takes them, plain words: `1h30m`, `5 seconds`.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 24] = [
        "ns",
        "us",
        "µs",
        "μs",
        "ms",
        "s",
        "m",
        "h",
        "d",
        "w",
        "nanosecond",
        "microsecond",
        "millisecond",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "nano",
        "micro",
        "milli",
        "sec",
        "min",
        "hr",
    ];
    let mut rest = text.trim_start_matches(['-', '+']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, more) = after.split_at(letters);
        if number.parse::<f64>().is_err()
            || !UNITS.iter().any(|one| unit == *one || unit.strip_suffix('s') == Some(one))
        {
            return false;
        }
        parts += 1;
        rest = more.trim_start();
    }
    parts > 0
}

fn is_email(text: &str) -> bool {
    let address = text.rsplit_once('<').map_or(text, |(_, rest)| rest.strip_suffix('>').unwrap_or(rest));
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        let plain =
            |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        plain(local) && plain(domain) && !domain.starts_with('.') && !domain.ends_with('.')
    })
}

fn is_hostname(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    name.len() <= 255 && name.split('.').all(label)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|_| digits);
    let within = |most| length.is_some_and(|length| length <= most);
    (address.parse::<Ipv4Addr>().is_ok() && within(32))
        || (address.parse::<Ipv6Addr>().is_ok() && within(128))
}

fn is_mac(text: &str) -> bool {
    let pairs = |separator: char| {
        let parts: Vec<&str> = text.split(separator).collect();
        matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|part| is_hex(part, &[2]))
    };
    pairs(':') || pairs('-')
}

/// An address with a scheme or a path from the root, as Go's `ParseRequestURI` takes them.
fn is_uri(text: &str) -> bool {
    if text.contains(|c: char| c.is_control() || c == ' ') {
        return false;
    }
    let scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    text.starts_with('/')
        || text.split_once(':').is_some_and(|(before, after)| scheme(before) && !after.is_empty())
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    is_hex(&plain, &[32]) && version.is_none_or(|version| plain.as_bytes()[12] == version)
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_hex(text: &str, lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_rgb(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    inner.is_some_and(|inner| {
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
    })
}

fn is_grouped(text: &str, groups: &[usize]) -> bool {
    let parts: Vec<&str> = text.split(['-', ' ']).collect();
    parts.len() == groups.len()
        && parts
            .iter()
            .zip(groups)
            .all(|(part, length)| part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let cases = [
            ("date-time", "2024-05-06T07:08:09Z", true),
            ("date-time", "2024-05-06T07:08:09.5+02:00", true),
            ("date-time", "2024-05-06", false),
            ("date", "2024-05-06", true),
            ("date", "2024-13-06", false),
            ("duration", "1h30m", true),
            ("duration", "5 seconds", true),
            ("duration", "soon", false),
            ("email", "a@b.example", true),
            ("email", "a", false),
            ("hostname", "a.b-c.example", true),
            ("hostname", "-a", false),
            ("ipv4", "10.0.0.1", true),
            ("ipv4", "10.0.0", false),
            ("ipv6", "::1", true),
            ("cidr", "10.0.0.0/8", true),
            ("cidr", "10.0.0.0/33", false),
            ("mac", "00:1a:2b:3c:4d:5e", true),
            ("uri", "https://a.example/b", true),
            ("uri", "no uri", false),
            ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", true),
            ("uuid4", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", false),
            ("byte", "aGk=", true),
            ("byte", "!", false),
            ("hexcolor", "#aabbcc", true),
            ("rgbcolor", "rgb(1, 2, 3)", true),
            ("k8s-short-name", "a-b", true),
            ("k8s-short-name", "A", false),
            ("nobody-knows", "anything", true),
        ];
        for (format, text, wanted) in cases {
            assert_eq!(fits(format, text), wanted, "{format} {text}");
        }
        assert!(is_known("date-time") && !is_known("nobody-knows"));
    }
}

//! The spelling rules of names, labels and keys, with upstream's words for what breaks them.
//!
//! Each rule returns what is wrong with a text; an empty list is a valid one.

/// Bytes that a label, a label value and the name part of a key may have.
pub const LABEL_MAX: usize = 63;
/// Bytes that a subdomain may have.
pub const SUBDOMAIN_MAX: usize = 253;

/// The detail of an error about an empty text.
pub const EMPTY: &str = "must be non-empty";

/// The detail of an error about a text of more than `max` bytes. Upstream says characters here and bytes for
/// keys and values of labels, and means bytes each time.
pub fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn too_many_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// The detail of an error about a number outside of `low..=high`.
pub fn out_of_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A lowercase RFC 1123 label: a namespace, a container, a volume.
pub fn dns_label(text: &str) -> Vec<String> {
    let subdomain = text.split('.').all(is_dns_label);
    let wrong = (!is_dns_label(text)).then(|| match subdomain {
        true => "must not contain dots".to_owned(),
        false => pattern(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
             start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "123-abc"],
        ),
    });
    long(text, LABEL_MAX).chain(wrong).collect()
}

/// A lowercase RFC 1123 subdomain: what most objects may be called.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let wrong = (!text.split('.').all(is_dns_label)).then(|| {
        pattern(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
             and must start and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        )
    });
    long(text, SUBDOMAIN_MAX).chain(wrong).collect()
}

/// An RFC 1035 label: a service.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let starts_with_letter = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let wrong = (!starts_with_letter || !is_dns_label(text)).then(|| {
        pattern(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
             alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        )
    });
    long(text, LABEL_MAX).chain(wrong).collect()
}

/// A DNS subdomain whose first label is `*`: a wildcard host of an Ingress.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let rest = text.strip_prefix("*.").unwrap_or("");
    let wrong = (!rest.split('.').all(is_dns_label)).then(|| {
        pattern(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
             consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        )
    });
    long(text, SUBDOMAIN_MAX).chain(wrong).collect()
}

/// A name that may be one segment of a path: RBAC objects.
pub fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ['/', '%']
            .into_iter()
            .filter(|c| text.contains(*c))
            .map(|c| format!("may not contain '{c}'"))
            .collect(),
    }
}

/// A qualified name: the key of a label, an annotation or a resource, a finalizer.
pub fn qualified_name(text: &str) -> Vec<String> {
    let rule = || {
        pattern(
            "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character",
            "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
            &["MyName", "my.name", "123-abc"],
        )
    };
    let (prefix, name) = match text.split_once('/') {
        Some((_, rest)) if rest.contains('/') => {
            let optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {} {optional}", rule())];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut wrong = match prefix {
        None => Vec::new(),
        Some("") => vec![format!("prefix part {EMPTY}")],
        Some(prefix) => dns_subdomain(prefix).into_iter().map(|why| format!("prefix part {why}")).collect(),
    };
    match name.len() {
        0 => wrong.push(format!("name part {EMPTY}")),
        length if length > LABEL_MAX => wrong.push(format!("name part {}", too_many_bytes(LABEL_MAX))),
        _ => (),
    }
    if !is_qualified_part(name) {
        wrong.push(format!("name part {}", rule()));
    }
    wrong
}

/// The value of a label; may be empty.
pub fn label_value(text: &str) -> Vec<String> {
    let wrong = (!text.is_empty() && !is_qualified_part(text)).then(|| {
        pattern(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
             must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        )
    });
    let long = (text.len() > LABEL_MAX).then(|| too_many_bytes(LABEL_MAX));
    long.into_iter().chain(wrong).collect()
}

/// A key of a ConfigMap or a Secret: it becomes a file name.
pub fn config_key(text: &str) -> Vec<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let wrong = (text.is_empty() || !text.bytes().all(allowed)).then(|| {
        pattern(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        )
    });
    let dots = match text {
        "." | ".." => Some(format!("must not be '{text}'")),
        _ if text.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    };
    long(text, SUBDOMAIN_MAX).chain(wrong).chain(dots).collect()
}

/// The name of an environment variable: printable ASCII but for `=`.
pub fn env_var_name(text: &str) -> Vec<String> {
    if text.is_empty() {
        return vec![format!("environment variable name {EMPTY}")];
    }
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    let rule =
        "a valid environment variable name must consist only of printable ASCII characters other than '='";
    (!text.bytes().all(allowed)).then(|| rule.to_owned()).into_iter().collect()
}

/// The name of a port.
pub fn port_name(text: &str) -> Vec<String> {
    let charset = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let rules: [(bool, &str); 4] = [
        (
            !text.is_empty() && text.bytes().all(charset),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (text.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (!text.contains("--"), "must not contain consecutive hyphens"),
        (!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why.to_owned());
    long(text, 15).chain(broken).collect()
}

/// The name of an HTTP header.
pub fn http_header_name(text: &str) -> Vec<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let wrong = (text.is_empty() || !text.bytes().all(allowed)).then(|| {
        pattern(
            "a valid HTTP header must consist of alphanumeric characters or '-'",
            "[-A-Za-z0-9]+",
            &["X-Header-Name"],
        )
    });
    wrong.into_iter().collect()
}

/// A number with a percent sign.
pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or("");
    let wrong = (digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| {
        pattern(
            "a valid percent string must be a numeric string followed by an ending '%'",
            "[0-9]+%",
            &["1%", "93%"],
        )
    });
    wrong.into_iter().collect()
}

fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn long(text: &str, max: usize) -> impl Iterator<Item = String> {
    (text.len() > max).then(|| too_long(max)).into_iter()
}

fn pattern(rule: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|one| format!("'{one}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&str) -> Vec<String>;

    #[test]
    fn each_rule_tells_good_from_bad() {
        let cases: [(Rule, &[&str], &[&str]); 9] = [
            (dns_label, &["a", "a-b", "1a"], &["", "A", "-a", "a-", "a.b", "a_b"]),
            (dns_subdomain, &["a", "a.b-c.1"], &["", "a..b", ".a", "a.", "A.b", "a_b"]),
            (dns_1035_label, &["a", "a-1"], &["", "1a", "a-", "A"]),
            (qualified_name, &["a", "A.b_c", "x.io/a"], &["", "/a", "x.io/", "a/b/c", "X/a", "a b", "-a"]),
            (label_value, &["", "a", "A.b_c-1"], &["-a", "a b", "a/b", "_"]),
            (config_key, &["a", "A_b.c-d"], &["", ".", "..", "..a", "a/b"]),
            (env_var_name, &["A", "a b", "1.x"], &["", "A=B", "é", "a\n"]),
            (port_name, &["http", "a-1"], &["", "80", "a--b", "-a", "Http", "abcdefghijklmnop"]),
            (path_segment, &["system:node", "a b"], &[".", "..", "a/b", "a%b"]),
        ];
        for (rule, good, bad) in cases {
            for text in good {
                assert_eq!(rule(text), Vec::<String>::new(), "{text:?}");
            }
            for text in bad {
                assert_ne!(rule(text), Vec::<String>::new(), "{text:?}");
            }
        }
    }

    #[test]
    fn a_long_name_is_refused_in_upstreams_words() {
        assert_eq!(dns_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            dns_subdomain("Web"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
              must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
    }
}

//! Patterns: Go's regular expressions, compiled when the first value comes.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may have: many times what any sensible one needs, and a schema has hundreds.
const SIZE_MAX: usize = 1 << 20;

/// A pattern.
pub(super) struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

// === impl Pattern ===

impl Pattern {
    pub(super) fn new(text: &str) -> Pattern {
        Pattern { text: text.into(), compiled: OnceLock::new() }
    }

    /// As it is written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is found in the text. A pattern that cannot be compiled matches nothing.
    pub(super) fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

/// Compiles a pattern, or says why it cannot be one.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translated(pattern)).size_limit(SIZE_MAX).dfa_size_limit(SIZE_MAX).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => "expression is too large".to_owned(),
            error => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
        },
    )
}

/// Where the two dialects differ: classes are ASCII in Go, a brace that counts nothing and a bracket inside a class
/// stand for themselves, and sets have no operators.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\\' => {
                let escaped = rest[1..].chars().next();
                taken += escaped.map_or(0, char::len_utf8);
                out.push_str(&escape(escaped, in_class).unwrap_or_else(|| rest[..taken].to_owned()));
            }
            '[' if in_class && rest.starts_with("[:") => {
                taken = rest.find(":]").map_or(1, |end| end + 2);
                out.push_str(&rest[..taken]);
            }
            '[' if in_class => out.push_str("\\["),
            '[' => {
                in_class = true;
                out.push('[');
                let after = &rest[1..];
                let negated = after.starts_with('^');
                if negated {
                    out.push('^');
                    taken += 1;
                }
                // A bracket that comes first is an element.
                if after[usize::from(negated)..].starts_with(']') {
                    out.push_str("\\]");
                    taken += 1;
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && rest.starts_with("--") => {
                taken = 2;
                out.push_str("\\-\\-");
            }
            '{' if !in_class && !counts(rest) => out.push_str("\\{"),
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether a brace begins a repetition: `{2}`, `{2,}`, `{2,3}`.
fn counts(text: &str) -> bool {
    let Some((inner, _)) = text[1..].split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inner.split_once(',') {
        None => is_number(inner),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    }
}

/// What an escape is in the other dialect, where it is something else.
fn escape(escaped: Option<char>, in_class: bool) -> Option<String> {
    let (positive, class) = match escaped? {
        'd' => (true, "0-9"),
        'D' => (false, "0-9"),
        'w' => (true, "0-9A-Za-z_"),
        'W' => (false, "0-9A-Za-z_"),
        's' => (true, "\\t\\n\\f\\r "),
        'S' => (false, "\\t\\n\\f\\r "),
        'b' if !in_class => return Some("(?-u:\\b)".to_owned()),
        'B' if !in_class => return Some("(?-u:\\B)".to_owned()),
        _ => return None,
    };
    Some(match (positive, in_class) {
        (true, true) => class.to_owned(),
        (true, false) => format!("[{class}]"),
        (false, _) => format!("[^{class}]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let cases = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "* * * * */5", true),
            (r"^{{.+}}$", "{{x}}", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^[[]x$", "[x", true),
            (r"^[^]]$", "]", false),
            (r"^[a&&b]+$", "&b", true),
            (r"^[\w.-]+$", "a-b.c", true),
            (r"^[\S]$", "x", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)$", "a-b", true),
            (r"a\/b", "xa/by", true),
        ];
        for (pattern, text, wanted) in cases {
            compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(Pattern::new(pattern).matches(text), wanted, "{pattern} {text}");
        }
        assert!(compile("(").is_err());
        assert!(compile("((a{100}){100}){100}").is_err_and(|why| why.contains("too large")));
    }
}

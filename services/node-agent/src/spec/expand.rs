//! `$(NAME)` in commands, arguments and values.

/// Replaces each `$(NAME)` for which `lookup` knows a value; `$$` stands for `$`, so `$$(NAME)` stays `$(NAME)`.
/// A reference to an unknown name stays as it is written.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_dollars_escape() {
        let cases = [
            ("$(A)", "1"),
            ("x-$(A)-$(B)", "x-1-two"),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$A ${A}", "$A ${A}"),
            ("$(A", "$(A"),
            ("a$", "a$"),
            ("$()", "$()"),
            ("$(A)$(B", "1$(B"),
        ];
        for (text, expected) in cases {
            let expanded = expand(text, |name| match name {
                "A" => Some("1".to_owned()),
                "B" => Some("two".to_owned()),
                _ => None,
            });
            assert_eq!(expanded, expected, "{text}");
        }
    }
}

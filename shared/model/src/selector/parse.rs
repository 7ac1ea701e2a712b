//! The text of selectors.

use super::{FieldRequirement, Operator, Requirement};
use crate::names;

/// A word of a label selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Identifier(&'a str),
    Symbol(&'a str),
    End,
}

/// Reads words with one of look-ahead.
struct Words<'a> {
    rest: &'a str,
}

/// The requirements in the text of a label selector, in the order in which they stand there.
pub fn label_requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut words = Words { rest: text };
    let mut requirements = Vec::new();
    loop {
        match words.peek() {
            Token::End => return Ok(requirements),
            Token::Identifier(_) | Token::Symbol("!") => (),
            other => return Err(expected(other, "!, identifier, or 'end of string'")),
        }
        let requirement = requirement(&mut words).and_then(|one| one.check().map(|()| one));
        requirements.push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
        match words.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => (),
            other => return Err(expected(other, "',' or 'end of string'")),
        }
        if !matches!(words.peek(), Token::Identifier(_) | Token::Symbol("!")) {
            return Err(expected(words.peek(), "identifier after ','"));
        }
    }
}

fn requirement(words: &mut Words<'_>) -> Result<Requirement, String> {
    let absent = words.peek() == Token::Symbol("!");
    if absent {
        words.next();
    }
    let key = match words.next() {
        Token::Identifier(key) => key,
        other => return Err(expected(other, "identifier")),
    };
    let wrong = names::qualified_name(key);
    if !wrong.is_empty() {
        return Err(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; ")));
    }
    let of = |operator, values| Ok(Requirement::new(key.to_owned(), operator, values));
    if absent {
        return of(Operator::DoesNotExist, Vec::new());
    }
    if matches!(words.peek(), Token::End | Token::Symbol(",")) {
        return of(Operator::Exists, Vec::new());
    }
    let operator = operator(words.next())?;
    let values = match operator {
        Operator::In | Operator::NotIn => listed_values(words)?,
        _ => vec![exact_value(words)?],
    };
    of(operator, values)
}

fn operator(token: Token<'_>) -> Result<Operator, String> {
    Ok(match token {
        Token::Identifier("in") => Operator::In,
        Token::Identifier("notin") => Operator::NotIn,
        Token::Symbol("=" | "==") => Operator::Equals,
        Token::Symbol("!=") => Operator::NotEquals,
        Token::Symbol(">") => Operator::GreaterThan,
        Token::Symbol("<") => Operator::LessThan,
        other => return Err(expected(other, "in, notin, =, ==, !=, gt, lt")),
    })
}

fn exact_value(words: &mut Words<'_>) -> Result<String, String> {
    match words.peek() {
        Token::End | Token::Symbol(",") => Ok(String::new()),
        Token::Identifier(value) => {
            words.next();
            Ok(value.to_owned())
        }
        other => Err(expected(other, "identifier")),
    }
}

/// `(a,b)`; nothing between two separators is the empty value.
fn listed_values(words: &mut Words<'_>) -> Result<Vec<String>, String> {
    match words.next() {
        Token::Symbol("(") => (),
        other => return Err(format!("found '{}' expected: '('", other.text())),
    }
    let mut values = Vec::new();
    loop {
        match words.peek() {
            Token::Identifier(value) => {
                words.next();
                values.push(value.to_owned());
            }
            Token::Symbol("," | ")") => values.push(String::new()),
            other => return Err(expected(other, "',', ')' or identifier")),
        }
        match words.next() {
            Token::Symbol(",") => (),
            Token::Symbol(")") => return Ok(values),
            other => return Err(expected(other, "',' or ')'")),
        }
    }
}

fn expected(found: Token<'_>, wanted: &str) -> String {
    format!("found '{}', expected: {wanted}", found.text())
}

// === impl Words ===

impl<'a> Words<'a> {
    const SYMBOLS: [&'static str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

    fn peek(&self) -> Token<'a> {
        Words { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'a> {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            self.rest = rest;
            return Token::End;
        }
        if let Some(symbol) = Self::SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.rest = &rest[symbol.len()..];
            return Token::Symbol(&rest[..symbol.len()]);
        }
        let ends = |c: char| "=!(),><".contains(c) || [' ', '\t', '\r', '\n'].contains(&c);
        let (word, rest) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        self.rest = rest;
        Token::Identifier(word)
    }
}

// === impl Token ===

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Identifier(text) | Token::Symbol(text) => text,
            Token::End => "",
        }
    }
}

/// The requirements in the text of a field selector.
pub fn field_requirements(text: &str) -> Result<Vec<FieldRequirement>, String> {
    let terms = split_unescaped(text).into_iter().filter(|term| !term.is_empty());
    terms.map(|term| field_requirement(text, term)).collect()
}

fn field_requirement(text: &str, term: &str) -> Result<FieldRequirement, String> {
    let at = term.find(['=', '!']).filter(|at| term[*at..].starts_with("!=") || term[*at..].starts_with('='));
    let Some(at) = at else {
        return Err(format!("invalid selector: '{text}'; can't understand '{term}'"));
    };
    let (field, rest) = term.split_at(at);
    let equal = !rest.starts_with('!');
    let value = ["!=", "==", "="].iter().find_map(|operator| rest.strip_prefix(operator)).unwrap_or_default();
    Ok(FieldRequirement { field: field.to_owned(), equal, value: unescape(value)? })
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => (),
        }
    }
    terms.push(&text[start..]);
    terms
}

fn unescape(text: &str) -> Result<String, String> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => value.push(c),
                Some(c) => return Err(format!("invalid field selector: invalid escape sequence: \\{c}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            c => value.push(c),
        }
    }
    Ok(value)
}

/// The value as it stands in a selector.
pub fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

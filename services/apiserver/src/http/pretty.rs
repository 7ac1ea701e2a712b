//! JSON for people: the same fields in the same order, with line breaks and indentation.

/// Indents JSON by two spaces a level. Text that is not JSON comes out unharmed but odd.
pub fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut bytes = json.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                out.push(byte);
                copy_string(&mut bytes, &mut out);
            }
            b'{' | b'[' => {
                out.push(byte);
                let end = if byte == b'{' { b'}' } else { b']' };
                if bytes.next_if_eq(&end).is_some() {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            other => out.push(other),
        }
    }
    out.push(b'\n');
    out
}

fn copy_string(bytes: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let mut escaped = false;
    for byte in bytes {
        out.push(byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return,
            _ => {}
        }
    }
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + depth * 2, b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_strings_their_content() {
        let json = br#"{"kind":"Pod","a":{},"b":[],"c":["x, {y}: \"z\"",1],"d":{"e":null}}"#;
        let expected = r#"{
  "kind": "Pod",
  "a": {},
  "b": [],
  "c": [
    "x, {y}: \"z\"",
    1
  ],
  "d": {
    "e": null
  }
}
"#;
        assert_eq!(String::from_utf8(indent(json)).unwrap(), expected);
    }
}

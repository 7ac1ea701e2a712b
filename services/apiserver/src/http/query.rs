//! Query strings, with Kubernetes' reading of booleans and numbers.

use model::Status;

/// Parameters in the order of the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

// === impl Query ===

impl Query {
    /// The parameters of a URL's query part.
    pub fn parse(text: Option<&str>) -> Query {
        let pairs = text
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name, true), decode(value, true))
            })
            .collect();
        Query { pairs }
    }

    /// The first value of a parameter.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.pairs.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, empty when there is none.
    pub fn text(&self, name: &str) -> String {
        self.first(name).unwrap_or("").to_owned()
    }

    /// A boolean: `0` and `false` in any case are false, everything else that is there is true.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.first(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A whole number; 400 when it is none.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.first(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!("{name}: strconv.ParseInt: parsing {text:?}: invalid syntax"))
        })
    }
}

/// Text with its percent escapes undone, and `+` read as a space where forms say so.
pub fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(hex);
        match (escaped, bytes[at]) {
            (Some(byte), _) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (None, b'+') if plus_is_space => out.push(b' '),
            (None, byte) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` would take a sign.
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u8::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_clients_write_them() {
        let cases = [
            ("watch=true", Some(true)),
            ("watch=True", Some(true)),
            ("watch=1", Some(true)),
            ("watch=", Some(true)),
            ("watch", Some(true)),
            ("watch=yes", Some(true)),
            ("watch=false", Some(false)),
            ("watch=FALSE", Some(false)),
            ("watch=0", Some(false)),
            ("other=true", None),
            ("", None),
        ];
        for (query, expected) in cases {
            assert_eq!(Query::parse(Some(query)).flag("watch"), expected, "{query}");
        }
    }

    #[test]
    fn escapes_are_undone_once() {
        let query =
            Query::parse(Some("labelSelector=a%3Db%2Cc%20in+%28x%29&command=a&command=b%2Bc&bad=%zz%2"));
        assert_eq!(query.text("labelSelector"), "a=b,c in (x)");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["a", "b+c"]);
        assert_eq!(query.text("bad"), "%zz%2");
        assert_eq!(decode("system%3Anode+1", false), "system:node+1");
    }

    #[test]
    fn a_number_that_is_none_is_a_bad_request() {
        assert_eq!(Query::parse(Some("limit=500")).number("limit"), Ok(Some(500)));
        assert_eq!(Query::parse(Some("limit=")).number("limit"), Ok(None));
        assert_eq!(Query::parse(Some("limit=many")).number("limit").unwrap_err().code(), 400);
    }
}

//! Which form of an answer a client takes, from its `Accept` header.

use std::cmp::Reverse;

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use model::{Reason, Status};

use super::query::Query;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON, on lines of their own for people.
    Json {
        /// With indentation.
        pretty: bool,
    },
    /// YAML.
    Yaml,
}

/// What is shown of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Whole,
    /// A row of a table.
    Table {
        /// Version of the group `meta.k8s.io`.
        version: MetaVersion,
        /// What of the object is in the row besides the cells.
        include: Include,
    },
    /// Its metadata.
    Metadata {
        /// Version of the group `meta.k8s.io`.
        version: MetaVersion,
    },
}

/// Versions of the group `meta.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVersion {
    /// `v1`
    V1,
    /// `v1beta1`, which old clients ask for.
    V1Beta1,
}

/// What of the object a table's row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    Nothing,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// The form of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it is written.
    pub format: Format,
    /// What is shown.
    pub view: View,
    /// The client takes gzip.
    pub gzip: bool,
}

/// One entry of an `Accept` header.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause<'a> {
    /// As `application/json`.
    pub media: &'a str,
    /// As `("as", "Table")`.
    pub parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// JSON as it goes over the wire when nobody asks for anything else.
pub const PLAIN: Output = Output { format: Format::Json { pretty: false }, view: View::Whole, gzip: false };

/// What a refusal names as acceptable.
const ACCEPTABLE: &str = "application/json, application/yaml";

/// Chooses the form of an answer; 406 when the client takes none that we have.
pub fn output(headers: &HeaderMap, query: &Query) -> Result<Output, Status> {
    let gzip = accepts_gzip(headers);
    let accept = text(headers);
    let clauses = clauses(&accept);
    if clauses.is_empty() {
        return Ok(Output {
            format: Format::Json { pretty: is_pretty(headers, query) },
            view: View::Whole,
            gzip,
        });
    }
    for clause in &clauses {
        let format = match clause.media {
            "application/json" | "application/*" | "*/*" => {
                Format::Json { pretty: is_pretty(headers, query) }
            }
            "application/yaml" => Format::Yaml,
            // Protobuf answers are not made; clients that ask for them name JSON as well.
            _ => continue,
        };
        if let Some(view) = view(clause, query)? {
            return Ok(Output { format, view, gzip });
        }
    }
    Err(not_acceptable(ACCEPTABLE))
}

/// 406 with what would be acceptable.
pub fn not_acceptable(acceptable: &str) -> Status {
    Status::new(Reason::NotAcceptable, format!("only the following media types are accepted: {acceptable}"))
}

/// The entries of an `Accept` header, those that the client likes best first.
pub fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
    // Stable: equals stay in the client's order.
    clauses.sort_by_key(|clause| Reverse((clause.quality * 1000.0) as i32));
    clauses
}

/// The `Accept` header, its lines joined.
pub fn text(headers: &HeaderMap) -> String {
    let lines: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

/// Whether the client takes gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',').any(|coding| match coding.trim().split_once(';') {
            Some((name, quality)) => name.trim() == "gzip" && quality.trim() != "q=0",
            None => coding.trim() == "gzip",
        })
    })
}

/// `pretty` of the query; without it, people's tools get indentation.
pub fn is_pretty(headers: &HeaderMap, query: &Query) -> bool {
    query.flag("pretty").unwrap_or_else(|| {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
        ["curl/", "Wget/", "Mozilla/"].iter().any(|people| agent.starts_with(people))
    })
}

/// The view that a clause asks for; `None` for one that we do not have.
fn view(clause: &Clause<'_>, query: &Query) -> Result<Option<View>, Status> {
    let Some(shape) = clause.parameter("as") else { return Ok(Some(View::Whole)) };
    if clause.parameter("g") != Some("meta.k8s.io") {
        return Ok(None);
    }
    let version = match clause.parameter("v") {
        Some("v1") => MetaVersion::V1,
        Some("v1beta1") => MetaVersion::V1Beta1,
        _ => return Ok(None),
    };
    match shape {
        "Table" => Ok(Some(View::Table { version, include: include(query)? })),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Ok(Some(View::Metadata { version })),
        _ => Ok(None),
    }
}

fn include(query: &Query) -> Result<Include, Status> {
    match query.first("includeObject").unwrap_or("") {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::Nothing),
        "Object" => Ok(Include::Object),
        other => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

// === impl MetaVersion ===

impl MetaVersion {
    /// As `meta.k8s.io/v1`.
    pub const fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

// === impl Clause ===

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().filter(|media| !media.is_empty())?;
        let mut clause = Clause { media, parameters: Vec::new(), quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "q" => clause.quality = value.trim().parse().unwrap_or(0.0),
                name => clause.parameters.push((name, value.trim().trim_matches('"'))),
            }
        }
        Some(clause)
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(one, _)| *one == name).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &str, query: &str) -> Result<Output, Status> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        output(&headers, &Query::parse(Some(query)))
    }

    #[test]
    fn the_first_form_that_we_have_is_chosen() {
        let json = Format::Json { pretty: false };
        let table = |include| View::Table { version: MetaVersion::V1, include };
        let cases = [
            ("", "", json, View::Whole),
            ("*/*", "", json, View::Whole),
            ("application/json", "pretty=true", Format::Json { pretty: true }, View::Whole),
            ("application/yaml", "", Format::Yaml, View::Whole),
            ("application/vnd.kubernetes.protobuf,application/json", "", json, View::Whole),
            ("application/vnd.kubernetes.protobuf, */*", "", json, View::Whole),
            ("application/json;q=0.1,application/yaml", "", Format::Yaml, View::Whole),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                "",
                json,
                table(Include::Metadata),
            ),
            (
                "application/json;as=Table;g=meta.k8s.io;v=v1",
                "includeObject=Object",
                json,
                table(Include::Object),
            ),
            (
                "application/json;as=Table;g=meta.k8s.io;v=v1",
                "includeObject=None",
                json,
                table(Include::Nothing),
            ),
            ("application/json;as=Table;g=meta.k8s.io;v=v9,application/json", "", json, View::Whole),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                "",
                json,
                View::Metadata { version: MetaVersion::V1 },
            ),
            ("application/json;stream=watch", "", json, View::Whole),
        ];
        for (accept, query, format, view) in cases {
            assert_eq!(asked(accept, query), Ok(Output { format, view, gzip: false }), "{accept}?{query}");
        }
    }

    #[test]
    fn what_we_do_not_have_is_not_acceptable() {
        for accept in [
            "application/vnd.kubernetes.protobuf",
            "text/html",
            "application/json;as=Chart;g=meta.k8s.io;v=v1",
        ] {
            assert_eq!(asked(accept, "").unwrap_err().code(), 406, "{accept}");
        }
        let wrong = asked("application/json;as=Table;g=meta.k8s.io;v=v1", "includeObject=Some");
        assert_eq!(wrong.unwrap_err().code(), 400);
    }

    #[test]
    fn gzip_is_taken_where_it_is_named() {
        for (header, expected) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("br", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, header.parse().unwrap());
            assert_eq!(accepts_gzip(&headers), expected, "{header}");
        }
    }
}

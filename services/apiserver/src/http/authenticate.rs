//! Who asks: the user in a client certificate that our CA signed, whoever shows a good token, or nobody.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use jiff::Timestamp;
use model::{Reason, Status};
use rustls::pki_types::CertificateDer;
use tracing::debug;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use crate::identity::AUTHENTICATED;
use crate::registry::Registry;
use crate::verbs::Identity;

/// The user who is nobody.
pub const ANONYMOUS: &str = "system:anonymous";
/// A WebSocket protocol that begins so is no protocol but a token.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
/// The group of nobody.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The user that a verified client certificate names: common name and organisations. `None` when it names none.
pub fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().find_map(|name| name.as_str().ok())?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    Some(Identity { user, groups, ..Identity::default() })
}

/// The token in `Authorization: Bearer <token>`; a browser that opens a WebSocket can only name it as a protocol.
pub fn bearer_token(headers: &HeaderMap) -> Option<String> {
    in_authorization(headers).map(str::to_owned).or_else(|| in_protocol(headers))
}

fn in_authorization(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

fn in_protocol(headers: &HeaderMap) -> Option<String> {
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut protocols = protocols.flat_map(|list| list.split(',')).map(str::trim);
    let encoded = protocols.find_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// Who shows this token; 401 for one that is not good.
pub async fn from_token(registry: &Registry, token: &str, now: Timestamp) -> Result<Identity, Status> {
    let tokens = registry.tokens().ok_or_else(unauthorized)?;
    match tokens.bearer(registry, token, &[], now).await? {
        Ok(bearer) => Ok(bearer.identity),
        Err(refusal) => {
            debug!("a token was refused: {refusal}");
            Err(unauthorized())
        }
    }
}

/// Nobody in particular.
pub fn anonymous() -> Identity {
    Identity { user: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Identity::default() }
}

/// 401.
pub fn unauthorized() -> Status {
    Status::new(Reason::Unauthorized, "Unauthorized")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::http::ca::{self, Ca, Purpose};

    #[test]
    fn a_token_is_in_the_authorization_or_among_the_protocols_of_a_web_socket() {
        let shown = |name: http::HeaderName, value: &str| {
            bearer_token(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
        };
        assert_eq!(shown(AUTHORIZATION, "Bearer  abc").as_deref(), Some("abc"));
        assert_eq!(shown(AUTHORIZATION, "bearer abc").as_deref(), Some("abc"));
        for none in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(shown(AUTHORIZATION, none), None, "{none}");
        }
        let protocols = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        assert_eq!(shown(SEC_WEBSOCKET_PROTOCOL, protocols).as_deref(), Some("abc"));
        assert_eq!(shown(SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io"), None);
    }

    #[test]
    fn a_certificate_names_the_user_and_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, _) = Ca::prepare(folder.path(), &["a".to_owned()], SystemTime::now()).unwrap();
        let purpose = Purpose::Client { user: "jane".to_owned(), group: "dev".to_owned() };
        let pair = ca.issue(&purpose, SystemTime::now()).unwrap();
        let identity = from_certificate(&ca::der(&pair.certificate).unwrap()).unwrap();
        assert_eq!(identity.user, "jane");
        assert_eq!(identity.groups, ["dev", AUTHENTICATED]);
    }
}

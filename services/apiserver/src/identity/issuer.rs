//! Signs tokens and verifies them, and tells others how to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use model::Status;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Claims, Refusal, SigningKey};

/// Who signs: the API server under the name by which pods know it.
pub const URL: &str = "https://kubernetes.default.svc.cluster.local";
/// Where the public keys are.
pub const JWKS_PATH: &str = "/openid/v1/jwks";
/// Where it is told where they are.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// The clocks of two API servers may differ by so much, in seconds.
const LEEWAY: i64 = 60;
/// Bytes of a token at most; ours have about a thousand.
const TOKEN_MAX: usize = 16 * 1024;
/// Tokens whose signature was found good are remembered, half a kilobyte each: it saves most of the work of a
/// request with one. When there are more, all are forgotten.
const REMEMBERED: usize = 8_192;

/// A key at work.
pub struct Issuer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    header: Header,
    validation: Validation,
    jwk: Value,
    /// By the token's hash, so that a dump of the memory holds no tokens.
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

// === impl Issuer ===

impl Issuer {
    /// Signs with this key.
    pub fn new(key: &SigningKey) -> Issuer {
        let (x, y) = key.point();
        let point = [&[4], x, y].concat();
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(&point));
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[URL]);
        // Judged here, with the time of the request.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Issuer {
            encoding: EncodingKey::from_ec_der(&key.0.serialize_der()),
            decoding: DecodingKey::from_ec_der(&point),
            header: Header { kid: Some(kid.clone()), typ: None, ..Header::new(Algorithm::ES256) },
            validation,
            jwk: json!({
                "use": "sig", "kty": "EC", "kid": kid, "alg": "ES256", "crv": "P-256",
                "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
            }),
            verified: Mutex::default(),
        }
    }

    /// The token that says this.
    pub fn sign(&self, claims: &Claims) -> Result<String, Status> {
        jsonwebtoken::encode(&self.header, claims, &self.encoding).map_err(Status::internal)
    }

    /// What a token says, if we signed it and its time has come and is not over.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refusal> {
        if token.len() > TOKEN_MAX {
            return Err(Refusal::Invalid("it is too long"));
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let claims = match self.remembered(&hash) {
            Some(claims) => claims,
            None => self.remember(hash, self.signed(token)?),
        };
        let now = now.as_second();
        if now >= claims.exp + LEEWAY {
            return Err(Refusal::Invalid("it has expired"));
        }
        if now < claims.nbf - LEEWAY {
            return Err(Refusal::Invalid("it is not good yet"));
        }
        Ok(claims)
    }

    fn signed(&self, token: &str) -> Result<Claims, Refusal> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        Ok(decoded.map_err(|_| Refusal::Invalid("it was not signed here"))?.claims)
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Arc<Claims>> {
        self.verified.lock().expect("nobody panics while looking").get(hash).cloned()
    }

    fn remember(&self, hash: [u8; 32], claims: Claims) -> Arc<Claims> {
        let claims = Arc::new(claims);
        let mut verified = self.verified.lock().expect("nobody panics while looking");
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(hash, Arc::clone(&claims));
        claims
    }

    /// The public keys, as whoever verifies tokens without us fetches them.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

/// The document by which others find the keys.
pub fn discovery() -> Value {
    json!({
        "issuer": URL,
        "jwks_uri": format!("{URL}{JWKS_PATH}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

#[cfg(test)]
mod tests {
    use super::super::claims::{Bound, Named};
    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn claims() -> Claims {
        Claims {
            aud: vec![URL.to_owned()],
            exp: NOW + 3_600,
            iat: NOW,
            iss: URL.to_owned(),
            jti: "1".to_owned(),
            bound: Bound {
                namespace: "default".to_owned(),
                serviceaccount: Named { name: "bot".to_owned(), uid: "u".to_owned() },
                ..Bound::default()
            },
            nbf: NOW,
            sub: "system:serviceaccount:default:bot".to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_says_what_was_signed_until_its_time_is_over() {
        let issuer = Issuer::new(&SigningKey::generate().unwrap());
        let token = issuer.sign(&claims()).unwrap();
        for _ in 0..2 {
            assert_eq!(*issuer.verify(&token, at(NOW + 10)).unwrap(), claims());
            let over = issuer.verify(&token, at(NOW + 3_600 + LEEWAY));
            assert_eq!(over, Err(Refusal::Invalid("it has expired")));
            let early = issuer.verify(&token, at(NOW - LEEWAY - 1));
            assert_eq!(early, Err(Refusal::Invalid("it is not good yet")));
        }
    }

    #[test]
    fn what_others_signed_or_somebody_changed_is_refused() {
        let (ours, other) =
            (Issuer::new(&SigningKey::generate().unwrap()), Issuer::new(&SigningKey::generate().unwrap()));
        let token = ours.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let forged = Claims { sub: "system:serviceaccount:kube-system:root".to_owned(), ..claims() };
        let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&forged).unwrap());
        let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let foreign = Claims { iss: "https://elsewhere".to_owned(), ..claims() };
        let bad = [
            other.sign(&claims()).unwrap(),
            ours.sign(&foreign).unwrap(),
            format!("{}.{forged}.{}", parts[0], parts[2]),
            format!("{unsigned}.{}.", parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            "x".repeat(TOKEN_MAX + 1),
            String::new(),
        ];
        for token in bad {
            assert!(ours.verify(&token, at(NOW)).is_err(), "{token}");
        }
    }

    #[test]
    fn others_verify_with_the_published_key() {
        let issuer = Issuer::new(&SigningKey::generate().unwrap());
        let token = issuer.sign(&claims()).unwrap();
        let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_value(issuer.jwks()).unwrap();
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        let key = DecodingKey::from_jwk(jwks.find(&kid).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[URL]);
        validation.validate_exp = false;
        assert_eq!(jsonwebtoken::decode::<Claims>(&token, &key, &validation).unwrap().claims, claims());
    }
}

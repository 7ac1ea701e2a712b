//! PURE: signed statements (JWT, as nats-server reads them) about operators, accounts and users.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Role, Unreadable};

/// What stands for "no limit" in statements.
const UNLIMITED: i64 = -1;
/// How long an answer may take, for those who may answer: more than the longest that any request waits.
const ANSWER_NANOSECONDS: i64 = 60_000_000_000;
/// The tag that names a user's role: its key says so too, but only the server knows the key's role.
const ROLE_TAG: &str = "role:";

/// What a user's statement says to its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Seconds since 1970 from which on it is no longer good.
    pub expires: Option<i64>,
}

#[derive(Deserialize)]
struct UserOnWire {
    name: String,
    exp: Option<i64>,
    nats: NatsOnWire,
}

#[derive(Deserialize)]
struct NatsOnWire {
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Statement<'a> {
    jti: String,
    iat: i64,
    iss: &'a str,
    name: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    nats: Value,
}

/// Who signs what about whom, and when.
pub struct About<'a> {
    pub by: &'a KeyPair,
    pub subject: &'a str,
    pub name: &'a str,
    pub now: i64,
    pub expires: Option<i64>,
}

/// The operator of the server, signed by itself.
pub fn operator(about: &About<'_>, system_account: &str) -> String {
    about.sign(json!({ "type": "operator", "version": 2, "system_account": system_account }))
}

/// An account. Each key in `scopes` signs users of its role, who have the role's permissions.
pub fn account(about: &About<'_>, stores: bool, scopes: &[(Role, String)]) -> String {
    let storage = if stores { UNLIMITED } else { 0 };
    let scopes: Vec<Value> = scopes.iter().map(|(role, key)| scope(*role, key)).collect();
    about.sign(json!({
        "type": "account",
        "version": 2,
        "limits": {
            "subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED, "imports": UNLIMITED, "exports": UNLIMITED,
            "wildcards": true, "conn": UNLIMITED, "leaf": UNLIMITED,
            "mem_storage": storage, "disk_storage": storage, "streams": UNLIMITED, "consumer": UNLIMITED,
        },
        "signing_keys": scopes,
        "default_permissions": { "pub": {}, "sub": {} },
    }))
}

/// A user of a role in `account`. Without permissions: those of the role count. `bearer`s need not prove their key.
pub fn user(about: &About<'_>, role: Role, account: &str) -> String {
    about.sign(json!({
        "type": "user",
        "version": 2,
        "issuer_account": account,
        "tags": [format!("{ROLE_TAG}{role}")],
        "pub": {},
        "sub": {},
    }))
}

/// What a user's statement says. Whether it is true is for the server to judge.
pub fn read_user(statement: &str) -> Result<User, Unreadable> {
    let unreadable = |why: &dyn std::fmt::Display| Unreadable::new("the statement in the credentials", why);
    let claims = statement.split('.').nth(1).ok_or_else(|| unreadable(&"it has no claims"))?;
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|error| unreadable(&error))?;
    let UserOnWire { name, exp, nats } =
        serde_json::from_slice(&claims).map_err(|error| unreadable(&error))?;
    let role = nats.tags.iter().find_map(|tag| Role::from_name(tag.strip_prefix(ROLE_TAG)?));
    Ok(User { name, role: role.ok_or_else(|| unreadable(&"it names no role"))?, expires: exp })
}

/// Whether a statement bears this key's signature.
pub fn is_signed_by(key: &KeyPair, statement: &str) -> bool {
    let Some((text, signature)) = statement.rsplit_once('.') else { return false };
    URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| key.verify(text.as_bytes(), &signature).is_ok())
}

fn scope(role: Role, key: &str) -> Value {
    let permissions = role.permissions();
    let mut template = json!({
        "pub": { "allow": permissions.publish },
        "sub": { "allow": permissions.subscribe },
        "subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED,
    });
    if permissions.answers {
        template["resp"] = json!({ "max": 1, "ttl": ANSWER_NANOSECONDS });
    }
    // A machine that joins has no key that anybody knows: its token is proved in what it says.
    if role == Role::Joining {
        template["bearer_token"] = json!(true);
    }
    json!({ "kind": "user_scope", "key": key, "role": role.as_str(), "template": template })
}

// === impl About ===

impl About<'_> {
    fn sign(&self, nats: Value) -> String {
        const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
        let id = Sha256::digest(format!("{} {} {} {nats}", self.subject, self.name, self.now));
        let statement = Statement {
            jti: URL_SAFE_NO_PAD.encode(id),
            iat: self.now,
            iss: &self.by.public_key(),
            name: self.name,
            sub: self.subject,
            exp: self.expires,
            nats,
        };
        let claims = serde_json::to_vec(&statement).expect("a statement is plain data");
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.by.sign(text.as_bytes()).expect("we hold the whole key");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

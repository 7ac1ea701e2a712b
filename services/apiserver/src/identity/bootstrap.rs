//! Bootstrap tokens: Secrets in `kube-system` that let a machine join, or whoever shows one as a bearer be known as a
//! bootstrapper.
//!
//! ```text
//!  Secret bootstrap-token-<id>, type bootstrap.kubernetes.io/token
//!    token-id, token-secret             the token is <id>.<secret>
//!    expiration                         from then on it is good for nothing, and soon removed
//!    usage-bootstrap-authentication     "true": it may be shown
//!    auth-extra-groups                  further groups of who shows it
//!    node                               ours: only the node of this name may join with it
//!    uses                               ours: how many times it may still be joined with
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::join::Token;
use jiff::Timestamp;
use model::{Key, Object};

use super::AUTHENTICATED;
use crate::verbs::Identity;

/// Where the Secrets are.
pub const NAMESPACE: &str = "kube-system";
/// What they are.
pub const TYPE: &str = "bootstrap.kubernetes.io/token";
/// The field that counts how many times a token may still be joined with.
pub const USES: &str = "uses";
/// Everybody who shows one.
const GROUP: &str = "system:bootstrappers";

/// A token as a Secret holds it.
#[derive(Clone, Debug)]
pub struct BootstrapToken {
    token: Token,
    expires: Expiry,
    may_be_shown: bool,
    groups: Vec<String>,
    node: String,
    uses: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Never,
    At(Timestamp),
    /// Nobody can say when: it counts as over.
    Unreadable,
}

/// Why a token is good for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is for something else.
    #[error("the token is not for joining: usage-bootstrap-authentication is not \"true\"")]
    OtherUse,
    /// It was meant for a few machines, and they have joined.
    #[error("the token is used up")]
    UsedUp,
    /// It is for another node.
    #[error("the token is for the node {0:?}")]
    OtherNode(String),
}

/// The Secret of a token.
pub fn key(id: &str) -> Key {
    Key::object("", "secrets", NAMESPACE, &format!("bootstrap-token-{id}"))
}

// === impl BootstrapToken ===

impl BootstrapToken {
    /// The token in a Secret; `None` when it holds none.
    pub fn read(secret: &Object) -> Option<BootstrapToken> {
        let field = |name: &str| {
            let encoded = secret.at(&["data", name])?.as_str()?;
            String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
        };
        if secret.str_at(&["type"]) != TYPE {
            return None;
        }
        let token = Token::from_parts(&field("token-id")?, &field("token-secret")?).ok()?;
        if secret.name() != key(token.id()).name() {
            return None;
        }
        let expires = match field("expiration").filter(|text| !text.is_empty()) {
            None => Expiry::Never,
            Some(text) => text.parse().map_or(Expiry::Unreadable, Expiry::At),
        };
        let extra = field("auth-extra-groups").unwrap_or_default();
        let groups = extra.split(',').map(str::trim).filter(|group| is_group(group)).map(str::to_owned);
        Some(BootstrapToken {
            token,
            expires,
            may_be_shown: field("usage-bootstrap-authentication").as_deref() == Some("true"),
            groups: groups.collect(),
            node: field("node").unwrap_or_default(),
            // What is no number allows nothing.
            uses: field(USES).map(|text| text.parse().unwrap_or(0)),
        })
    }

    /// The token itself.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// How many times it may still be joined with, if that is counted.
    pub fn uses(&self) -> Option<u64> {
        self.uses
    }

    /// Who shows it.
    pub fn bearer(&self, now: Timestamp) -> Result<Identity, Unfit> {
        self.check(now)?;
        let groups =
            [GROUP.to_owned(), AUTHENTICATED.to_owned()].into_iter().chain(self.groups.iter().cloned());
        let user = format!("system:bootstrap:{}", self.token.id());
        Ok(Identity { user, groups: groups.collect(), ..Identity::default() })
    }

    /// Whether the node of this name may join with it.
    pub fn admits(&self, node: &str, now: Timestamp) -> Result<(), Unfit> {
        self.check(now)?;
        if self.uses == Some(0) {
            return Err(Unfit::UsedUp);
        }
        match self.node.is_empty() || self.node == node {
            true => Ok(()),
            false => Err(Unfit::OtherNode(self.node.clone())),
        }
    }

    fn check(&self, now: Timestamp) -> Result<(), Unfit> {
        let over = match self.expires {
            Expiry::Never => false,
            Expiry::At(end) => end <= now,
            Expiry::Unreadable => true,
        };
        match (over, self.may_be_shown) {
            (true, _) => Err(Unfit::Expired),
            (false, false) => Err(Unfit::OtherUse),
            (false, true) => Ok(()),
        }
    }
}

/// A token gives no group but those of bootstrappers, whatever is written into it.
fn is_group(group: &str) -> bool {
    group.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with(':') && rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(more: &[(&str, &str)]) -> Object {
        let fields = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
        ];
        let fields =
            fields.iter().chain(more).map(|(name, text)| ((*name).to_owned(), json!(STANDARD.encode(text))));
        let data: serde_json::Map<_, _> = fields.collect();
        let metadata = json!({"name": "bootstrap-token-abcdef", "namespace": NAMESPACE});
        Object::from_value(json!({"type": TYPE, "metadata": metadata, "data": data})).unwrap()
    }

    fn read(more: &[(&str, &str)]) -> BootstrapToken {
        BootstrapToken::read(&secret(more)).unwrap()
    }

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn who_shows_a_token_is_a_bootstrapper_and_nothing_more() {
        let groups = "system:bootstrappers:kubeadm:default-node-token, system:masters,system:bootstrappers:";
        let bearer = read(&[("auth-extra-groups", groups)]).bearer(noon()).unwrap();
        assert_eq!(bearer.user, "system:bootstrap:abcdef");
        let expected =
            ["system:bootstrappers", AUTHENTICATED, "system:bootstrappers:kubeadm:default-node-token"];
        assert_eq!(bearer.groups, expected);
    }

    #[test]
    fn a_token_is_good_until_its_time_and_for_what_it_is_for() {
        assert_eq!(read(&[("expiration", "2026-01-01T12:00:01Z")]).admits("a", noon()), Ok(()));
        for over in ["2026-01-01T12:00:00Z", "2025-01-01T13:00:00+01:00", "tomorrow"] {
            assert_eq!(read(&[("expiration", over)]).admits("a", noon()), Err(Unfit::Expired), "{over}");
        }
        let other = read(&[("usage-bootstrap-authentication", "false")]);
        assert_eq!(other.bearer(noon()), Err(Unfit::OtherUse));
    }

    #[test]
    fn a_token_may_be_for_one_node_or_a_number_of_them() {
        let token = read(&[("node", "a")]);
        assert_eq!(token.admits("a", noon()), Ok(()));
        assert_eq!(token.admits("b", noon()), Err(Unfit::OtherNode("a".to_owned())));
        assert_eq!(read(&[(USES, "1")]).admits("b", noon()), Ok(()));
        for none in ["0", "-1", "many"] {
            assert_eq!(read(&[(USES, none)]).admits("b", noon()), Err(Unfit::UsedUp), "{none}");
        }
    }

    #[test]
    fn a_secret_of_another_name_or_type_is_no_token() {
        let mut renamed = secret(&[]);
        renamed.set(&["metadata", "name"], "bootstrap-token-abcdeg");
        assert!(BootstrapToken::read(&renamed).is_none());
        let mut opaque = secret(&[]);
        opaque.set(&["type"], "Opaque");
        assert!(BootstrapToken::read(&opaque).is_none());
    }
}

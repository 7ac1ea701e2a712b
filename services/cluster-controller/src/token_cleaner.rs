//! Bootstrap tokens whose time is over are removed.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::command::{Resource, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::jiff::Timestamp;
use model::Object;
use serde_json::json;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

/// The controller.
#[derive(Debug, Default)]
pub struct TokenCleaner {
    /// Tokens with an end, by the name of their Secret.
    tokens: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    uid: String,
    end: Timestamp,
}

impl Controller for TokenCleaner {
    type Key = String;
    const NAME: &'static str = "token-cleaner";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[("", "secrets")];

    fn observe(&mut self, observed: &Observed) -> Vec<String> {
        match observed {
            Observed::Reset => self.tokens.clear(),
            Observed::Synced => {}
            Observed::Put(item) if item.key.namespace() == NAMESPACE => {
                let name = item.key.name().to_owned();
                // Most Secrets are no tokens, and are told apart without reading what they hold.
                let secret = client::typed::<Object>(&item.key, &item.value);
                let Some(secret) = secret.filter(|secret| secret.str_at(&["type"]) == TYPE) else {
                    return Vec::new();
                };
                let Some(end) = end(&secret) else {
                    self.tokens.remove(&name);
                    return Vec::new();
                };
                self.tokens.insert(name.clone(), Known { uid: secret.uid().to_owned(), end });
                return vec![name];
            }
            Observed::Put(_) => {}
            Observed::Delete { key, .. } if key.namespace() == NAMESPACE => {
                self.tokens.remove(key.name());
            }
            Observed::Delete { .. } => {}
        }
        Vec::new()
    }

    fn decide(&mut self, name: &String, now: Timestamp) -> Decision {
        let Some(known) = self.tokens.get(name) else {
            return Decision { reason: "the token is gone", ..Decision::default() };
        };
        if known.end > now {
            let left = Duration::try_from(known.end.duration_since(now)).unwrap_or_default();
            return Decision {
                again_after: Some(left),
                reason: "its time is not over",
                ..Decision::default()
            };
        }
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": known.uid},
        });
        let remove = Write::Delete {
            resource: Resource::new("", "v1", "secrets"),
            namespace: NAMESPACE.to_owned(),
            name: name.clone(),
            options: options.to_string().into(),
        };
        Decision { writes: vec![remove], reason: "its time is over", ..Decision::default() }
    }
}

/// When a token is over; `None` for one that never is, or that nobody can say it of.
fn end(secret: &Object) -> Option<Timestamp> {
    let text = STANDARD.decode(secret.str_at(&["data", "expiration"])).ok()?;
    std::str::from_utf8(&text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use model::{Key, Revision};
    use store::Item;

    use super::*;

    fn put(cleaner: &mut TokenCleaner, name: &str, type_: &str, expiration: &str) -> Vec<String> {
        let secret = json!({
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": "u"}, "type": type_,
            "data": {"expiration": STANDARD.encode(expiration)},
        });
        let key = Key::object("", "secrets", NAMESPACE, name);
        let item =
            Item { key, revision: Revision(1), created: Revision(1), value: secret.to_string().into() };
        cleaner.observe(&Observed::Put(item))
    }

    #[test]
    fn a_token_goes_at_its_end_and_not_before() {
        let mut cleaner = TokenCleaner::default();
        let name = "bootstrap-token-abcdef".to_owned();
        assert_eq!(put(&mut cleaner, &name, TYPE, "1970-01-01T00:01:00Z"), std::slice::from_ref(&name));
        let before = cleaner.decide(&name, Timestamp::UNIX_EPOCH);
        assert!(before.writes.is_empty());
        assert_eq!(before.again_after, Some(Duration::from_secs(60)));
        let after = cleaner.decide(&name, Timestamp::from_second(60).unwrap());
        let [Write::Delete { name: removed, options, .. }] = &after.writes[..] else { panic!("{after:?}") };
        assert_eq!(removed, &name);
        assert!(String::from_utf8_lossy(options).contains(r#""uid":"u""#));
    }

    #[test]
    fn other_secrets_and_tokens_without_an_end_stay() {
        let mut cleaner = TokenCleaner::default();
        assert!(put(&mut cleaner, "a", "Opaque", "1970-01-01T00:01:00Z").is_empty());
        assert!(put(&mut cleaner, "b", TYPE, "").is_empty());
        assert!(cleaner.decide(&"b".to_owned(), Timestamp::from_second(60).unwrap()).writes.is_empty());
    }
}

//! What each namespace is given: the ServiceAccount `default`, and the cluster's CA as a ConfigMap.

use std::collections::{HashMap, HashSet};

use bus::command::{Resource, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::{Value, json};

const ACCOUNT: &str = "default";
const CA_CONFIG_MAP: &str = "kube-root-ca.crt";

/// The controller.
#[derive(Debug)]
pub struct Accounts {
    ca: Option<String>,
    /// Namespaces that live.
    namespaces: HashSet<String>,
    /// Namespaces that have the account.
    accounts: HashSet<String>,
    /// The CA that each namespace's ConfigMap holds.
    published: HashMap<String, String>,
}

// === impl Accounts ===

impl Accounts {
    /// Publishes `ca` (PEM) where there is one.
    pub fn new(ca: Option<String>) -> Self {
        Accounts { ca, namespaces: HashSet::new(), accounts: HashSet::new(), published: HashMap::new() }
    }

    fn put(&mut self, key: &Key, object: &Value) {
        let namespace = key.namespace().to_owned();
        match (key.resource(), key.name()) {
            ("namespaces", name) => {
                if object["metadata"]["deletionTimestamp"].is_null() {
                    self.namespaces.insert(name.to_owned());
                } else {
                    self.namespaces.remove(name);
                }
            }
            ("serviceaccounts", ACCOUNT) => {
                self.accounts.insert(namespace);
            }
            ("configmaps", CA_CONFIG_MAP) => {
                let ca = object["data"]["ca.crt"].as_str().unwrap_or_default().to_owned();
                self.published.insert(namespace, ca);
            }
            _ => {}
        }
    }

    fn delete(&mut self, key: &Key) {
        match (key.resource(), key.name()) {
            ("namespaces", name) => {
                self.namespaces.remove(name);
            }
            ("serviceaccounts", ACCOUNT) => {
                self.accounts.remove(key.namespace());
            }
            ("configmaps", CA_CONFIG_MAP) => {
                self.published.remove(key.namespace());
            }
            _ => {}
        }
    }
}

impl Controller for Accounts {
    type Key = String;
    const NAME: &'static str = "serviceaccount-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] =
        &[("", "namespaces"), ("", "serviceaccounts"), ("", "configmaps")];

    fn observe(&mut self, observed: &Observed) -> Vec<String> {
        let key = match observed {
            Observed::Reset => {
                *self = Accounts::new(self.ca.take());
                return Vec::new();
            }
            Observed::Synced => return Vec::new(),
            Observed::Put(item) => {
                let Some(object) = client::typed(&item.key, &item.value) else { return Vec::new() };
                self.put(&item.key, &object);
                &item.key
            }
            Observed::Delete { key, .. } => {
                self.delete(key);
                key
            }
        };
        let namespace = if key.resource() == "namespaces" { key.name() } else { key.namespace() };
        let concerns = key.resource() == "namespaces" || [ACCOUNT, CA_CONFIG_MAP].contains(&key.name());
        if concerns { vec![namespace.to_owned()] } else { Vec::new() }
    }

    fn decide(&mut self, namespace: &String, _now: Timestamp) -> Decision {
        if !self.namespaces.contains(namespace) {
            return Decision { reason: "the namespace ends or is gone", ..Decision::default() };
        }
        let mut writes = Vec::new();
        if !self.accounts.contains(namespace) {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace},
            });
            writes.push(create("serviceaccounts", namespace, &account));
        }
        if let Some(ca) = &self.ca {
            let config_map = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": CA_CONFIG_MAP, "namespace": namespace, "annotations": {
                    "kubernetes.io/description": "The CA certificate by which pods know the API server.",
                }},
                "data": {"ca.crt": ca},
            });
            match self.published.get(namespace) {
                None => writes.push(create("configmaps", namespace, &config_map)),
                Some(published) if published != ca => writes.push(Write::Update {
                    resource: Resource::new("", "v1", "configmaps"),
                    namespace: namespace.clone(),
                    name: CA_CONFIG_MAP.to_owned(),
                    subresource: String::new(),
                    object: config_map.to_string().into(),
                }),
                Some(_) => {}
            }
        }
        Decision { writes, reason: "each namespace has an account and the CA", ..Decision::default() }
    }
}

fn create(plural: &str, namespace: &str, object: &Value) -> Write {
    Write::Create {
        resource: Resource::new("", "v1", plural),
        namespace: namespace.to_owned(),
        object: object.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Revision;
    use store::Item;

    fn put(accounts: &mut Accounts, key: Key, object: Value) -> Vec<String> {
        let item =
            Item { key, revision: Revision(9), created: Revision(9), value: object.to_string().into() };
        accounts.observe(&Observed::Put(item))
    }

    #[test]
    fn a_new_namespace_gets_its_account_and_the_ca_once() {
        let mut accounts = Accounts::new(Some("PEM".to_owned()));
        let namespace = json!({"metadata": {"name": "a"}});
        let keys = put(&mut accounts, Key::object("", "namespaces", "", "a"), namespace);
        assert_eq!(keys, ["a"]);
        assert_eq!(accounts.decide(&"a".to_owned(), Timestamp::UNIX_EPOCH).writes.len(), 2);
        put(&mut accounts, Key::object("", "serviceaccounts", "a", ACCOUNT), json!({"metadata": {}}));
        let ca = json!({"metadata": {}, "data": {"ca.crt": "PEM"}});
        put(&mut accounts, Key::object("", "configmaps", "a", CA_CONFIG_MAP), ca);
        assert!(accounts.decide(&"a".to_owned(), Timestamp::UNIX_EPOCH).writes.is_empty());
    }
}

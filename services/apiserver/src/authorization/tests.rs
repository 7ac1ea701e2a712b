use model::Reason;
use serde_json::{Value, json};
use store::memory::{Faults, MemoryLog};
use store::{Action, Expect, HistoryBounds, Op, Options, Store, Txn};

use super::*;

struct Rig {
    store: Store,
    authorizer: Authorizer,
}

impl Rig {
    async fn start(changes: usize) -> Rig {
        let options = Options { history: HistoryBounds { changes, bytes: usize::MAX }, ..Options::default() };
        let store = Store::open(MemoryLog::new(1, Faults::default()), options).await.expect("a store");
        Rig { authorizer: Authorizer::new(store.clone()), store }
    }

    async fn put(&self, path: &str, object: Value) {
        let bytes = Object::from_value(object).expect("an object").encode();
        self.write(path, Action::Put(bytes)).await;
    }

    async fn write(&self, path: &str, action: Action) {
        let (resource, name) = path.split_once('/').expect("a path");
        let key = Key::object(GROUP, resource, "", name);
        let op = Op { key, expect: Expect::Any, action };
        let txn = Txn { ops: vec![op], ..Txn::default() };
        self.store.commit(txn).await.expect("a commit");
    }

    async fn role(&self, verbs: &[&str]) {
        let rule = json!({"verbs": verbs, "apiGroups": [""], "resources": ["pods"]});
        self.put("clusterroles/r", json!({ "rules": [rule] })).await;
    }

    async fn binding(&self, user: &str) {
        let role = json!({"kind": "ClusterRole", "name": "r"});
        let subject = json!({"kind": "User", "name": user});
        self.put("clusterrolebindings/b", json!({ "roleRef": role, "subjects": [subject] })).await;
    }

    async fn may(&self, user: &str, verb: &str) -> bool {
        let identity = Identity { user: user.to_owned(), ..Identity::default() };
        let pods = Resource { resource: "pods", ..Resource::default() };
        let asked = self.authorizer.authorize(&identity, &Attributes::resource(verb, pods)).await;
        if let Err(refused) = &asked {
            assert_eq!(refused.reason, Reason::Forbidden);
        }
        asked.is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_counts_at_once() {
    let rig = Rig::start(1_000).await;
    assert!(!rig.may("jane", "get").await);
    rig.role(&["get"]).await;
    rig.binding("jane").await;
    assert!(rig.may("jane", "get").await && !rig.may("jane", "list").await && !rig.may("joe", "get").await);
    rig.role(&["list"]).await;
    assert!(!rig.may("jane", "get").await && rig.may("jane", "list").await);
    rig.binding("joe").await;
    assert!(!rig.may("jane", "list").await && rig.may("joe", "list").await);
    rig.write("clusterrolebindings/b", Action::Delete).await;
    assert!(!rig.may("joe", "list").await);
}

#[tokio::test(start_paused = true)]
async fn who_did_not_ask_for_long_reads_everything_again() {
    let rig = Rig::start(5).await;
    rig.role(&["get"]).await;
    rig.binding("jane").await;
    assert!(rig.may("jane", "get").await);
    for _ in 0..20 {
        rig.role(&["list"]).await;
    }
    assert!(rig.may("jane", "list").await && !rig.may("jane", "get").await);
}

#[tokio::test(start_paused = true)]
async fn masters_may_do_everything_whatever_the_roles_say() {
    let rig = Rig::start(10).await;
    let groups = vec![MASTERS.to_owned()];
    let master = Identity { user: "root".to_owned(), groups, ..Identity::default() };
    assert!(rig.authorizer.authorize(&master, &Attributes::path("delete", "/")).await.is_ok());
    assert!(rig.authorizer.permissions(&master).is_unlimited());
}

#[tokio::test(start_paused = true)]
async fn more_groups_are_other_permissions() {
    let rig = Rig::start(100).await;
    rig.role(&["get"]).await;
    let role = json!({"kind": "ClusterRole", "name": "r"});
    let subject = json!({"kind": "Group", "name": "dev"});
    rig.put("clusterrolebindings/b", json!({ "roleRef": role, "subjects": [subject] })).await;
    let pods = Resource { resource: "pods", ..Resource::default() };
    for (group, expected) in [("dev", true), ("ops", false), ("dev", true), ("a", false), ("b", false)] {
        let identity =
            Identity { user: "jane".to_owned(), groups: vec![group.to_owned()], ..Identity::default() };
        let permissions = rig.authorizer.permissions(&identity);
        assert_eq!(permissions.allows(&Attributes::resource("get", pods)), expected, "{group}");
    }
}

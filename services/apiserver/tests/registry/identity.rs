use std::time::Duration;

use apiserver::authorization::{Attributes, Resource};
use apiserver::http::authenticate::from_token;
use apiserver::nodes::tokens;
use apiserver::registry::bootstrap;
use apiserver::verbs::Identity;
use bus::node::TokenWish;
use jiff::{SignedDuration, Timestamp};
use model::Status;
use serde_json::{Value, json};
use store::memory::Faults;

use crate::cluster::{Cluster, context, identity, now, pod, value};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const RBAC: &str = "rbac.authorization.k8s.io";

fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

async fn token(cluster: &Cluster, account: &str, spec: Value) -> Result<Value, Status> {
    let made =
        cluster.try_create(&format!("serviceaccounts/{account}/token"), json!({ "spec": spec })).await?;
    Ok(value(&made.object))
}

async fn text_of(cluster: &Cluster, account: &str, spec: Value) -> String {
    let made = token(cluster, account, spec).await.expect("a token");
    made["status"]["token"].as_str().expect("a token").to_owned()
}

async fn bearer(cluster: &Cluster, token: &str, when: Timestamp) -> Result<Identity, u16> {
    from_token(&cluster.registry, token, when).await.map_err(|refused| refused.code())
}

async fn review(cluster: &Cluster, path: &str, who: &Identity, spec: Value) -> Value {
    let answer = cluster.try_create_as(who, path, json!({ "spec": spec })).await;
    value(&answer.unwrap_or_else(|refused| panic!("{path}: {refused}")).object)["status"].clone()
}

// === tokens ===

#[tokio::test(start_paused = true)]
async fn whoever_shows_the_token_of_an_account_is_that_account_while_it_lasts() {
    let cluster = Cluster::start().await;
    let made = token(&cluster, "default", json!({})).await.expect("a token");
    assert_eq!((&made["kind"], &made["metadata"]["name"]), (&json!("TokenRequest"), &json!("default")));
    assert_eq!(made["spec"]["audiences"], json!([ISSUER]));
    assert_eq!(made["spec"]["expirationSeconds"], 3_600);
    assert_eq!(made["status"]["expirationTimestamp"], "2026-01-01T01:00:00Z");
    let text = made["status"]["token"].as_str().expect("a token");

    let who = bearer(&cluster, text, now()).await.expect("a good token");
    assert_eq!(who.user, "system:serviceaccount:default:default");
    assert_eq!(
        who.groups,
        ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    );
    let account = cluster.get("serviceaccounts/default").await;
    assert_eq!(account["metadata"]["uid"], who.uid);
    assert_eq!(bearer(&cluster, text, later(3_700)).await, Err(401), "its time is over");
    assert_eq!(bearer(&cluster, &text.replace("ey", "ez"), now()).await, Err(401));

    let other = Cluster::start().await;
    assert_eq!(bearer(&other, text, now()).await, Err(401), "another cluster's key");

    cluster.delete("serviceaccounts/default").await;
    assert_eq!(bearer(&cluster, text, now()).await, Err(401), "the account is gone");
    cluster.create("serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    assert_eq!(bearer(&cluster, text, now()).await, Err(401), "another account of that name");
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_the_pod_that_it_is_bound_to() {
    let cluster = Cluster::start().await;
    let made = cluster.create("pods", pod("a")).await;
    let bound = json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "a", "uid": made["metadata"]["uid"]}});
    let text = text_of(&cluster, "default", bound).await;
    let who = bearer(&cluster, &text, now()).await.expect("a good token");
    assert_eq!(who.extra["authentication.kubernetes.io/pod-name"], ["a"]);
    assert!(who.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
    cluster.delete("pods/a").await;
    assert_eq!(bearer(&cluster, &text, now()).await, Err(401));
    cluster.create("pods", pod("a")).await;
    assert_eq!(bearer(&cluster, &text, now()).await, Err(401), "another pod of that name");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_not_made() {
    let cluster = Cluster::start().await;
    cluster.create("serviceaccounts", json!({"metadata": {"name": "other"}})).await;
    cluster.create("pods", pod("a")).await;
    let of_pod = |name: &str, uid: &str| json!({"boundObjectRef": {"kind": "Pod", "name": name, "uid": uid}});
    let cases = [
        ("nobody", json!({}), 404, "serviceaccounts \"nobody\" not found"),
        (
            "default",
            json!({"expirationSeconds": 599}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not \
             specify a duration less than 10 minutes",
        ),
        ("default", of_pod("b", ""), 404, "pods \"b\" not found"),
        ("default", json!({"boundObjectRef": {"kind": "ConfigMap", "name": "a"}}), 400, "cannot bind token"),
        ("default", of_pod("a", "x"), 409, "does not match the UID in record"),
        ("other", of_pod("a", ""), 400, "to pod running with different serviceaccount name."),
    ];
    for (account, spec, code, why) in cases {
        let refused = token(&cluster, account, spec.clone()).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{spec} {refused}");
        assert!(refused.message.contains(why), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_for_those_whom_it_names() {
    let cluster = Cluster::start().await;
    let text = text_of(&cluster, "default", json!({"audiences": ["vault", "ci"]})).await;
    assert_eq!(bearer(&cluster, &text, now()).await, Err(401), "not for the API server");
    let asked = async |audiences: Value| {
        review(
            &cluster,
            "tokenreviews.authentication.k8s.io",
            &context().identity,
            json!({"token": text, "audiences": audiences}),
        )
        .await
    };
    let known = asked(json!(["vault", "elsewhere"])).await;
    assert_eq!((&known["authenticated"], &known["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:default");
    let unknown = asked(json!([])).await;
    assert_eq!(unknown["authenticated"], false);
    assert!(unknown["error"].as_str().expect("why").contains("is invalid for the target audiences"));
    let rubbish = review(
        &cluster,
        "tokenreviews.authentication.k8s.io",
        &context().identity,
        json!({"token": "rubbish"}),
    )
    .await;
    assert_eq!(rubbish["error"], "invalid bearer token");
}

#[tokio::test(start_paused = true)]
async fn a_node_gets_tokens_for_its_own_pods_as_their_volumes_ask() {
    let cluster = Cluster::start().await;
    let made = cluster.create("pods", pod("a")).await;
    cluster.run("a", "n1").await;
    let uid = made["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let wish = TokenWish {
        namespace: "default".to_owned(),
        pod: "a".to_owned(),
        uid: uid.clone(),
        audience: String::new(),
        seconds: 3_607,
    };
    let ask = async |node: &str, wish: &TokenWish| {
        tokens::handle(&cluster.registry, node, wish, now()).await.map_err(|refused| refused.code())
    };
    let made = ask("n1", &wish).await.expect("a token");
    assert_eq!(made.expires_ms, u64::try_from(later(3_607).as_millisecond()).expect("after 1970"));
    let who = bearer(&cluster, &made.token, now()).await.expect("a good token");
    assert_eq!(who.extra["authentication.kubernetes.io/node-name"], ["n1"]);
    let refused = [
        ("n2", wish.clone(), 403),
        ("n1", TokenWish { audience: "vault".to_owned(), ..wish.clone() }, 403),
        ("n1", TokenWish { uid: "x".to_owned(), ..wish.clone() }, 409),
        ("n1", TokenWish { pod: "b".to_owned(), ..wish.clone() }, 404),
        ("n1", TokenWish { seconds: 1, ..wish }, 422),
    ];
    for (node, wish, code) in refused {
        assert_eq!(ask(node, &wish).await.map(drop), Err(code), "{node} {wish:?}");
    }
}

// === who may what ===

fn may(verb: &str, resource: &str, namespace: &str) -> Value {
    let (group, resource) = resource.split_once(':').unwrap_or(("", resource));
    json!({"resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace}})
}

#[tokio::test(start_paused = true)]
async fn a_cluster_begins_with_roles_that_can_be_used() {
    let cluster = Cluster::start().await;
    cluster.grant("vera", "view").await;
    cluster.grant("eda", "edit").await;
    cluster.grant("ada", "admin").await;
    let can = async |user: &str, spec: Value| {
        let who = identity(user, &["system:authenticated"]);
        review(&cluster, "selfsubjectaccessreviews.authorization.k8s.io", &who, spec).await["allowed"] == true
    };
    let cases = [
        ("vera", may("list", "apps:deployments", "default"), true),
        ("vera", may("get", "secrets", "default"), false),
        ("vera", may("create", "pods", "default"), false),
        ("eda", may("list", "pods", "default"), true),
        ("eda", may("get", "secrets", "default"), true),
        ("eda", may("create", "apps:deployments", "default"), true),
        ("eda", may("create", "rbac.authorization.k8s.io:roles", "default"), false),
        ("ada", may("create", "rbac.authorization.k8s.io:roles", "default"), true),
        ("ada", may("delete", "pods", "default"), true),
        ("ada", may("delete", "nodes", ""), false),
        ("nobody", json!({"nonResourceAttributes": {"verb": "get", "path": "/apis/apps"}}), true),
        ("nobody", json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}), false),
        ("system:serviceaccount:kube-system:job-controller", may("create", "pods", "x"), true),
        ("system:serviceaccount:other:job-controller", may("create", "pods", "x"), false),
    ];
    for (user, spec, expected) in cases {
        assert_eq!(can(user, spec.clone()).await, expected, "{user} {spec}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_by_a_server_that_is_behind() {
    let slow = Faults { delay: Duration::from_millis(50), ..Faults::default() };
    let cluster = Cluster::start_with(slow).await;
    let other = cluster.another().await;
    let vera = identity("vera", &[]);
    let pods = Resource { resource: "pods", ..Resource::default() };
    let wanted = Attributes::resource("list", pods);
    for _ in 0..20 {
        assert!(other.registry.authorizer().authorize(&vera, &wanted).await.is_err());
        cluster.grant("vera", "view").await;
        other.registry.authorizer().authorize(&vera, &wanted).await.expect("it was granted before she asked");
        cluster.delete(&format!("clusterrolebindings.{RBAC}/view-vera")).await;
        other.registry.catch_up("").await.expect("the log is there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_start_writes_only_what_differs() {
    let cluster = Cluster::start().await;
    let before = cluster.registry.store().revision();
    let again = cluster.another().await;
    bootstrap::ensure(&again.registry, &context(), 6443).await.expect("a second start");
    assert_eq!(again.registry.store().revision(), before);
    let path = format!("clusterroles.{RBAC}/cluster-admin");
    cluster.merge(&path, json!({"rules": []})).await;
    bootstrap::ensure(&again.registry, &context(), 6443).await.expect("a third start");
    assert_eq!(cluster.get(&path).await["rules"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(start_paused = true)]
async fn reviews_say_who_may_what_and_why() {
    let cluster = Cluster::start().await;
    cluster.grant("vera", "view").await;
    let admin = context().identity;
    let path = "subjectaccessreviews.authorization.k8s.io";
    let mut spec = may("list", "pods", "default");
    spec["user"] = json!("vera");
    let answer = review(&cluster, path, &admin, spec).await;
    let reason = "RBAC: allowed by ClusterRoleBinding \"view-vera\" of ClusterRole \"view\" to User \"vera\"";
    assert_eq!(answer, json!({"allowed": true, "reason": reason}));
    let mut spec = may("list", "pods", "default");
    spec["groups"] = json!(["system:masters"]);
    assert_eq!(review(&cluster, path, &admin, spec).await, json!({"allowed": true}));

    let refused = cluster.try_create(path, json!({"spec": {}})).await.expect_err("nothing asked");
    assert_eq!(
        refused.message,
        "SubjectAccessReview.authorization.k8s.io \"\" is invalid: [spec.resourceAttributes: Invalid value: null: \
         exactly one of nonResourceAttributes or resourceAttributes must be specified, spec.user: Invalid value: \
         \"\": at least one of user or group must be specified]"
    );

    let local = "localsubjectaccessreviews.authorization.k8s.io";
    let mut spec = may("list", "pods", "default");
    spec["user"] = json!("vera");
    assert_eq!(review(&cluster, local, &admin, spec.clone()).await["allowed"], true);
    let elsewhere = cluster.try_create(&format!("other:{local}"), json!({ "spec": spec })).await;
    assert_eq!(elsewhere.expect_err("another namespace").code(), 422);
}

#[tokio::test(start_paused = true)]
async fn everybody_is_told_who_they_are_and_what_they_may() {
    let cluster = Cluster::start().await;
    let jane = identity("jane", &["dev", "system:authenticated"]);
    let who = review(&cluster, "selfsubjectreviews.authentication.k8s.io", &jane, json!(null)).await;
    let info = json!({"username": "jane", "groups": ["dev", "system:authenticated"]});
    assert_eq!(who, json!({ "userInfo": info }));
    let list = "selfsubjectrulesreviews.authorization.k8s.io";
    let rules = review(&cluster, list, &jane, json!({"namespace": "default"})).await;
    let resources = rules["resourceRules"].as_array().expect("rules");
    assert!(resources.contains(&json!({
        "verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]
    })));
    assert_eq!(rules["incomplete"], false);
    let all = review(&cluster, list, &context().identity, json!({"namespace": "default"})).await;
    assert_eq!(all["resourceRules"], json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]));
    assert_eq!(all["nonResourceRules"], json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]));
}

// === who may grant ===

#[tokio::test(start_paused = true)]
async fn nobody_grants_what_they_do_not_have() {
    let cluster = Cluster::start().await;
    let binding = json!({
        "metadata": {"name": "ada"}, "roleRef": {"kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": "ada"}]
    });
    cluster.create(&format!("rolebindings.{RBAC}"), binding).await;
    let ada = identity("ada", &["system:authenticated"]);
    let role = |name: &str, verbs: &[&str], resource: &str| json!({"metadata": {"name": name}, "rules": [{"verbs": verbs, "apiGroups": [""], "resources": [resource]}]});
    let roles = format!("roles.{RBAC}");
    cluster
        .try_create_as(&ada, &roles, role("pods", &["get"], "pods"))
        .await
        .expect("she may do that herself");
    let refused = cluster.try_create_as(&ada, &roles, role("nodes", &["get", "list"], "nodes")).await;
    assert_eq!(
        refused.expect_err("she may not").message,
        "roles.rbac.authorization.k8s.io \"nodes\" is forbidden: user \"ada\" (groups=[\"system:authenticated\"]) is \
         attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}\n\
         {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"list\"]}"
    );
    let bind = |name: &str, role: &str| {
        json!({
            "metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "joe"}]
        })
    };
    let bindings = format!("rolebindings.{RBAC}");
    cluster.try_create_as(&ada, &bindings, bind("view", "view")).await.expect("less than she has");
    let refused = cluster.try_create_as(&ada, &bindings, bind("all", "cluster-admin")).await;
    assert_eq!(refused.expect_err("more than she has").code(), 403);

    let allow = json!({"metadata": {"name": "binder"}, "rules": [
        {"verbs": ["bind"], "apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": ["cluster-admin"]}
    ]});
    cluster.create(&format!("clusterroles.{RBAC}"), allow).await;
    cluster.grant("ada", "binder").await;
    cluster.try_create_as(&ada, &bindings, bind("all", "cluster-admin")).await.expect("she may bind it now");
}

// === pods ===

#[tokio::test(start_paused = true)]
async fn a_pod_has_the_token_of_its_account_mounted_unless_told_otherwise() {
    let cluster = Cluster::start().await;
    let made = cluster.create("pods", pod("a")).await;
    let volume = &made["spec"]["volumes"][0];
    assert!(volume["name"].as_str().expect("a name").starts_with("kube-api-access-"), "{volume}");
    assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3_607);
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount["name"], volume["name"]);

    let mut without = pod("b");
    without["spec"]["automountServiceAccountToken"] = json!(false);
    assert_eq!(cluster.create("pods", without).await["spec"].get("volumes"), None);

    let account = json!({
        "metadata": {"name": "quiet"}, "automountServiceAccountToken": false,
        "imagePullSecrets": [{"name": "registry"}]
    });
    cluster.create("serviceaccounts", account).await;
    let mut quiet = pod("c");
    quiet["spec"]["serviceAccountName"] = json!("quiet");
    let made = cluster.create("pods", quiet).await;
    assert_eq!(made["spec"].get("volumes"), None);
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));

    cluster.create("namespaces", json!({"metadata": {"name": "new"}})).await;
    let mut early = pod("d");
    early["metadata"]["namespace"] = json!("new");
    let refused = cluster.try_create("new:pods", early).await.expect_err("it has no account yet");
    assert_eq!(
        refused.message,
        "pods \"d\" is forbidden: error looking up service account new/default: serviceaccount \"default\" not found"
    );
}

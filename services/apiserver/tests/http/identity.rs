//! Who asks, and whether they may.

use serde_json::{Value, json};

use crate::raw::{Answer, Raw};
use crate::server::{FIXED_TOKEN, Server};

const PODS: &str = "/api/v1/namespaces/default/pods";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const JSON: (&str, &str) = ("content-type", "application/json");

async fn nobody(server: &Server) -> Raw {
    Raw::connect(server.folder.path(), server.port, false, "http/1.1").await
}

async fn post(raw: &mut Raw, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    raw.send("POST", path, &[&[JSON], headers].concat(), body.to_string().as_bytes()).await
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

/// A token of the account `default`, as it stands in the header.
async fn account_token(server: &Server) -> String {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = post(&mut server.raw().await, path, &[], &json!({})).await;
    assert_eq!(made.code, 201, "{}", made.text());
    made.json()["status"]["token"].as_str().unwrap().to_owned()
}

/// Lets a user do something with pods in the namespace `default`.
async fn allow(server: &Server, subject: Value, verbs: &[&str], resource: &str) {
    let mut admin = server.raw().await;
    let rule = json!({"verbs": verbs, "apiGroups": [""], "resources": [resource]});
    let role = json!({"metadata": {"name": "r"}, "rules": [rule]});
    let roles = format!("{RBAC}/namespaces/default/roles");
    if post(&mut admin, &roles, &[], &role).await.code == 409 {
        admin.send("PUT", &format!("{roles}/r"), &[JSON], role.to_string().as_bytes()).await;
    }
    let binding = json!({
        "metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [subject]
    });
    post(&mut admin, &format!("{RBAC}/namespaces/default/rolebindings"), &[], &binding).await;
}

#[tokio::test]
async fn whoever_shows_a_token_may_what_the_roles_say() {
    let server = Server::start().await;
    let bearer = format!("Bearer {}", account_token(&server).await);
    let shown = [("authorization", bearer.as_str())];
    let mut raw = nobody(&server).await;
    let refused = raw.send("GET", PODS, &shown, b"").await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        message(&refused),
        "pods is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"pods\" in API group \
         \"\" in the namespace \"default\""
    );
    allow(
        &server,
        json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"}),
        &["list"],
        "pods",
    )
    .await;
    assert_eq!(raw.send("GET", PODS, &shown, b"").await.code, 200);
    assert_eq!(raw.send("GET", "/api/v1/pods", &shown, b"").await.code, 403);
    assert_eq!(raw.send("GET", "/apis", &shown, b"").await.code, 200);
    assert_eq!(raw.send("GET", "/metrics", &shown, b"").await.code, 403);
    let keys = raw.send("GET", "/openid/v1/jwks", &shown, b"").await;
    assert_eq!(keys.header("content-type"), "application/jwk-set+json");
    assert_eq!(keys.json()["keys"][0]["kty"], "EC");
    let told = raw.send("GET", "/.well-known/openid-configuration", &shown, b"").await.json();
    assert_eq!(told["jwks_uri"], "https://kubernetes.default.svc.cluster.local/openid/v1/jwks");
}

#[tokio::test]
async fn a_token_of_the_file_is_whoever_the_file_says_and_any_other_is_nobody() {
    let server = Server::start().await;
    let mut raw = nobody(&server).await;
    let fixed = format!("Bearer {FIXED_TOKEN}");
    let me = post(
        &mut raw,
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        &[("authorization", &fixed)],
        &json!({}),
    )
    .await;
    let info = json!({"username": "jane", "uid": "7", "groups": ["dev", "system:authenticated"]});
    assert_eq!((me.code.as_u16(), &me.json()["status"]["userInfo"]), (201, &info));
    let issuer = raw.send("GET", "/openid/v1/jwks", &[("authorization", &fixed)], b"").await;
    assert_eq!(issuer.code, 403, "the keys are for service accounts");
    for wrong in ["Bearer other", "Bearer a.b.c"] {
        assert_eq!(raw.send("GET", PODS, &[("authorization", wrong)], b"").await.code, 401, "{wrong}");
        let public = raw.send("GET", "/version", &[("authorization", wrong)], b"").await;
        assert_eq!(public.code, 401, "a wrong token is not passed over in silence");
    }
    assert_eq!(raw.get(PODS).await.code, 401);
    assert_eq!(raw.get("/apis").await.code, 401);
    assert_eq!(raw.get("/version").await.code, 200);
    assert_eq!(raw.get("/readyz").await.code, 200);
}

#[tokio::test]
async fn who_may_impersonate_is_treated_as_somebody_else() {
    let server = Server::start().await;
    let mut admin = server.raw().await;
    let as_joe = [("impersonate-user", "joe")];
    let refused = admin.send("GET", PODS, &as_joe, b"").await;
    assert!(message(&refused).contains("User \"joe\" cannot list resource \"pods\""), "{}", refused.text());
    allow(&server, json!({"kind": "Group", "name": "dev"}), &["list"], "pods").await;
    assert_eq!(admin.send("GET", PODS, &[as_joe[0], ("impersonate-group", "dev")], b"").await.code, 200);
    assert_eq!(admin.send("GET", PODS, &[("impersonate-group", "dev")], b"").await.code, 400);

    let mut jane = nobody(&server).await;
    let fixed = format!("Bearer {FIXED_TOKEN}");
    let refused = jane.send("GET", PODS, &[as_joe[0], ("authorization", &fixed)], b"").await;
    assert_eq!(
        message(&refused),
        "users \"joe\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the \
         cluster scope"
    );
}

#[tokio::test]
async fn a_web_socket_into_a_pod_needs_create_as_the_older_way_does() {
    let server = Server::start().await;
    let fixed = format!("Bearer {FIXED_TOKEN}");
    let shown = [("authorization", fixed.as_str())];
    let mut jane = nobody(&server).await;
    let exec = format!("{PODS}/a/exec?command=sh");
    allow(&server, json!({"kind": "User", "name": "jane"}), &["get"], "pods/exec").await;
    let refused = jane.send("GET", &exec, &shown, b"").await;
    assert!(message(&refused).contains("cannot create resource \"pods/exec\""), "{}", refused.text());
    allow(&server, json!({"kind": "User", "name": "jane"}), &["get", "create"], "pods/exec").await;
    assert_ne!(jane.send("GET", &exec, &shown, b"").await.code, 403);
}

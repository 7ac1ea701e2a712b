use apiserver::nodes::joining::{self, Admission};
use apiserver::nodes::{heartbeats::Beat, report};
use bus::join::{Answer, Ask, Cluster as Told, LIFE_SECONDS, Renew, Token};
use bus::node::Report;
use bus::security::{Authority, Credentials, Role};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::cluster::{Cluster, now};

const SECRETS: &str = "kube-system:secrets";

fn token() -> Token {
    "abcdef.0123456789abcdef".parse().expect("a token")
}

fn secret(more: Value) -> Value {
    let mut fields = json!({
        "token-id": token().id(), "token-secret": token().secret(), "usage-bootstrap-authentication": "true",
    });
    for (name, text) in more.as_object().expect("fields") {
        fields[name] = text.clone();
    }
    let metadata = json!({"name": "bootstrap-token-abcdef", "namespace": "kube-system"});
    json!({"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "stringData": fields})
}

fn admission() -> Admission {
    let cluster = Told { pods: "10.244.0.0/16".to_owned(), ..Told::default() };
    Admission { signer: Authority::new(0).signer(Role::Node), cluster }
}

fn key() -> (String, String) {
    Credentials::new_key()
}

/// What the machine hears, as an HTTP code where it is a no.
async fn join(cluster: &Cluster, node: &str, ask: &Ask) -> Result<Credentials, (u16, String)> {
    let answer: Answer = joining::join(&cluster.registry, &admission(), node, ask, now()).await;
    let welcome = answer.map_err(|status| (status.code(), status.message))?;
    assert!(token().proves_welcome(&ask.public_key, &welcome));
    let (seed, _) = key();
    Ok(Credentials::new(&welcome.statement, &seed).expect("a statement"))
}

#[tokio::test(start_paused = true)]
async fn whoever_proves_a_token_gets_credentials_of_the_node_that_it_named_and_no_other() {
    let cluster = Cluster::start().await;
    cluster.create(SECRETS, secret(json!({}))).await;
    let ask = token().ask("a.example", &key().1);
    let credentials = join(&cluster, "a.example", &ask).await.expect("admitted");
    assert_eq!((credentials.name(), credentials.role()), ("a%2eexample", Role::Node));
    assert_eq!(credentials.expires(), Some(now().as_second() + LIFE_SECONDS));
    let (code, why) = join(&cluster, "b", &ask).await.expect_err("the proof is for another node");
    assert_eq!((code, why.contains("not known")), (401, true));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_forged_expired_used_up_or_anothers_admits_nobody() {
    let cluster = Cluster::start().await;
    let ask = token().ask("a", &key().1);
    assert_eq!(join(&cluster, "a", &ask).await.expect_err("there is none").0, 401);
    for (fields, reason) in [
        (json!({"expiration": "2025-12-31T23:59:59Z"}), "expired"),
        (json!({"usage-bootstrap-authentication": "false"}), "not for joining"),
        (json!({"node": "b"}), "for the node \"b\""),
        (json!({"uses": "0"}), "used up"),
    ] {
        cluster.create(SECRETS, secret(fields)).await;
        let (code, why) = join(&cluster, "a", &ask).await.expect_err(reason);
        assert_eq!((code, why.contains(reason)), (403, true), "{why}");
        cluster.delete("kube-system:secrets/bootstrap-token-abcdef").await;
    }
    cluster.create(SECRETS, secret(json!({}))).await;
    let guessed: Token = "abcdef.0123456789abcdeg".parse().expect("a token");
    let (code, why) = join(&cluster, "a", &guessed.ask("a", &key().1)).await.expect_err("a guess");
    assert_eq!((code, why.as_str()), (401, "the token is not known to this cluster"));
}

#[tokio::test(start_paused = true)]
async fn a_token_for_one_machine_is_used_up_by_it_on_every_server() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    cluster.create(SECRETS, secret(json!({"uses": "1"}))).await;
    let (first, second) = (token().ask("a", &key().1), token().ask("b", &key().1));
    let (one, two) = tokio::join!(join(&cluster, "a", &first), join(&other, "b", &second));
    let refused = match (one, two) {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("one of them joins: {both:?}"),
    };
    assert_eq!((refused.0, refused.1.contains("used up")), (403, true), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_node_lives_is_nobody_elses() {
    let cluster = Cluster::start().await;
    cluster.create(SECRETS, secret(json!({}))).await;
    let ask = token().ask("a", &key().1);
    let beat = |ago: i64| Beat { received: now() - SignedDuration::from_secs(ago), session: String::new() };
    cluster.registry.heartbeats().note("a", beat(10));
    assert_eq!(join(&cluster, "a", &ask).await.expect_err("it lives").0, 409);
    cluster.registry.heartbeats().note("a", beat(60));
    join(&cluster, "a", &ask).await.expect("it has ended");
    // A server that has heard of nobody yet goes by what was reported.
    let ready =
        json!({"metadata": {"name": "b"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let report = Report { node: Some(ready.to_string().into()), ..Report::default() };
    assert_eq!(report::handle(&cluster.registry, "b", report, now()).await.node, None);
    assert_eq!(join(&cluster, "b", &token().ask("b", &key().1)).await.expect_err("it is ready").0, 409);
}

#[tokio::test(start_paused = true)]
async fn a_node_stays_as_long_as_it_is_wanted() {
    let cluster = Cluster::start().await;
    let renew = Renew { public_key: key().1 };
    let ask = async || joining::renew_for(&cluster.registry, &admission(), "a", &renew, now()).await;
    assert_eq!(ask().await.expect_err("no such node").code(), 403);
    cluster.create("nodes", json!({"metadata": {"name": "a"}})).await;
    let statement = ask().await.expect("it is there");
    assert_eq!(Credentials::new(&statement, &key().0).expect("a statement").name(), "a");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_name_or_no_key_is_no_node() {
    let cluster = Cluster::start().await;
    cluster.create(SECRETS, secret(json!({}))).await;
    let good = key().1;
    for (node, key) in [("A", good.as_str()), ("a*", &good), ("", &good), ("a", "UABC"), ("a", "")] {
        assert_eq!(
            join(&cluster, node, &token().ask(node, key)).await.expect_err(node).0,
            400,
            "{node} {key}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_token_that_is_shown_names_a_bootstrapper() {
    let cluster = Cluster::start().await;
    let tokens = cluster.registry.tokens().expect("tokens");
    let bearer = async |text: &str| {
        tokens.bearer(&cluster.registry, text, &[], now()).await.expect("a log").map(|bearer| bearer.identity)
    };
    assert!(bearer("abcdef.0123456789abcdef").await.is_err());
    cluster.create(SECRETS, secret(json!({"auth-extra-groups": "system:bootstrappers:x"}))).await;
    let identity = bearer("abcdef.0123456789abcdef").await.expect("known");
    assert_eq!(identity.user, "system:bootstrap:abcdef");
    assert_eq!(identity.groups, ["system:bootstrappers", "system:authenticated", "system:bootstrappers:x"]);
    assert!(bearer("abcdef.0123456789abcdeg").await.is_err());
}

/// The bus lets a node use its own subjects only; this holds even where it would not.
#[tokio::test(start_paused = true)]
async fn a_node_speaks_for_itself_whatever_it_says() {
    let cluster = Cluster::start().await;
    let event = |name: &str, host: &str| {
        let event = json!({
            "metadata": {"name": name, "namespace": "default"}, "source": {"component": "kubelet", "host": host},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "X", "type": "Normal",
        });
        event.to_string().into()
    };
    let say = async |node: &str, events| {
        let other = json!({"metadata": {"name": "b"}}).to_string();
        let report = Report { node: Some(other.into()), events, ..Report::default() };
        report::handle(&cluster.registry, node, report, now()).await.node.map(|status| status.code())
    };
    assert_eq!(say("b", vec![event("of-b", "b")]).await, None);
    let forged = vec![event("as-b", "b"), event("of-b", "a"), event("of-a", "a")];
    assert_eq!(say("a", forged).await, Some(403), "it is not the node b");
    assert!(cluster.is_gone("events/as-b").await);
    assert_eq!(cluster.get("events/of-b").await["source"]["host"], "b");
    cluster.get("events/of-a").await;
    let labels = json!({"metadata": {"name": "a", "labels": {"node-restriction.kubernetes.io/tier": "x"}}});
    let report = Report { node: Some(labels.to_string().into()), ..Report::default() };
    let reply = report::handle(&cluster.registry, "a", report, now()).await;
    assert_eq!(reply.node.map(|status| status.code()), Some(403));
}

use bus::security::{Credentials, Role};
use bus::subject;
use futures::StreamExt;

use crate::client::Scene;

const FOR_API_SERVERS: [&str; 9] = [
    "state.pods",
    "events.rest",
    "checkpoint.x",
    "$JS.API.STREAM.CREATE.STATE",
    "$JS.API.STREAM.UPDATE.STATE",
    "$JS.API.STREAM.DELETE.STATE",
    "$JS.API.STREAM.PURGE.STATE",
    "$JS.API.STREAM.MSG.DELETE.STATE",
    "node.a.want",
];

#[tokio::test]
async fn a_node_may_use_its_own_subjects_and_no_others() {
    let scene = Scene::start();
    let name = subject::escape("a.example");
    let mut node = scene.connect(Role::Node, &name).await;
    for own in [
        subject::attach("a.example"),
        subject::report("a.example"),
        subject::token("a.example"),
        subject::credential("a.example"),
        subject::heartbeat("a.example"),
        subject::stream_from_node("a.example", "7"),
    ] {
        assert!(node.may_publish(&own).await, "{own}");
    }
    let own = ["node.a%2eexample.>", "node.a%2eexample.want", subject::BEGAN, "_INBOX.node.a%2eexample.>"];
    for own in own {
        assert!(node.may_subscribe(own).await, "{own}");
    }
    let others = [
        "attach.b",
        "report.b",
        "token.b",
        "hb.b",
        "credential.b",
        "stream.b.7",
        "join.b",
        "join.a%2eexample",
    ];
    let further = [
        "cmd.write",
        "cmd.lead",
        "lead.x",
        "sched.propose.x",
        "dns.alive",
        "_INBOX.node.b.x",
        "_INBOX.apiserver.x",
    ];
    let reads = [
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.INFO.STATE",
        "$JS.API.STREAM.MSG.GET.STATE",
        "$JS.API.DIRECT.GET.STATE",
        "$JS.API.CONSUMER.CREATE.STATE.x",
        "$JS.API.CONSUMER.MSG.NEXT.STATE.x",
        "$SYS.REQ.SERVER.PING",
    ];
    for foreign in others.iter().chain(&further).chain(&reads).chain(&FOR_API_SERVERS) {
        assert!(!node.may_publish(foreign).await, "{foreign}");
    }
    for foreign in [
        ">",
        "*.*",
        "node.>",
        "node.*.want",
        "node.b.want",
        "node.b.>",
        "node.all.>",
        "_INBOX.>",
        "_INBOX.node.>",
        "_INBOX.node.b.>",
        "attach.*",
        "report.*",
        "token.b",
        "hb.*",
        "stream.>",
        "state.>",
        "state.pods",
        "cmd.>",
        "join.*",
        "credential.*",
        "$JS.>",
        "$SYS.>",
    ] {
        assert!(!node.may_subscribe(foreign).await, "{foreign}");
    }
}

#[tokio::test]
async fn who_joins_may_ask_to_and_nothing_else() {
    let scene = Scene::start();
    let options = async_nats::ConnectOptions::new().custom_inbox_prefix(Role::Joining.inbox("all"));
    let mut nobody = scene.connect_with(options).await.expect("without credentials");
    assert!(nobody.may_publish("join.a").await);
    assert!(nobody.may_subscribe("_INBOX.joining.all.x").await);
    let nodes =
        ["attach.a", "report.a", "token.a", "hb.a", "credential.a", "stream.a.1", "join.a.b", "cmd.write"];
    for foreign in nodes
        .iter()
        .chain(&["$JS.API.STREAM.INFO.STATE", "$JS.API.CONSUMER.CREATE.STATE.x"])
        .chain(&FOR_API_SERVERS)
    {
        assert!(!nobody.may_publish(foreign).await, "{foreign}");
    }
    for foreign in [">", "join.*", "join.a", "node.a.want", "_INBOX.>", "_INBOX.node.>", "state.>", "hb.*"] {
        assert!(!nobody.may_subscribe(foreign).await, "{foreign}");
    }
}

#[tokio::test]
async fn a_service_reads_the_log_and_does_not_write_it() {
    let scene = Scene::start();
    let api = scene.connect(Role::ApiServer, "apiserver").await;
    let jetstream = async_nats::jetstream::new(api.nats.clone());
    let config = async_nats::jetstream::stream::Config {
        name: "STATE".to_owned(),
        subjects: vec!["state.*".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await.expect("a stream");
    jetstream.publish("state.pods", "first".into()).await.expect("sent").await.expect("stored");

    let mut service = scene.connect(Role::Service, "service").await;
    let inbox = service.nats.new_inbox();
    let mut read = service.nats.subscribe(inbox.clone()).await.expect("sent");
    let consumer = format!(
        r#"{{"stream_name":"STATE","config":{{"name":"r","deliver_subject":"{inbox}","ack_policy":"none"}}}}"#
    );
    service.nats.request("$JS.API.CONSUMER.CREATE.STATE.r", consumer.into()).await.expect("an answer");
    assert_eq!(read.next().await.expect("a message").payload, "first");
    for own in [subject::WRITE, subject::LEAD, subject::DNS_ALIVE] {
        assert!(service.may_publish(own).await, "{own}");
    }
    assert!(service.may_subscribe(subject::HEARTBEAT_ALL).await);
    for foreign in FOR_API_SERVERS.iter().chain(&["attach.a", "report.a", "token.a", "join.a", "hb.a"]) {
        assert!(!service.may_publish(foreign).await, "{foreign}");
    }
    let answers =
        ["_INBOX.>", "_INBOX.node.>", "_INBOX.apiserver.>", "_INBOX.joining.>", "_INBOX.service.other.x"];
    for foreign in answers.iter().chain(&["cmd.write", "token.*", "join.*", "node.*.want", "state.>"]) {
        assert!(!service.may_subscribe(foreign).await, "{foreign}");
    }
}

#[tokio::test]
async fn a_node_answers_whoever_asks_it_and_only_then() {
    let scene = Scene::start();
    let api = scene.connect(Role::ApiServer, "apiserver").await;
    let node = scene.connect(Role::Node, "a").await;
    let mut asked = node.nats.subscribe("node.a.open").await.expect("sent");
    let answering = tokio::spawn(async move {
        let request = asked.next().await.expect("a request");
        node.nats.publish(request.reply.expect("an asker"), "yes".into()).await.expect("sent");
        node
    });
    // Until the server has taken in that the node listens.
    let answer = loop {
        if let Ok(answer) = api.nats.request("node.a.open", "?".into()).await {
            break answer;
        }
    };
    assert_eq!(answer.payload, "yes");
    let mut node = answering.await.expect("it answered");
    assert!(!node.may_publish(&(Role::ApiServer.inbox("apiserver") + ".x")).await);
}

#[tokio::test]
async fn credentials_that_are_forged_changed_or_over_are_good_for_nothing() {
    let scene = Scene::start();
    let connect = async |credentials: &Credentials| {
        let options =
            async_nats::ConnectOptions::with_credentials(&credentials.to_text()).expect("credentials");
        scene.connect_with(options.custom_inbox_prefix(Role::Joining.inbox("all"))).await.ok()
    };
    let good = scene.credentials(Role::Node, "a");
    assert!(connect(&good).await.is_some());
    let another = Scene::start().credentials(Role::Node, "a");
    assert!(connect(&another).await.is_none(), "of another cluster");
    let over = scene.authority.signer(Role::Node).issue("a", 0, Some(1));
    assert!(connect(&over).await.is_none(), "over");
    let (seed, _) = Credentials::new_key();
    let stolen = Credentials::new(good.statement(), &seed).expect("a text");
    assert!(connect(&stolen).await.is_none(), "the statement without its key");
    // What bears no valid signature is to the server as if it were not there: its holder may ask to join.
    let elevated = scene.credentials(Role::ApiServer, "a");
    let mut parts: Vec<&str> = good.statement().split('.').collect();
    parts[1] = elevated.statement().split('.').nth(1).expect("claims");
    let forged = elevated.renewed(&parts.join(".")).expect("a text");
    if let Some(mut forged) = connect(&forged).await {
        for foreign in ["report.a", "attach.a", "cmd.write", "state.pods", "node.a.want"] {
            assert!(!forged.may_publish(foreign).await, "{foreign}");
        }
        assert!(!forged.may_subscribe("node.a.want").await);
    }
}

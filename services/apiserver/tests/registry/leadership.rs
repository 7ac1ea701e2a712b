use std::sync::Arc;
use std::time::Duration;

use apiserver::commands::{self, handle};
use apiserver::leadership;
use apiserver::verbs::ListOptions;
use bus::command::{Batch, Guard, PatchFormat, Reply, Resource, Write, is_deposed};
use bus::leader::{Act, Ask, Standing};
use bus::{Bus, Config};
use client::{Campaign, Controller, Decision, Leadership, Observed, Role, Writer};
use jiff::Timestamp;
use model::{Class, Object, Reason, Status};
use runtime::Readiness;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, config_map, now, pod};

const ROLE: &str = "replica-controller";
const MANAGER: &str = "system:kube-controller-manager";
const WRITER: &str = "system:serviceaccount:kube-system:writer";

async fn start() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.grant(WRITER, "cluster-admin").await;
    cluster
}

async fn ask(cluster: &Cluster, user: &str, act: Act) -> Result<Standing, Status> {
    let classes = vec![Class::Rest, Class::Pods];
    let ask = Ask { user: user.to_owned(), deadline_ms: u64::MAX, role: ROLE.to_owned(), classes, act };
    leadership::handle(&cluster.registry, &ask, now()).await
}

async fn take(cluster: &Cluster, holder: &str, over: u64) -> Standing {
    let act = Act::Take { holder: holder.to_owned(), over };
    ask(cluster, MANAGER, act).await.expect("an answer")
}

fn guard(standing: &Standing) -> Guard {
    Guard { role: ROLE.to_owned(), fences: standing.fences.clone() }
}

async fn create(cluster: &Cluster, guard: &Guard, plural: &str, object: serde_json::Value) -> Reply {
    let item = Write::Create {
        resource: Resource::new("", "v1", plural),
        namespace: if object["metadata"]["namespace"].is_string() { "default" } else { "" }.to_owned(),
        object: object.to_string().into(),
    };
    let batch = Batch {
        user: WRITER.to_owned(),
        deadline_ms: u64::MAX,
        guard: Some(guard.clone()),
        items: vec![item],
    };
    handle(&cluster.registry, batch, now()).await.replies.remove(0)
}

#[tokio::test(start_paused = true)]
async fn the_writes_of_a_deposed_leader_do_nothing_on_whichever_server_and_in_whichever_class() {
    let cluster = start().await;
    let other = cluster.another().await;
    let first = take(&cluster, "one", 0).await;
    assert_eq!((first.holder.as_str(), first.fences.len()), ("one", 2));
    create(&other, &guard(&first), "configmaps", config_map("a")).await.expect("it leads");

    let second = take(&other, "two", first.term).await;
    for server in [&cluster, &other] {
        for (plural, object) in [("configmaps", config_map("b")), ("pods", pod("b"))] {
            let refused = create(server, &guard(&first), plural, object).await.expect_err("it is deposed");
            assert!(is_deposed(&refused), "{refused:?}");
        }
    }
    assert!(cluster.is_gone("configmaps/b").await && cluster.is_gone("pods/b").await);
    create(&cluster, &guard(&second), "configmaps", config_map("b")).await.expect("it leads");
    create(&cluster, &guard(&second), "pods", pod("b")).await.expect("it leads there, too");
}

#[tokio::test(start_paused = true)]
async fn of_those_who_take_over_at_the_same_time_one_leads_and_the_others_hear_who() {
    let cluster = start().await;
    let other = cluster.another().await;
    let first = take(&cluster, "one", 0).await;
    let (two, three) = tokio::join!(take(&cluster, "two", first.term), take(&other, "three", first.term));
    let (won, lost) = if two.fences.is_empty() { (three, two) } else { (two, three) };
    assert_eq!((won.fences.len(), lost.fences.len()), (2, 0));
    assert_eq!((lost.holder, lost.term), (won.holder, won.term));
    assert_eq!(take(&cluster, "late", first.term).await.fences, [], "that term is over");
}

#[tokio::test(start_paused = true)]
async fn a_leader_writes_only_where_it_has_a_fence() {
    let cluster = start().await;
    let first = take(&cluster, "one", 0).await;
    let node = json!({"metadata": {"name": "n"}});
    let refused = create(&cluster, &guard(&first), "nodes", node).await.expect_err("no fence there");
    assert_eq!(refused.message, "who leads as replica-controller has no fence in class nodes");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_update_the_lease_may_not_lead() {
    let cluster = start().await;
    let act = Act::Take { holder: "stranger".to_owned(), over: 0 };
    let refused = ask(&cluster, "stranger", act).await.expect_err("a stranger");
    assert_eq!(refused.reason, Reason::Forbidden);
    assert_eq!(ask(&cluster, MANAGER, Act::Look).await.expect("an answer"), Standing::default());
}

#[tokio::test(start_paused = true)]
async fn who_leads_is_shown_as_a_lease_and_read_only() {
    let cluster = start().await;
    let path = format!("kube-system:leases.coordination.k8s.io/{ROLE}");
    let first = take(&cluster, "one", 0).await;
    let lease = cluster.get(&path).await;
    assert_eq!(lease["spec"]["holderIdentity"], "one");
    assert_eq!(lease["metadata"]["resourceVersion"], first.term.to_string());
    let names = cluster.names("kube-system:leases.coordination.k8s.io", &ListOptions::default()).await;
    assert_eq!(names, [ROLE]);

    let second = take(&cluster, "two", first.term).await;
    let later = cluster.get(&path).await;
    assert_eq!(
        (&later["spec"]["holderIdentity"], &later["spec"]["leaseTransitions"]),
        (&json!("two"), &json!(1))
    );
    assert_eq!(later["metadata"]["uid"], lease["metadata"]["uid"]);

    let left = ask(&cluster, MANAGER, Act::Release { term: first.term }).await.expect("an answer");
    assert_eq!(left.holder, "two", "that term was over");
    let left = ask(&cluster, MANAGER, Act::Release { term: second.term }).await.expect("an answer");
    assert_eq!(left.holder, "");
    let refused =
        create(&cluster, &guard(&second), "configmaps", config_map("a")).await.expect_err("it left");
    assert!(is_deposed(&refused));
}

/// A replica on a connection and threads of its own, so that it can die.
struct Replica {
    runtime: tokio::runtime::Runtime,
    campaign: Campaign,
}

fn replica(url: &str) -> Replica {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let campaign = std::thread::scope(|scope| {
        let starting = || {
            runtime.block_on(async {
                let bus = Bus::connect(&Config::new(url, "replica")).await.expect("a bus");
                let role = Role::of_controllers(ROLE, &[Class::Rest, Class::Pods]);
                Campaign::start(&bus, role, Readiness::new().condition("leader")).await.expect("it stands")
            })
        };
        scope.spawn(starting).join().expect("it starts")
    });
    Replica { runtime, campaign }
}

async fn leads(leadership: &mut Leadership) {
    let all = tokio::time::timeout(Duration::from_secs(20), async {
        while !leadership.standing().leads() {
            leadership.changed().await;
        }
    });
    all.await.expect("it leads");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leads_at_once_when_one_resigns_and_soon_when_one_dies() {
    let nats = testkit::NatsServer::start().expect("a nats-server");
    let cluster = Cluster::start().await;
    let bus = Bus::connect(&Config::new(&nats.url(), "apiserver")).await.expect("a bus");
    let shutdown = CancellationToken::new();
    let serving = leadership::serve(Arc::clone(&cluster.registry), bus, shutdown.clone());
    let serving = tokio::spawn(serving);

    let first = replica(&nats.url());
    leads(&mut first.campaign.leadership()).await;
    let second = replica(&nats.url());
    let mut standing_by = second.campaign.leadership();
    while standing_by.standing().leader.is_none() {
        standing_by.changed().await;
    }
    assert!(!standing_by.standing().leads());

    let timer = std::time::Instant::now();
    first.campaign.resign().await;
    leads(&mut standing_by).await;
    assert!(timer.elapsed() < Duration::from_secs(2), "{:?}", timer.elapsed());

    let third = replica(&nats.url());
    let mut standing_by = third.campaign.leadership();
    let timer = std::time::Instant::now();
    second.runtime.shutdown_background();
    leads(&mut standing_by).await;
    assert!(timer.elapsed() < Duration::from_secs(8), "{:?}", timer.elapsed());
    first.runtime.shutdown_background();
    third.runtime.shutdown_background();
    shutdown.cancel();
    serving.await.expect("no panic").expect("an orderly end");
}

/// Says in each ConfigMap who was the first to see to it.
struct Signer(&'static str);

impl Controller for Signer {
    type Key = String;
    const NAME: &'static str = "signer";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[("", "configmaps")];

    fn observe(&mut self, observed: &Observed) -> Vec<String> {
        let Observed::Put(item) = observed else { return Vec::new() };
        let map: Object = serde_json::from_slice(&item.value).expect("an object");
        match (map.namespace(), map.str_at(&["data", "by"])) {
            ("default", "") => vec![map.name().to_owned()],
            _ => Vec::new(),
        }
    }

    fn decide(&mut self, name: &String, _now: Timestamp) -> Decision {
        let patch = Write::Patch {
            resource: Resource::new("", "v1", "configmaps"),
            namespace: "default".to_owned(),
            name: name.clone(),
            subresource: String::new(),
            format: PatchFormat::Merge,
            patch: json!({"data": {"by": self.0}}).to_string().into(),
        };
        Decision { writes: vec![patch], reason: "it is not signed", ..Decision::default() }
    }
}

async fn sign(name: &'static str, url: &str, cluster: &Cluster) -> Campaign {
    let bus = Bus::connect(&Config::new(url, name)).await.expect("a bus");
    let role = Role::of_controllers(ROLE, &[Class::Rest, Class::Pods]);
    let campaign =
        Campaign::start(&bus, role, Readiness::new().condition("leader")).await.expect("it stands");
    let writer = Writer::new(bus, WRITER).led_by(campaign.leadership());
    let store = cluster.registry.store().clone();
    tokio::spawn(client::controller::run(Signer(name), store, writer, CancellationToken::new()));
    campaign
}

async fn signed(cluster: &Cluster, map: &str) -> String {
    let path = format!("configmaps/{map}");
    testkit::eventually("it is signed", async || {
        cluster.get(&path).await["data"]["by"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_controllers_one_acts_and_whoever_was_deposed_learns_it_by_a_refused_write() {
    let nats = testkit::NatsServer::start().expect("a nats-server");
    let cluster = start().await;
    let bus = Bus::connect(&Config::new(&nats.url(), "apiserver")).await.expect("a bus");
    let shutdown = CancellationToken::new();
    tokio::spawn(leadership::serve(Arc::clone(&cluster.registry), bus.clone(), shutdown.clone()));
    tokio::spawn(commands::serve(Arc::clone(&cluster.registry), bus, shutdown.clone()));

    cluster.create("configmaps", config_map("before")).await;
    let one = sign("one", &nats.url(), &cluster).await;
    assert_eq!(signed(&cluster, "before").await, "one");
    let two = sign("two", &nats.url(), &cluster).await;
    let mut standing_by = two.leadership();
    while standing_by.standing().leader.is_none() {
        standing_by.changed().await;
    }
    cluster.create("configmaps", config_map("between")).await;
    assert_eq!(signed(&cluster, "between").await, "one");

    // The leader does not hear of it, and whoever has taken over is not there: one of the two must, again.
    let term = ask(&cluster, MANAGER, Act::Look).await.expect("an answer").term;
    assert!(!take(&cluster, "nobody", term).await.fences.is_empty());
    cluster.create("configmaps", config_map("after")).await;
    signed(&cluster, "after").await;
    let holder = ask(&cluster, MANAGER, Act::Look).await.expect("an answer").holder;
    assert!([one.me(), two.me()].contains(&holder.as_str()), "{holder}");

    let (leader, other) = if holder == one.me() { (one, "two") } else { (two, "one") };
    leader.resign().await;
    cluster.create("configmaps", config_map("last")).await;
    assert_eq!(signed(&cluster, "last").await, other);
    shutdown.cancel();
}

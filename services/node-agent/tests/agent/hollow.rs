//! Nodes that pretend, as the load test uses them: many in one process, on one connection.

use bus::Bus;
use runtime::Readiness;
use serde_json::json;
use testkit::NatsServer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::control::{Control, condition};

const NODES: u16 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_hollow_nodes_share_a_process_and_a_connection() {
    let nats = NatsServer::start().unwrap();
    let config = bus::Config::new(&nats.url(), "test");
    let bus = Bus::connect(&config).await.unwrap();
    let shutdown = CancellationToken::new();
    let mut agents = JoinSet::new();
    let mut controls = Vec::new();
    for number in 0..NODES {
        let name = format!("hollow-{number}");
        controls.push(Control::start(&bus, &name).await);
        let agent = node_agent::hollow(bus.clone(), &name, number, Readiness::new());
        agents.spawn(agent.run(shutdown.clone()));
    }
    for control in &controls {
        for pod in 0..5 {
            control.run(&format!("pod-{pod}"), json!({}), json!({})).await;
        }
    }
    for control in &controls {
        for pod in 0..5 {
            control.until_running(&format!("pod-{pod}")).await;
        }
        control.delete("pod-0", 0).await;
        control.until("it is gone", 20, |control| control.pod("pod-0").is_null()).await;
        assert_eq!(control.node()["status"]["nodeInfo"]["containerRuntimeVersion"], "hollow://1");
    }
    shutdown.cancel();
    agents.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_attaches_again_when_its_api_server_begins_anew() {
    let nats = NatsServer::start().unwrap();
    let config = bus::Config::new(&nats.url(), "test");
    let bus = Bus::connect(&config).await.unwrap();
    let shutdown = CancellationToken::new();
    let control = Control::start(&bus, "hollow").await;
    let agent =
        tokio::spawn(node_agent::hollow(bus.clone(), "hollow", 0, Readiness::new()).run(shutdown.clone()));
    control.until("it is attached", 20, |control| !control.session().is_empty()).await;
    let first = control.session();
    for (host, is_ours) in [("elsewhere", false), (control.host(), true)] {
        bus.publish(bus::subject::BEGAN, &bus::node::Began { host: host.to_owned() }).await.unwrap();
        if is_ours {
            // Long before three keepalives have gone unheard.
            control.until("it attaches again", 5, |control| control.session() != first).await;
        } else {
            control.run("pod", json!({}), json!({})).await;
            control.until_running("pod").await;
            assert_eq!(control.session(), first);
        }
    }
    shutdown.cancel();
    agent.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_given_up_says_of_itself_and_its_pods_how_they_are() {
    let nats = NatsServer::start().unwrap();
    let bus = Bus::connect(&bus::Config::new(&nats.url(), "test")).await.unwrap();
    let shutdown = CancellationToken::new();
    let control = Control::start(&bus, "hollow").await;
    let agent =
        tokio::spawn(node_agent::hollow(bus.clone(), "hollow", 0, Readiness::new()).run(shutdown.clone()));
    control.run("pod", json!({}), json!({})).await;
    control.until_running("pod").await;
    control.give_up();
    let began = bus::node::Began { host: control.host().to_owned() };
    bus.publish(bus::subject::BEGAN, &began).await.unwrap();
    control.until_running("pod").await;
    let is_ready = |control: &Control| condition(&control.node()["status"], "Ready")["status"] == "True";
    control.until("the node is ready again", 5, is_ready).await;
    shutdown.cancel();
    agent.await.unwrap();
}

//! Services in a real kernel: packets from pods and from the node, in network namespaces of the tests' own.

#![allow(clippy::unwrap_used)] // A test ends where it does not go on.

mod lab;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};

use lab::{From, NODE, VIP, address, service, slice, slice_on};
use node_agent::proxy::nft;
use serde_json::json;

/// Enough that of two equal endpoints none is left out but once in a million runs.
const TIMES: usize = 20;

#[test]
fn connections_are_spread_over_the_endpoints_which_see_the_client() {
    lab::run(async |lab| {
        lab.tell(vec![service(json!({})), slice(&[1, 2])]).await;
        let answers = lab.answers(From::Pod(3), VIP, 80, TIMES).await;
        assert_eq!(answers, [format!("pod1 {}", address(3)), format!("pod2 {}", address(3))]);
        let answers = lab.answers(From::Node, VIP, 80, TIMES).await;
        assert_eq!(answers.len(), 2, "{answers:?}");
    });
}

#[test]
fn a_pod_that_is_its_own_endpoint_reaches_itself() {
    lab::run(async |lab| {
        lab.tell(vec![service(json!({})), slice(&[1])]).await;
        assert_eq!(lab.answers(From::Pod(1), VIP, 80, 2).await, [format!("pod1 {NODE}")]);
    });
}

#[test]
fn who_asks_a_service_without_endpoints_is_told_at_once() {
    lab::run(async |lab| {
        lab.tell(vec![service(json!({})), slice(&[])]).await;
        for (address, port) in [(VIP, 80), (Ipv4Addr::new(10, 96, 9, 9), 80), (NODE, 30_080)] {
            let answer = lab.ask(From::Pod(1), address, port).await;
            assert_eq!(answer, Err(ErrorKind::ConnectionRefused), "{address}:{port}");
        }
        assert_eq!(lab.ask(From::Node, VIP, 80).await, Err(ErrorKind::ConnectionRefused));
        // As soon as there are some, they are asked.
        lab.proxy.apply(&[slice(&[2])]);
        lab.until(|lab| async { lab.ask(From::Pod(1), VIP, 80).await.is_ok() }).await;
    });
}

#[test]
fn a_node_port_answers_at_every_address_of_the_node() {
    lab::run(async |lab| {
        lab.tell(vec![service(json!({})), slice(&[1, 2])]).await;
        for (from, address) in [(From::Pod(3), NODE), (From::Node, NODE), (From::Node, Ipv4Addr::LOCALHOST)] {
            let answers = lab.answers(from, address, 30_080, TIMES).await;
            assert_eq!(answers, [format!("pod1 {NODE}"), format!("pod2 {NODE}")], "{from:?} {address}");
        }
    });
}

#[test]
fn with_a_local_policy_a_node_port_leads_to_this_node_only_and_clients_are_seen() {
    lab::run(async |lab| {
        let local = || service(json!({"externalTrafficPolicy": "Local"}));
        lab.tell(vec![local(), slice(&[1])]).await;
        assert_eq!(lab.answers(From::Pod(3), NODE, 30_080, 2).await, [format!("pod1 {}", address(3))]);
        assert_eq!(lab.answers(From::Node, Ipv4Addr::LOCALHOST, 30_080, 2).await, [format!("pod1 {NODE}")]);
        lab.proxy.apply(&[slice_on("node-2", &[1])]);
        lab.until(|lab| async { lab.ask(From::Pod(3), NODE, 30_080).await == Err(ErrorKind::TimedOut) })
            .await;
        assert!(lab.ask(From::Pod(3), VIP, 80).await.is_ok(), "its address leads everywhere");
    });
}

#[test]
fn a_client_with_affinity_stays_until_its_endpoint_goes() {
    lab::run(async |lab| {
        lab.tell(vec![service(json!({"sessionAffinity": "ClientIP"})), slice(&[1, 2])]).await;
        for (address, port) in [(VIP, 80), (NODE, 30_080)] {
            lab.proxy.apply(&[slice(&[1, 2])]);
            lab.until(|lab| async move { lab.ask(From::Pod(3), address, port).await.is_ok() }).await;
            let mine = lab.answers(From::Pod(3), address, port, TIMES).await;
            assert_eq!(mine.len(), 1, "{mine:?}");
            let (gone, left) = if mine[0].starts_with("pod1") { (1, 2) } else { (2, 1) };
            lab.proxy.apply(&[slice(&[left])]);
            let other = format!("pod{left}");
            let other = other.as_str();
            lab.until(|lab| async move {
                lab.ask(From::Pod(3), address, port).await.is_ok_and(|answer| answer.starts_with(other))
            })
            .await;
            // And stays there when the first comes back.
            lab.proxy.apply(&[slice(&[gone, left])]);
            lab.until(|_| async { elements("picks").await >= 2 }).await;
            let mine = lab.answers(From::Pod(3), address, port, TIMES).await;
            assert!(mine.len() == 1 && mine[0].starts_with(other), "{mine:?}");
        }
    });
}

#[test]
fn a_flow_over_udp_moves_on_when_its_endpoint_goes() {
    lab::run(async |lab| {
        lab.tell(vec![service(json!({})), slice(&[1])]).await;
        for to in [SocketAddrV4::new(VIP, 53), SocketAddrV4::new(NODE, 30_053)] {
            lab.proxy.apply(&[slice(&[1])]);
            let client = lab.inside(From::Pod(3), lab::udp_client).await;
            let client = &client;
            let ask = |lab: &lab::Lab| {
                let client = client.try_clone().unwrap();
                lab.inside(From::Pod(3), move || lab::udp_ask(&client, to))
            };
            lab.until(|lab| {
                let asked = ask(lab);
                async { asked.await.as_deref() == Some("pod1") }
            })
            .await;
            lab.proxy.apply(&[slice(&[2])]);
            lab.until(|lab| {
                let asked = ask(lab);
                async { asked.await.as_deref() == Some("pod2") }
            })
            .await;
        }
    });
}

#[test]
fn a_service_that_goes_answers_no_more() {
    lab::run(async |lab| {
        lab.tell(vec![service(json!({})), slice(&[1])]).await;
        assert!(lab.ask(From::Pod(3), VIP, 80).await.is_ok());
        lab.proxy.reset(&[]);
        lab.until(|lab| async { lab.ask(From::Pod(3), VIP, 80).await == Err(ErrorKind::ConnectionRefused) })
            .await;
        assert_eq!(elements("services").await + elements("endpoints").await + elements("hairpins").await, 0);
    });
}

#[test]
fn a_table_that_is_gone_or_was_left_is_made_anew() {
    lab::run(async |lab| {
        // Of an agent before this one, with elements of Services that are gone since.
        let left = "add table ip sampan\nadd chain ip sampan old\nadd rule ip sampan old drop\n".to_owned();
        nft::run(left).await.unwrap();
        lab.tell(vec![service(json!({})), slice(&[1])]).await;
        assert!(lab.ask(From::Pod(3), VIP, 80).await.is_ok());
        assert!(!listing().await.contains("chain old"));
        lab::remove_table().await;
        lab.proxy.apply(&[slice(&[1, 2])]);
        lab.until(|lab| async { lab.ask(From::Pod(3), VIP, 80).await.is_ok() }).await;
    });
}

#[test]
fn thousands_of_services_are_loaded_in_one_step() {
    const SERVICES: u32 = 5_000;
    lab::run(async |lab| {
        let many = (0..SERVICES).flat_map(|number| {
            let vip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 16, 0).to_bits() + number);
            let rename = |wanted: bus::node::Wanted| {
                let text = String::from_utf8(wanted.object.unwrap().to_vec()).unwrap();
                let text = text
                    .replace(&VIP.to_string(), &vip.to_string())
                    .replace("\"web\"", &format!("\"s{number}\""));
                bus::node::Wanted { key: format!("{}{number}", wanted.key), object: Some(text.into()) }
            };
            let mut service = rename(service(json!({"ports": [{"name": "tcp", "port": 80}]})));
            service.key = format!("core/services/default/s{number}");
            [service, rename(slice(&[1, 2, 3, 4, 5]))]
        });
        let began = std::time::Instant::now();
        lab.tell(many.collect()).await;
        println!("{SERVICES} services with 5 endpoints each: {:?}", began.elapsed());
        // Of the five endpoints three are there.
        lab.until(|lab| async { lab.ask(From::Pod(1), Ipv4Addr::new(10, 96, 16, 0), 80).await.is_ok() })
            .await;
    });
}

/// The number of elements that the kernel has in a map.
async fn elements(map: &str) -> usize {
    let listing = listing().await;
    let start = [format!("map {map} {{"), format!("set {map} {{")];
    let lines = listing.lines().map(str::trim);
    let body: String = lines
        .skip_while(|line| !start.contains(&(*line).to_owned()))
        .take_while(|line| *line != "}")
        .collect();
    // Separated by commas, as in a sentence.
    body.split_once("elements = {").map_or(0, |(_, elements)| elements.split(',').count())
}

async fn listing() -> String {
    let output = tokio::process::Command::new("nft").args(["list", "table", "ip", nft::TABLE]).output().await;
    String::from_utf8_lossy(&output.expect("nft runs").stdout).into_owned()
}

//! The server over real sockets, with an upstream of the test's own.

#![allow(clippy::unwrap_used)] // A test ends where it does not go on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use client::Observed;
use dns::handler::Handler;
use dns::upstream::{Servers, Upstream};
use dns::zone::Zone;
use hickory_server::Server;
use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::rdata::{A, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use model::{Key, Revision};
use serde_json::{Value, json};
use store::Item;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Endpoints whose addresses do not fit into one packet.
const MANY: u8 = 100;

/// A running server. It ends with the test's runtime.
struct Scene {
    address: SocketAddr,
    _server: Server<Handler>,
}

impl Scene {
    async fn start(upstream: Vec<SocketAddr>) -> Scene {
        let handler = Handler::new(Zone::new("cluster.local"), Upstream::new(Servers::Fixed(upstream)));
        objects().iter().for_each(|observed| handler.zone().write().apply(observed));
        let scene = Scene::start_incomplete(handler.clone()).await;
        handler.set_complete();
        scene
    }

    async fn start_incomplete(handler: Handler) -> Scene {
        let tcp = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = tokio::net::UdpSocket::bind(address).await.unwrap();
        let mut server = Server::new(handler);
        server.register_socket(udp);
        server.register_listener(tcp, PATIENCE, 32);
        Scene { address, _server: server }
    }

    /// The answer over UDP.
    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        let (address, question) = (self.address, question(name, kind));
        tokio::task::spawn_blocking(move || over_udp(address, &question)).await.unwrap()
    }
}

fn put(group: &str, plural: &str, name: &str, object: Value) -> Observed {
    Observed::Put(Item {
        key: Key::object(group, plural, "default", name),
        revision: Revision(1),
        created: Revision(1),
        value: object.to_string().into(),
    })
}

fn objects() -> Vec<Observed> {
    let service = |name: &str, spec: Value| put("", "services", name, json!({"spec": spec}));
    let endpoints: Vec<Value> =
        (0..MANY).map(|last| json!({"addresses": [format!("10.244.0.{last}")]})).collect();
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "many"}}, "addressType": "IPv4",
        "endpoints": endpoints, "ports": [{"name": "p", "port": 80}],
    });
    vec![
        service("web", json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]})),
        service("many", json!({"clusterIP": "None"})),
        service("far", json!({"type": "ExternalName", "externalName": "redis.example.com"})),
        service("near", json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"})),
        service(
            "circle",
            json!({"type": "ExternalName", "externalName": "circle.default.svc.cluster.local"}),
        ),
        put("discovery.k8s.io", "endpointslices", "many-x", slice),
    ]
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn over_udp(address: SocketAddr, question: &Message) -> Message {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&question.to_vec().unwrap(), address).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

fn over_tcp(address: SocketAddr, question: &Message) -> Message {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let bytes = question.to_vec().unwrap();
    stream
        .write_all(&[&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes.as_slice()].concat())
        .unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut buffer).unwrap();
    Message::from_vec(&buffer).unwrap()
}

/// An upstream that knows `redis.example.com`, and of `large.example.com` only by TCP.
fn upstream() -> SocketAddr {
    let tcp = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let answer = upstream_answer(&buffer[..length], false);
            udp.send_to(&answer, from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut buffer).unwrap();
            let answer = upstream_answer(&buffer, true);
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length, answer.as_slice()].concat()).unwrap();
        }
    });
    address
}

fn upstream_answer(question: &[u8], is_tcp: bool) -> Vec<u8> {
    let question = Message::from_vec(question).unwrap();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    let query = question.queries[0].clone();
    let name = query.name().clone();
    answer.add_query(query);
    match name.to_string().as_str() {
        "redis.example.com." => {
            answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 7))));
        }
        "large.example.com." if is_tcp => {
            let text = TXT::new(vec!["x".repeat(200); 4]);
            answer.add_answer(Record::from_rdata(name, 60, RData::TXT(text)));
        }
        "large.example.com." => answer.metadata.truncation = true,
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.to_vec().unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(address.to_string()),
        _ => None,
    };
    message.answers.iter().filter_map(address).collect()
}

#[tokio::test]
async fn names_of_the_cluster_are_answered_with_authority() {
    let scene = Scene::start(vec![]).await;
    let answer = scene.ask("Web.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!((answer.metadata.id, answer.metadata.response_code), (77, ResponseCode::NoError));
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    assert_eq!(addresses(&answer), ["10.96.0.7"]);
    assert_eq!(answer.answers[0].name.to_string(), "Web.default.svc.cluster.local.", "as it was asked");
    assert_eq!(answer.answers[0].ttl, 5);

    let port = scene.ask("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV).await;
    let RData::SRV(srv) = &port.answers[0].data else { panic!("{port:?}") };
    assert_eq!((srv.port, srv.target.to_string().as_str()), (80, "web.default.svc.cluster.local."));
    assert_eq!(port.additionals.len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_told_with_who_would_know() {
    let scene = Scene::start(vec![]).await;
    let nobody = scene.ask("nobody.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(nobody.metadata.response_code, ResponseCode::NXDomain);
    let RData::SOA(soa) = &nobody.authorities[0].data else { panic!("{nobody:?}") };
    assert_eq!(soa.minimum, 5);
    let six = scene.ask("web.default.svc.cluster.local.", RecordType::AAAA).await;
    assert_eq!(six.metadata.response_code, ResponseCode::NoError);
    assert_eq!((six.answers.len(), six.authorities.len()), (0, 1));
    let zone = scene.ask("cluster.local.", RecordType::SOA).await;
    assert_eq!(zone.answers.len(), 1);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_cut_and_comes_whole_over_tcp() {
    let scene = Scene::start(vec![]).await;
    let name = "many.default.svc.cluster.local.";
    let cut = scene.ask(name, RecordType::A).await;
    assert!(cut.metadata.truncation);
    let address = scene.address;
    let whole = tokio::task::spawn_blocking(move || over_tcp(address, &question(name, RecordType::A)));
    let whole = whole.await.unwrap();
    assert_eq!(addresses(&whole).len(), usize::from(MANY));
    // A client that can take more gets more.
    let mut large = question(name, RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    large.set_edns(edns);
    let more = tokio::task::spawn_blocking(move || over_udp(address, &large)).await.unwrap();
    assert!(addresses(&more).len() > addresses(&cut).len());
}

#[tokio::test]
async fn addresses_take_turns() {
    let scene = Scene::start(vec![]).await;
    let name = "many.default.svc.cluster.local.";
    let first = addresses(&scene.ask(name, RecordType::A).await);
    let second = addresses(&scene.ask(name, RecordType::A).await);
    assert_ne!(first[0], second[0]);
}

#[tokio::test]
async fn names_of_others_are_asked_upstream() {
    let scene = Scene::start(vec![upstream()]).await;
    let redis = scene.ask("redis.example.com.", RecordType::A).await;
    assert_eq!(addresses(&redis), ["192.0.2.7"]);
    assert!(!redis.metadata.authoritative);
    let nobody = scene.ask("nobody.example.com.", RecordType::A).await;
    assert_eq!(nobody.metadata.response_code, ResponseCode::NXDomain);
    let large = scene.ask("large.example.com.", RecordType::TXT).await;
    assert!(large.metadata.truncation, "it came over TCP, and is too large for this client");
}

#[tokio::test]
async fn an_alias_is_followed_wherever_it_leads() {
    let scene = Scene::start(vec![upstream()]).await;
    let far = scene.ask("far.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!((far.answers.len(), addresses(&far)), (2, vec!["192.0.2.7".to_owned()]));
    let near = scene.ask("near.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!((near.answers.len(), addresses(&near)), (2, vec!["10.96.0.7".to_owned()]));
    let alone = scene.ask("far.default.svc.cluster.local.", RecordType::CNAME).await;
    assert_eq!(alone.answers.len(), 1);
    let circle = scene.ask("circle.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(circle.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_server_that_knows_nobody_or_not_enough_yet_says_so() {
    let scene = Scene::start(vec![]).await;
    let answer = scene.ask("example.com.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    // A second server is asked when the first does not answer.
    let dead = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let scene = Scene::start(vec![dead.local_addr().unwrap(), upstream()]).await;
    assert_eq!(addresses(&scene.ask("redis.example.com.", RecordType::A).await), ["192.0.2.7"]);
    let handler = Handler::new(Zone::new("cluster.local"), Upstream::new(Servers::Fixed(vec![])));
    let scene = Scene::start_incomplete(handler).await;
    let early = scene.ask("web.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(early.metadata.response_code, ResponseCode::ServFail, "it may be there");
}

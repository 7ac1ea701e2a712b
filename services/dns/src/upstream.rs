//! Names of others: asked of the machine's own name servers, whose answers are passed on as they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// How long a server may take; clients ask again after five seconds, and by then a second server was asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Servers that are asked one after the other, as the C library does.
const SERVERS_MAX: usize = 3;
/// Questions under way at a time, a socket each; more are refused, so that a dead server does not pile them up.
const UNDER_WAY: usize = 1024;
/// How often the list of servers is read again: a laptop changes its network.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// What fits into one packet on any common network.
const PAYLOAD: u16 = 1232;
const DNS_PORT: u16 = 53;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nobody to ask.
    #[error("no name server is known for names outside of the cluster")]
    NoServer,
    /// Too many ask.
    #[error("{UNDER_WAY} questions are under way already")]
    Busy,
    /// Nobody answered.
    #[error("{server}: {error}")]
    Failed {
        /// The last one asked.
        server: SocketAddr,
        /// What happened.
        error: io::Error,
    },
}

/// Who is asked.
#[derive(Clone, Debug)]
pub enum Servers {
    /// These.
    Fixed(Vec<SocketAddr>),
    /// Those that a file as `/etc/resolv.conf` names, but for ourselves.
    File {
        /// The file.
        path: PathBuf,
        /// Addresses that lead back here.
        ourselves: Vec<IpAddr>,
    },
}

/// Asks other servers.
#[derive(Debug)]
pub struct Upstream {
    servers: Servers,
    read: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    places: Semaphore,
}

// === impl Upstream ===

impl Upstream {
    /// Asks these.
    pub fn new(servers: Servers) -> Upstream {
        Upstream { servers, read: Mutex::new(None), places: Semaphore::new(UNDER_WAY) }
    }

    /// The answer of the first server that gives one.
    pub async fn ask(&self, query: &Query, dnssec: bool) -> Result<Message, UpstreamError> {
        let Ok(_place) = self.places.try_acquire() else { return Err(UpstreamError::Busy) };
        let mut last = UpstreamError::NoServer;
        for server in self.servers().into_iter().take(SERVERS_MAX) {
            match timeout(PATIENCE, one(server, query, dnssec)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = UpstreamError::Failed { server, error },
                Err(_) => last = UpstreamError::Failed { server, error: io::ErrorKind::TimedOut.into() },
            }
        }
        Err(last)
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let (path, ourselves) = match &self.servers {
            Servers::Fixed(servers) => return servers.clone(),
            Servers::File { path, ourselves } => (path, ourselves),
        };
        let mut known = self.read.lock();
        if let Some((read, servers)) = &*known
            && read.elapsed() < READ_AGAIN
        {
            return servers.clone();
        }
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
            warn!("cannot read {}: {error}", path.display());
            String::new()
        });
        let servers = name_servers(&text, ourselves);
        *known = Some((Instant::now(), servers.clone()));
        servers
    }
}

/// PURE: the servers that the text of a `resolv.conf` names.
fn name_servers(text: &str, ourselves: &[IpAddr]) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let named = words.next() == Some("nameserver");
        words.next().filter(|_| named)?.parse::<IpAddr>().ok()
    };
    let others = text.lines().filter_map(server).filter(|ip| !ourselves.contains(ip));
    others.map(|ip| SocketAddr::new(ip, DNS_PORT)).collect()
}

async fn one(server: SocketAddr, query: &Query, dnssec: bool) -> io::Result<Message> {
    let question = question(query, dnssec);
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let answer = over_udp(server, &question, &bytes).await?;
    match answer.metadata.truncation {
        true => over_tcp(server, &question, &bytes).await,
        false => Ok(answer),
    }
}

fn question(query: &Query, dnssec: bool) -> Message {
    let mut question = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_dnssec_ok(dnssec);
    question.set_edns(edns);
    question
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own: who would forge an answer has to guess it as well.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whatever else comes to this port is not for us.
        if let Ok(answer) = Message::from_vec(&buffer[..length])
            && answers(&answer, question)
        {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(io::Error::other)?;
    match answers(&answer, question) {
        true => Ok(answer),
        false => Err(io::Error::other("the answer is to another question")),
    }
}

fn answers(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_names_the_servers_and_we_do_not_ask_ourselves() {
        let text = "# x\nsearch a\nnameserver 192.0.2.1\nnameserver 10.96.0.10\nnameserver bad\nnameserver fe80::1\n";
        let ourselves = ["10.96.0.10".parse().unwrap()];
        let found: Vec<String> = name_servers(text, &ourselves).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[fe80::1]:53"]);
    }
}

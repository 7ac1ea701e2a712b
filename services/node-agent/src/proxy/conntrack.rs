//! Ends flows over UDP that lead to where nobody is any more.
//!
//! The kernel chooses an endpoint for the first packet of a flow and remembers. TCP notices when that endpoint goes;
//! for UDP a flow is over when nothing was sent for a while, so a client that goes on would never come to another.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket,
};
use nix::sys::time::TimeVal;

use super::diff::Stale;

/// The kernel answers at once; a socket that is silent for so long has lost the end of its answer.
const PATIENCE: TimeVal = TimeVal::new(5, 0);
/// The kernel fills at most this much at a time.
const BUFFER: usize = 64 * 1024;

const UDP: u8 = 17;
// From linux/netlink.h and linux/netfilter/nfnetlink_conntrack.h.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const CONNTRACK_NEW: u16 = 0x0100;
const CONNTRACK_GET: u16 = 0x0101;
const CONNTRACK_DELETE: u16 = 0x0102;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// The upper bits of an attribute's type are flags.
const TYPE_BITS: u16 = 0x3fff;

/// A flow that the kernel knows.
#[derive(Clone, Debug, PartialEq)]
struct Flow {
    protocol: u8,
    /// Where its client sends to.
    to: SocketAddrV4,
    /// Where its answers come from: the endpoint.
    from: SocketAddrV4,
    /// What names it to the kernel.
    name: Vec<u8>,
}

/// One side of a flow.
struct Side {
    protocol: u8,
    source: SocketAddrV4,
    destination: SocketAddrV4,
}

/// Ends the flows of these fronts that are stale; returns how many. Blocks while the kernel works.
pub fn end(stale: &[Stale]) -> io::Result<usize> {
    let socket = open()?;
    let flows = list(&socket)?;
    let mut ended = 0;
    for flow in flows.iter().filter(|flow| is_stale(flow, stale)) {
        send(socket.as_raw_fd(), &message(CONNTRACK_DELETE, NLM_F_ACK, &flow.name), MsgFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        // One that ended by itself meanwhile is no matter.
        ended += usize::from(messages(&buffer[..length]).all(|(kind, body)| is_fine(kind, body)));
    }
    Ok(ended)
}

fn is_stale(flow: &Flow, stale: &[Stale]) -> bool {
    flow.protocol == UDP
        && stale.iter().any(|one| {
            let front = &one.front;
            let is_to_it = front.port == flow.to.port() && front.address.is_none_or(|ip| ip == *flow.to.ip());
            is_to_it && (one.targets.contains(&flow.from) || (one.is_new && flow.from == flow.to))
        })
}

fn open() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&socket, ReceiveTimeout, &PATIENCE)?;
    Ok(socket)
}

fn list(socket: &OwnedFd) -> io::Result<Vec<Flow>> {
    send(socket.as_raw_fd(), &message(CONNTRACK_GET, NLM_F_DUMP, &[]), MsgFlags::empty())?;
    let mut flows = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        for (kind, body) in messages(&buffer[..length]) {
            match kind {
                NLMSG_DONE => return Ok(flows),
                NLMSG_ERROR => return Err(io::Error::from_raw_os_error(-error_of(body))),
                CONNTRACK_NEW => flows.extend(Flow::read(body)),
                _ => {}
            }
        }
    }
}

/// A request about IPv4 flows with these attributes.
fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY_HEADER + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([AddressFamily::Inet as u8, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// Type and body of each message.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Type and value of each attribute.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & TYPE_BITS;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(one, _)| *one == kind).map(|(_, value)| value)
}

/// An attribute as it is sent.
fn encoded(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::from(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn error_of(body: &[u8]) -> i32 {
    body.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes)
}

fn is_fine(kind: u16, body: &[u8]) -> bool {
    kind != NLMSG_ERROR || error_of(body) == 0
}

// === impl Flow ===

impl Flow {
    fn read(body: &[u8]) -> Option<Flow> {
        /// Nested attributes carry this flag.
        const NESTED: u16 = 0x8000;
        let all = body.get(FAMILY_HEADER..)?;
        let (there, back) = (attribute(all, CTA_TUPLE_ORIG)?, attribute(all, CTA_TUPLE_REPLY)?);
        let mut name = encoded(NESTED | CTA_TUPLE_ORIG, there);
        name.extend(attribute(all, CTA_ID).map(|id| encoded(CTA_ID, id)).unwrap_or_default());
        let (there, back) = (Side::read(there)?, Side::read(back)?);
        Some(Flow { protocol: there.protocol, to: there.destination, from: back.source, name })
    }
}

// === impl Side ===

impl Side {
    fn read(tuple: &[u8]) -> Option<Side> {
        let (ip, protocol) = (attribute(tuple, CTA_TUPLE_IP)?, attribute(tuple, CTA_TUPLE_PROTO)?);
        let address = |kind| {
            let bytes: [u8; 4] = attribute(ip, kind)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes))
        };
        let port = |kind| {
            let bytes: [u8; 2] = attribute(protocol, kind)?.try_into().ok()?;
            Some(u16::from_be_bytes(bytes))
        };
        Some(Side {
            protocol: *attribute(protocol, CTA_PROTO_NUM)?.first()?,
            source: SocketAddrV4::new(address(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)?),
            destination: SocketAddrV4::new(address(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Front;
    use super::super::view::Protocol;
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port)
    }

    fn flow(to: SocketAddrV4, from: SocketAddrV4) -> Flow {
        Flow { protocol: UDP, to, from, name: Vec::new() }
    }

    #[test]
    fn a_flow_is_stale_when_its_endpoint_is_gone_or_when_it_began_before_there_was_one() {
        let front = Front { address: Some(*at(7, 53).ip()), protocol: Protocol::Udp, port: 53 };
        let gone = Stale { front, targets: [at(1, 5353)].into(), is_new: false };
        let stale = |flow: &Flow, one: &Stale| is_stale(flow, std::slice::from_ref(one));
        assert!(stale(&flow(at(7, 53), at(1, 5353)), &gone));
        assert!(!stale(&flow(at(7, 53), at(2, 5353)), &gone));
        assert!(!stale(&flow(at(8, 53), at(1, 5353)), &gone), "another front");
        assert!(!stale(&Flow { protocol: 6, ..flow(at(7, 53), at(1, 5353)) }, &gone));

        let node = Front { address: None, protocol: Protocol::Udp, port: 30_053 };
        let new = Stale { front: node, targets: Default::default(), is_new: true };
        assert!(stale(&flow(at(9, 30_053), at(9, 30_053)), &new));
        assert!(!stale(&flow(at(9, 30_053), at(1, 5353)), &new));
    }

    #[test]
    fn what_the_kernel_says_of_a_flow_is_read_and_names_it() {
        let side = |source: SocketAddrV4, destination: SocketAddrV4| {
            let ip = [
                encoded(CTA_IP_V4_SRC, &source.ip().octets()),
                encoded(CTA_IP_V4_DST, &destination.ip().octets()),
            ];
            let ports = [
                encoded(CTA_PROTO_NUM, &[UDP]),
                encoded(CTA_PROTO_SRC_PORT, &source.port().to_be_bytes()),
                encoded(CTA_PROTO_DST_PORT, &destination.port().to_be_bytes()),
            ];
            [encoded(CTA_TUPLE_IP, &ip.concat()), encoded(CTA_TUPLE_PROTO, &ports.concat())].concat()
        };
        let there = side(at(1, 4000), at(7, 53));
        let attributes = [
            encoded(CTA_TUPLE_ORIG, &there),
            encoded(CTA_TUPLE_REPLY, &side(at(2, 5353), at(1, 4000))),
            encoded(CTA_ID, &[1, 2, 3, 4]),
        ];
        let bytes = message(CONNTRACK_NEW, 0, &attributes.concat());
        let read: Vec<Flow> = messages(&bytes).filter_map(|(_, body)| Flow::read(body)).collect();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].protocol, read[0].to, read[0].from), (UDP, at(7, 53), at(2, 5353)));
        assert_eq!(attribute(&read[0].name, CTA_TUPLE_ORIG), Some(there.as_slice()));
        assert_eq!(messages(&bytes[..bytes.len() - 1]).count(), 0, "a message that is cut off");
    }
}

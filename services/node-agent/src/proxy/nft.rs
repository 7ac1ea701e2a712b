//! The kernel's table as text for `nft -f -`, and the one place that runs it.
//!
//! One text is one transaction: the kernel takes all of it or none, and no packet sees a half of it.

use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::cidr::Cidr;
use super::diff::Changes;
use super::rules::{Element, Front, MARK, MARK_MASK, MARK_MASQUERADE, Spread, Value};
use super::view::Protocol;

/// The table of the node's network namespace.
pub const TABLE: &str = "sampan";
/// A hundred thousand elements take the kernel two seconds; more than this means that it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients with affinity that are remembered at a time, some hundred bytes each; more are spread anew each time.
const AFFINITIES: u32 = 262_144;

/// The ranges that the node's table knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ranges {
    /// Of all pods. What leaves it is seen with the node's address.
    pub pods: Option<Cidr>,
    /// Of all Services. What nobody answers for there is refused, and never leaves the machine.
    pub services: Option<Cidr>,
}

/// Why the kernel did not take it.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The program is not there, or cannot be started.
    #[error("cannot run nft: {0}")]
    NotRun(#[from] std::io::Error),
    /// It said no.
    #[error("nft: {0}")]
    Refused(String),
    /// It did not end.
    #[error("nft does not end")]
    Hangs,
}

/// Puts a new table in the place of whatever is there, with everything in `changes`.
pub fn new_table(ranges: &Ranges, changes: &Changes) -> String {
    // Named before it is deleted: deleting what is not there would fail.
    let mut text = format!("add table ip {TABLE}\ndelete table ip {TABLE}\n");
    text.push_str(&frame(ranges));
    text.push_str(&change(changes));
    text
}

/// Changes the table that is there.
pub fn change(changes: &Changes) -> String {
    let mut text = String::new();
    for spread in &changes.chains {
        chain(&mut text, spread);
    }
    statements(&mut text, "delete", changes.removed.keys().map(|element| (element, None)));
    statements(&mut text, "add", changes.added.iter().map(|(element, value)| (element, Some(value))));
    text
}

/// Carries out a text.
pub async fn run(text: String) -> Result<(), NftError> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    let mut input = child.stdin.take().expect("its input was asked for");
    let carry_out = async {
        // It may end before it has read all, and says why.
        let written = input.write_all(text.as_bytes()).await;
        drop(input);
        let output = child.wait_with_output().await?;
        match output.status.success() {
            true => written.map_err(NftError::from),
            false => Err(NftError::Refused(first_lines(&output.stderr))),
        }
    };
    timeout(PATIENCE, carry_out).await.unwrap_or(Err(NftError::Hangs))
}

/// Whether the table is there, which any program on the machine may have removed.
pub async fn is_there() -> bool {
    let mut command = Command::new("nft");
    command.args(["list", "chain", "ip", TABLE, "prerouting"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    matches!(timeout(PATIENCE, command.status()).await, Ok(Ok(status)) if status.success())
}

/// The first complaint; the others follow from it.
fn first_lines(stderr: &[u8]) -> String {
    const LINES: usize = 2;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES).collect();
    lines.join(" ")
}

/// The maps, and the chains that packets enter by.
fn frame(ranges: &Ranges) -> String {
    let outside = ranges
        .pods
        .map(|pods| format!("    ip saddr {pods} ip daddr != {{ {pods}, 224.0.0.0/4 }} masquerade\n"));
    let stray = ranges.services.map(|services| format!("    ip daddr {services} goto refuse\n"));
    let (outside, stray) = (outside.unwrap_or_default(), stray.unwrap_or_default());
    format!(
        "table ip {TABLE} {{
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node-services {{ type inet_proto . inet_service : verdict; }}
  map endpoints {{ type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }}
  map node-endpoints {{ type inet_proto . inet_service . mark : ipv4_addr . inet_service; }}
  map picks {{ type ipv4_addr . inet_proto . inet_service . mark : mark; }}
  map node-picks {{ type inet_proto . inet_service . mark : mark; }}
  map sticks {{ type ipv4_addr . inet_proto . inet_service . mark : verdict; }}
  map node-sticks {{ type inet_proto . inet_service . mark : verdict; }}
  map affinity {{
    type ipv4_addr . ipv4_addr . inet_proto . inet_service : mark
    size {AFFINITIES}
    flags dynamic,timeout
  }}
  map closed {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node-closed {{ type inet_proto . inet_service : verdict; }}
  set hairpins {{ type ipv4_addr . ipv4_addr; }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain dispatch {{
    ip daddr . meta l4proto . th dport vmap @services
    fib daddr type local meta l4proto . th dport vmap @node-services
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump dispatch
  }}
  chain outgoing {{
    type nat hook output priority -100; policy accept;
    jump dispatch
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & {MARK_MASK:#x} == {MARK_MASQUERADE:#x} masquerade
    ct status dnat ip saddr 127.0.0.0/8 masquerade
    ct status dnat ip saddr . ip daddr @hairpins masquerade
{outside}  }}
  chain unanswered {{
    ip daddr . meta l4proto . th dport vmap @closed
    fib daddr type local meta l4proto . th dport vmap @node-closed
{stray}  }}
  chain to-node {{
    type filter hook input priority filter; policy accept;
    ct state new jump unanswered
    iif != lo ip daddr 127.0.0.0/8 ct state invalid,new,untracked drop
  }}
  chain through-node {{
    type filter hook forward priority filter; policy accept;
    ct state new jump unanswered
  }}
  chain from-node {{
    type filter hook output priority filter; policy accept;
    ct state new jump unanswered
  }}
}}
"
    )
}

/// A chain that chooses among so many endpoints.
fn chain(text: &mut String, spread: &Spread) {
    let Spread { of_node, count, masquerades, affinity } = spread;
    let (map, key) = match of_node {
        true => ("node-", "meta l4proto . th dport"),
        false => ("", "ip daddr . meta l4proto . th dport"),
    };
    let base = if *masquerades { MARK_MASQUERADE } else { MARK };
    let choose = match count {
        1 => format!("meta mark set {base:#x}"),
        _ => format!("meta mark set numgen random mod {count} offset {base}"),
    };
    let send = format!("dnat ip to {key} . meta mark map @{map}endpoints");
    let name = spread_name(spread);
    let mut rules = vec![choose];
    match affinity {
        None => rules.push(send),
        Some(seconds) => {
            let client = "ip saddr . ip daddr . meta l4proto . th dport";
            let stick = stick_name(spread, *seconds);
            let keep = format!("update @affinity {{ {client} timeout {seconds}s : meta mark }}");
            add_chain(text, &stick, &[keep, send]);
            // An update leaves the mark of an element that is there, so the one of an endpoint that is gone goes.
            rules.splice(
                0..0,
                [
                    format!("meta mark set {client} map @affinity"),
                    format!("{key} . meta mark vmap @{map}sticks"),
                    format!("delete @affinity {{ {client} : meta mark }}"),
                ],
            );
            rules.push(format!("meta mark set {key} . meta mark map @{map}picks"));
            rules.push(format!("goto {stick}"));
        }
    }
    add_chain(text, &name, &rules);
}

/// Adds a chain with these rules; one of that name that is there already has the same and is filled anew.
fn add_chain(text: &mut String, name: &str, rules: &[String]) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "add chain ip {TABLE} {name}\nflush chain ip {TABLE} {name}");
    for rule in rules {
        let _ = writeln!(text, "add rule ip {TABLE} {name} {rule}");
    }
}

fn spread_name(spread: &Spread) -> String {
    let Spread { of_node, count, masquerades, affinity } = spread;
    let whose = if *of_node { "node" } else { "one" };
    let how = if *masquerades { "-masquerade" } else { "" };
    let affinity = affinity.map(|seconds| format!("-{seconds}s")).unwrap_or_default();
    format!("{whose}-of-{count}{how}{affinity}")
}

/// Shared by all numbers of endpoints.
fn stick_name(spread: &Spread, seconds: u32) -> String {
    format!("{}stick-{seconds}s", if spread.of_node { "node-" } else { "" })
}

/// One statement for each run of elements of one map.
fn statements<'a>(
    text: &mut String,
    verb: &str,
    elements: impl Iterator<Item = (&'a Element, Option<&'a Value>)>,
) {
    let mut open: Option<&str> = None;
    for (element, value) in elements {
        let map = map_of(element);
        match open {
            Some(same) if same == map => text.push_str(", "),
            _ => {
                if open.is_some() {
                    text.push_str(" }\n");
                }
                let _ = write!(text, "{verb} element ip {TABLE} {map} {{ ");
                open = Some(map);
            }
        }
        key(text, element);
        if let Some(value) = value {
            says(text, element, value);
        }
    }
    if open.is_some() {
        text.push_str(" }\n");
    }
}

fn map_of(element: &Element) -> &'static str {
    let of = |front: &Front, one, node| if front.address.is_some() { one } else { node };
    match element {
        Element::Dispatch(front) => of(front, "services", "node-services"),
        Element::Endpoint(front, _) => of(front, "endpoints", "node-endpoints"),
        Element::Pick(front, _) => of(front, "picks", "node-picks"),
        Element::Stick(front, _) => of(front, "sticks", "node-sticks"),
        Element::Closed(front) => of(front, "closed", "node-closed"),
        Element::Hairpin(_) => "hairpins",
    }
}

fn key(text: &mut String, element: &Element) {
    let _ = match element {
        Element::Dispatch(front) | Element::Closed(front) => front_key(text, front),
        Element::Endpoint(front, mark) | Element::Pick(front, mark) | Element::Stick(front, mark) => {
            front_key(text, front).and_then(|()| write!(text, " . {mark:#x}"))
        }
        Element::Hairpin(address) => write!(text, "{address} . {address}"),
    };
}

fn front_key(text: &mut String, front: &Front) -> std::fmt::Result {
    let protocol = match front.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    if let Some(address) = front.address {
        write!(text, "{address} . ")?;
    }
    write!(text, "{protocol} . {}", front.port)
}

fn says(text: &mut String, element: &Element, value: &Value) {
    let _ = match (element, value) {
        (Element::Stick(..), Value::Spread(spread)) => {
            write!(text, " : goto {}", stick_name(spread, spread.affinity.unwrap_or_default()))
        }
        (_, Value::Spread(spread)) => write!(text, " : goto {}", spread_name(spread)),
        (_, Value::Target(target)) => write!(text, " : {} . {}", target.ip(), target.port()),
        (_, Value::Mark(mark)) => write!(text, " : {mark:#x}"),
        (_, Value::Refuse) => write!(text, " : goto refuse"),
        (_, Value::Drop) => write!(text, " : drop"),
        (_, Value::Present) => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;

    fn front(address: Option<Ipv4Addr>) -> Front {
        Front { address, protocol: Protocol::Tcp, port: 80 }
    }

    #[test]
    fn a_change_is_chains_then_what_goes_then_what_comes() {
        let vip = Some(Ipv4Addr::new(10, 96, 0, 7));
        let spread = Spread { of_node: false, count: 2, masquerades: false, affinity: None };
        let target = |last| Value::Target(SocketAddrV4::new(Ipv4Addr::new(10, 244, 1, last), 8080));
        let changes = Changes {
            chains: [spread].into(),
            removed: [
                (Element::Endpoint(front(vip), MARK), target(1)),
                (Element::Endpoint(front(None), MARK_MASQUERADE), target(1)),
                (Element::Closed(front(vip)), Value::Refuse),
            ]
            .into(),
            added: [
                (Element::Dispatch(front(vip)), Value::Spread(spread)),
                (Element::Endpoint(front(vip), MARK), target(2)),
                (Element::Endpoint(front(vip), MARK | 1), target(3)),
                (Element::Hairpin(Ipv4Addr::LOCALHOST), Value::Present),
            ]
            .into(),
        };
        let expected = "\
add chain ip sampan one-of-2
flush chain ip sampan one-of-2
add rule ip sampan one-of-2 meta mark set numgen random mod 2 offset 1509949440
add rule ip sampan one-of-2 dnat ip to ip daddr . meta l4proto . th dport . meta mark map @endpoints
delete element ip sampan node-endpoints { tcp . 80 . 0x5b000000 }
delete element ip sampan endpoints { 10.96.0.7 . tcp . 80 . 0x5a000000 }
delete element ip sampan closed { 10.96.0.7 . tcp . 80 }
add element ip sampan services { 10.96.0.7 . tcp . 80 : goto one-of-2 }
add element ip sampan endpoints { 10.96.0.7 . tcp . 80 . 0x5a000000 : 10.244.1.2 . 8080, \
10.96.0.7 . tcp . 80 . 0x5a000001 : 10.244.1.3 . 8080 }
add element ip sampan hairpins { 127.0.0.1 . 127.0.0.1 }
";
        assert_eq!(change(&changes), expected);
    }
}

//! The kernel's routes to the pods of other nodes.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use futures::TryStreamExt;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::{Handle, RouteMessageBuilder, new_connection};
use tracing::info;

use crate::proxy::cidr::Cidr;

/// By which address the pods of each range are reached.
type Routes = BTreeMap<Cidr, Ipv4Addr>;

/// Marks the agent's routes, so that those of others are left alone: a number that nobody else is known to use.
const OURS: RouteProtocol = RouteProtocol::Other(83);

/// Sees to it that these are the agent's routes and no others. Every one is tried; the first that fails is told.
pub async fn bring_up(wanted: &BTreeMap<Cidr, Ipv4Addr>) -> io::Result<()> {
    let (connection, handle, _) = new_connection()?;
    let serving = tokio::spawn(connection);
    let outcome = bring_up_on(&handle, wanted).await;
    serving.abort();
    outcome
}

async fn bring_up_on(handle: &Handle, wanted: &Routes) -> io::Result<()> {
    let present = present(handle).await?;
    let (missing, stale) = difference(wanted, &present);
    for (range, address) in stale {
        info!(%range, %address, "no route to these pods any more");
        handle.route().del(route(range, address)).execute().await.map_err(io::Error::other)?;
    }
    let mut first_failure = Ok(());
    for (range, address) in missing {
        match handle.route().add(route(range, address)).replace().execute().await {
            Ok(()) => info!(%range, %address, "pods are reached by this address"),
            Err(error) if first_failure.is_ok() => {
                let why = format!("no route to the pods {range} by way of {address}: {error}");
                first_failure = Err(io::Error::other(why));
            }
            Err(_) => {}
        }
    }
    first_failure
}

/// PURE: what is to be added or replaced, and what is to go.
fn difference(wanted: &Routes, present: &Routes) -> (Routes, Routes) {
    let missing = wanted.iter().filter(|(range, address)| present.get(range) != Some(address));
    let stale = present.iter().filter(|(range, _)| !wanted.contains_key(range));
    let owned = |(range, address): (&Cidr, &Ipv4Addr)| (*range, *address);
    (missing.map(owned).collect(), stale.map(owned).collect())
}

fn route(range: Cidr, address: Ipv4Addr) -> RouteMessage {
    let to = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(range.address(), range.prefix());
    to.gateway(address).protocol(OURS).build()
}

async fn present(handle: &Handle) -> io::Result<Routes> {
    let all = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    let all: Vec<RouteMessage> = all.try_collect().await.map_err(io::Error::other)?;
    Ok(all.iter().filter_map(read).collect())
}

/// A route of ours.
fn read(message: &RouteMessage) -> Option<(Cidr, Ipv4Addr)> {
    if message.header.protocol != OURS {
        return None;
    }
    let address = |wanted: fn(&RouteAttribute) -> Option<&RouteAddress>| {
        message.attributes.iter().find_map(wanted).and_then(|address| match address {
            RouteAddress::Inet(address) => Some(*address),
            _ => None,
        })
    };
    let to = address(|one| if let RouteAttribute::Destination(to) = one { Some(to) } else { None })?;
    let by = address(|one| if let RouteAttribute::Gateway(by) = one { Some(by) } else { None })?;
    Some((Cidr::new(to, message.header.destination_prefix_length)?, by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[(&str, &str)]) -> Routes {
        list.iter().map(|(range, address)| (range.parse().unwrap(), address.parse().unwrap())).collect()
    }

    #[test]
    fn only_what_differs_is_touched() {
        let wanted = routes(&[
            ("10.0.0.0/24", "192.0.2.1"),
            ("10.0.1.0/24", "192.0.2.9"),
            ("10.0.3.0/24", "192.0.2.3"),
        ]);
        let present = routes(&[
            ("10.0.0.0/24", "192.0.2.1"),
            ("10.0.1.0/24", "192.0.2.2"),
            ("10.0.2.0/24", "192.0.2.4"),
        ]);
        let (missing, stale) = difference(&wanted, &present);
        let shown = |list: Routes| list.iter().map(|(to, by)| format!("{to} {by}")).collect::<Vec<_>>();
        assert_eq!(
            shown(missing),
            ["10.0.1.0/24 192.0.2.9", "10.0.3.0/24 192.0.2.3"],
            "a node with a new address too"
        );
        assert_eq!(shown(stale), ["10.0.2.0/24 192.0.2.4"]);
    }

    #[test]
    fn a_route_is_read_as_it_is_written() {
        let (range, address) = ("10.0.0.0/24".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(read(&route(range, address)), Some((range, address)));
        let mut of_others = route(range, address);
        of_others.header.protocol = RouteProtocol::Static;
        assert_eq!(read(&of_others), None);
    }
}

//! PURE: a range of addresses, as `10.244.0.0/16`.

use std::fmt::{self, Display};
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

/// A text that is no range.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no range of IPv4 addresses as 10.244.0.0/16")]
pub struct NoCidr(String);

impl Cidr {
    /// The range that begins at `address`, unless it would begin in the middle of another.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Cidr> {
        let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        (prefix <= 32 && address.to_bits() & host_bits == 0).then_some(Cidr { address, prefix })
    }

    /// Its first address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// How many bits all of its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let wrong = || NoCidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let (address, prefix): (Ipv4Addr, u8) =
            address.parse().ok().zip(prefix.parse().ok()).ok_or_else(wrong)?;
        // A range that begins in the middle of another is a mistake.
        Cidr::new(address, prefix).ok_or_else(wrong)
    }
}

impl Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_no_host_bits() {
        let shown = |text: &str| text.parse::<Cidr>().map(|cidr| cidr.to_string()).ok();
        for text in ["10.244.0.0/16", "0.0.0.0/0", "192.0.2.1/32"] {
            assert_eq!(shown(text).as_deref(), Some(text));
        }
        for text in ["10.244.0.1/16", "10.244.0.0", "10.244.0.0/33", "fd00::/8", ""] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}

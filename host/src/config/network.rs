//! Hosts and networks that are not public, and that modules may reach nevertheless.

use std::net::IpAddr;

use super::domain::is_domain;
use super::origin::covers_host;

/// The rule for an entry of `outgoing.private`.
pub const RULE: &str =
    "an address, a network or a name in lower case, such as \"10.0.0.5\", \"10.0.0.0/8\" or \"*.internal\"";

/// An entry of `outgoing.private`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// The addresses that a name, or the names below `*.`, resolve to.
    Name(String),
    /// The addresses that begin with these bits.
    Block { address: IpAddr, bits: u8 },
}

impl Network {
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            let name = bits.is_none() && is_domain(text.strip_prefix("*.").unwrap_or(text));
            return name.then(|| Network::Name(text.to_owned()));
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Network::Block { address, bits })
    }

    /// Whether a host with this name and this address is meant.
    pub fn has(&self, name: &str, address: IpAddr) -> bool {
        match (self, address) {
            (Network::Name(entry), _) => covers_host(entry, name),
            (Network::Block { address: IpAddr::V4(block), bits }, IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                u32::from(*block) & mask == u32::from(address) & mask
            }
            (Network::Block { address: IpAddr::V6(block), bits }, IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                u128::from(*block) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

/// Whether an address belongs to a host that anybody can reach. All other addresses, such as those
/// of this machine, of its network and of metadata services, need to be named.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !matches!(
                (a, b, c),
                (0 | 10 | 127, ..)
                    | (224.., ..)
                    | (100, 64..=127, _)
                    | (169, 254, _)
                    | (172, 16..=31, _)
                    | (192, 168, _)
                    | (198, 18 | 19, _)
                    | (192, 0, 0 | 2)
                    | (192, 88, 99)
                    | (198, 51, 100)
                    | (203, 0, 113)
            )
        }
        // Global unicast, without what stands for other addresses (such as 6to4 and Teredo), and
        // without documentation.
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_public(address.into()),
            None => {
                let [a, b, ..] = address.segments();
                let special =
                    matches!((a, b), (0x2001, 0..0x200) | (0x2001, 0xdb8) | (0x2002, _) | (0x3fff, 0..0x1000));
                a & 0xe000 == 0x2000 && !special
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for text in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_entry_means_a_name_an_address_or_a_network() {
        let has =
            |entry: &str, name: &str, address: &str| Network::parse(entry).unwrap().has(name, address.parse().unwrap());
        assert!(has("10.0.0.0/8", "x", "10.255.0.1") && !has("10.0.0.0/8", "x", "11.0.0.1"));
        assert!(has("10.0.0.5", "x", "10.0.0.5") && !has("10.0.0.5", "x", "10.0.0.6"));
        assert!(has("0.0.0.0/0", "x", "127.0.0.1") && !has("0.0.0.0/0", "x", "::1"));
        assert!(has("fd00::/8", "x", "fd12::1") && !has("fd00::/8", "x", "fe80::1") && has("::/0", "x", "::1"));
        assert!(has("db.internal", "db.internal", "10.0.0.1") && !has("db.internal", "a.db.internal", "10.0.0.1"));
        assert!(has("*.internal", "db.internal", "10.0.0.1") && !has("*.internal", "internal", "10.0.0.1"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "a/8", "A.test", "*", "http://a"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}

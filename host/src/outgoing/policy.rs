//! Which servers a module may reach.

use std::net::IpAddr;

use crate::config::capabilities::ALL;
use crate::config::network::{Network, is_public};
use crate::config::origin::{Origin, covers};

/// Which servers a module may reach.
#[derive(Debug, Default)]
pub struct Policy {
    /// The entries of the capability `http`.
    origins: Vec<String>,
    /// `outgoing.private`.
    private: Vec<Network>,
}

impl Policy {
    pub fn new(origins: Vec<String>, private: Vec<Network>) -> Policy {
        Policy { origins, private }
    }

    /// Whether the module may send requests to an origin.
    pub fn admits(&self, origin: &Origin) -> bool {
        let wanted = origin.to_string();
        self.origins.iter().any(|entry| entry == ALL || covers(entry, &wanted))
    }

    /// Whether a request to an origin, which the policy admits, may go to this address. The caller
    /// asks after the name was resolved, for the address that it then connects to, so that a name
    /// whose address changes reaches nothing else.
    pub fn reaches(&self, origin: &Origin, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || self.private.iter().any(|network| network.has(&origin.host, address))
            || (self.names(origin) && (origin.address() == Some(address) || is_local(origin, address)))
    }

    /// Whether an entry names exactly this origin.
    fn names(&self, origin: &Origin) -> bool {
        self.origins.iter().any(|entry| Origin::parse(entry).as_ref() == Some(origin))
    }
}

/// `localhost` stands for the addresses of this machine.
fn is_local(origin: &Origin, address: IpAddr) -> bool {
    origin.host == "localhost" && address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(entries: &[&str], private: &[&str], origin: &str, address: &str) -> bool {
        let private = private.iter().map(|entry| Network::parse(entry).unwrap()).collect();
        let policy = Policy::new(entries.iter().map(|entry| (*entry).to_owned()).collect(), private);
        let origin = Origin::parse(origin).unwrap();
        policy.admits(&origin) && policy.reaches(&origin, address.parse().unwrap())
    }

    #[test]
    fn a_name_reaches_public_addresses_only() {
        for entry in ["https://a.test", "https://*.test", "*"] {
            assert!(reaches(&[entry], &[], "https://a.test", "93.184.216.34"), "{entry}");
            for address in ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "::ffff:10.0.0.5", "fd00::1"] {
                assert!(!reaches(&[entry], &[], "https://a.test", address), "{entry} {address}");
            }
        }
        assert!(!reaches(&["https://a.test"], &[], "https://b.test", "93.184.216.34"));
    }

    #[test]
    fn other_addresses_must_be_named() {
        assert!(reaches(&["http://10.0.0.5"], &[], "http://10.0.0.5", "10.0.0.5"));
        assert!(reaches(&["http://[::1]:81"], &[], "http://[::1]:81", "::1"));
        assert!(reaches(&["http://localhost:81"], &[], "http://localhost:81", "127.0.0.1"));
        assert!(!reaches(&["http://localhost:81"], &[], "http://localhost:81", "10.0.0.5"));
        assert!(!reaches(&["*"], &[], "http://10.0.0.5", "10.0.0.5"));
        assert!(!reaches(&["*"], &[], "http://localhost", "127.0.0.1"));
        assert!(reaches(&["http://db.test"], &["db.test"], "http://db.test", "10.0.0.5"));
        assert!(reaches(&["*"], &["10.0.0.0/8"], "http://db.test", "10.0.0.5"));
        assert!(!reaches(&["*"], &["10.0.0.0/8"], "http://db.test", "127.0.0.1"));
    }
}

//! Which addresses the sockets of a module may use.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;

use super::names::Names;
use crate::config::endpoint::Endpoint;
use crate::config::network::{Network, is_public};
use crate::config::origin::covers_host;

/// The most names that a module has looked up below a `*.` and that the host remembers.
const MOST_NAMES: usize = 64;

/// The endpoints of a module, and the addresses of their names.
#[derive(Debug)]
pub struct Sockets {
    entries: Vec<Endpoint>,
    private: Vec<Network>,
    /// The names that the guest has looked up and that an entry with `*.` covers, the newest last.
    looked_up: Mutex<VecDeque<String>>,
    names: Names,
}

impl Sockets {
    /// With the entries of the capability `sockets` and of `outgoing.private`. Each is valid.
    pub fn new(entries: &[String], private: Vec<Network>, names: Names) -> Sockets {
        let entries = entries.iter().filter_map(|entry| Endpoint::parse(entry)).collect();
        Sockets { entries, private, looked_up: Mutex::default(), names }
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The addresses of a name that the module may look up. None if it cannot be resolved.
    pub async fn look_up(&self, name: &str) -> Vec<IpAddr> {
        match name.trim_matches(['[', ']']).parse() {
            Ok(address) => vec![address],
            Err(_) => self.names.look_up(&name.to_ascii_lowercase()).await,
        }
    }

    /// Whether the module may look a name up. The host remembers the name.
    pub fn admits_name(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || self.entries.iter().any(|entry| entry.host == name)
        {
            return true;
        }
        let covered = self.entries.iter().any(|entry| covers_host(&entry.host, &name));
        let mut looked_up = self.looked_up.lock();
        if covered && !looked_up.contains(&name) {
            if looked_up.len() == MOST_NAMES {
                looked_up.pop_front();
            }
            looked_up.push_back(name);
        }
        covered
    }

    /// Whether the module may send to an address, or receive from it.
    pub async fn admits(&self, udp: bool, to: SocketAddr) -> bool {
        let address = to.ip().to_canonical();
        let fits = |entry: &&Endpoint| entry.udp == udp && entry.port.is_none_or(|port| port == to.port());
        let entries: Vec<&Endpoint> = self.entries.iter().filter(fits).collect();
        if entries.iter().any(|entry| entry.origin().address() == Some(address)) {
            return true;
        }
        let mut names = Vec::new();
        for entry in entries.iter().filter(|entry| entry.origin().address().is_none()) {
            match entry.host.starts_with("*.") {
                false => names.push(entry.host.clone()),
                true => {
                    let looked_up = self.looked_up.lock();
                    names.extend(looked_up.iter().filter(|name| covers_host(&entry.host, name)).cloned());
                }
            }
        }
        for name in names {
            if self.reaches(&name, address) && self.names.look_up(&name).await.contains(&address) {
                return true;
            }
        }
        false
    }

    /// Whether this address may be that of a name.
    fn reaches(&self, name: &str, address: IpAddr) -> bool {
        is_public(address)
            || self.private.iter().any(|network| network.has(name, address))
            || (name == "localhost" && address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::names::AllNames;

    fn sockets(entries: &[&str]) -> Sockets {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Sockets::new(&entries, Vec::new(), AllNames::default().of_module())
    }

    #[tokio::test]
    async fn only_named_hosts_and_ports_are_admitted() {
        let all = sockets(&["tcp://10.0.0.5:5432", "udp://127.0.0.1:*", "tcp://localhost:80", "tcp://*.a.test:1"]);
        for (udp, to, admitted) in [
            (false, "10.0.0.5:5432", true),
            (false, "10.0.0.5:5433", false),
            (true, "10.0.0.5:5432", false),
            (true, "127.0.0.1:9", true),
            (false, "127.0.0.1:80", true),
            (false, "127.0.0.1:81", false),
            (false, "10.0.0.6:80", false),
        ] {
            assert_eq!(all.admits(udp, to.parse().unwrap()).await, admitted, "{udp} {to}");
        }
        assert!(all.admits_name("localhost") && all.admits_name("B.a.test") && all.admits_name("1.2.3.4"));
        assert!(!all.admits_name("a.test") && !all.admits_name("metadata.internal"));
        for index in 0..1_000 {
            assert!(all.admits_name(&format!("n{index}.a.test")));
        }
        assert_eq!(all.looked_up.lock().len(), MOST_NAMES);
    }

    #[tokio::test]
    async fn a_name_reaches_public_addresses_only_unless_the_operator_names_others() {
        for (private, address, admitted) in [
            (&[][..], "93.184.216.34", true),
            (&[], "10.0.0.5", false),
            (&[], "127.0.0.1", false),
            (&[], "169.254.169.254", false),
            (&["db.test"], "10.0.0.5", true),
            (&["10.0.0.0/8"], "10.0.0.5", true),
            (&["10.0.0.0/8"], "127.0.0.1", false),
        ] {
            let private = private.iter().map(|entry| Network::parse(entry).unwrap()).collect();
            let names = AllNames::default().of_module();
            let address: IpAddr = address.parse().unwrap();
            names.keep("db.test", &[address]);
            let sockets = Sockets::new(&["tcp://db.test:5432".to_owned()], private, names);
            assert_eq!(sockets.admits(false, (address, 5432).into()).await, admitted, "{address}");
        }
    }
}

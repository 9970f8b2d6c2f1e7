//! Which port each part takes, and whether it is free.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

use contract::ports::{self, Part};

use crate::error::{Error, name};

/// Where every part listens.
#[derive(Debug, Clone)]
pub struct Ports {
    host: Ipv4Addr,
    ports: [u16; Part::ALL.len()],
}

impl Ports {
    /// The contract's ports, each overridable by the environment.
    ///
    /// # Errors
    /// When a variable holds no port, or the host is no IPv4 address.
    pub fn contract() -> Result<Self, Error> {
        let lookup = |variable: &str| std::env::var(variable).ok();
        let host = ports::host(lookup);
        let host = host.parse().map_err(|_| {
            Error::Setting(format!("{}={host:?} is not an IPv4 address: give 127.0.0.1", ports::HOST_VARIABLE))
        })?;
        let mut found = [0; Part::ALL.len()];
        for (slot, part) in found.iter_mut().zip(Part::ALL) {
            *slot = ports::port(part, lookup)?;
        }
        Ok(Self { host, ports: found })
    }

    /// Free ports on loopback that this process has not handed out before.
    ///
    /// # Errors
    /// When hardly any port is free.
    pub fn free() -> Result<Self, Error> {
        let mut found = [0; Part::ALL.len()];
        for slot in &mut found {
            *slot = free_port()?;
        }
        Ok(Self { host: Ipv4Addr::LOCALHOST, ports: found })
    }

    /// The part's port.
    #[must_use]
    pub fn port(&self, part: Part) -> u16 {
        Part::ALL.iter().zip(self.ports).find(|(known, _)| **known == part).map_or(0, |(_, port)| port)
    }

    /// Where the part listens.
    #[must_use]
    pub fn address(&self, part: Part) -> SocketAddr {
        SocketAddr::from((self.host, self.port(part)))
    }

    /// `http://host:port` of the part.
    #[must_use]
    pub fn url(&self, part: Part) -> String {
        format!("http://{}", self.address(part))
    }

    /// # Errors
    /// When another program listens on the port of `part`.
    pub fn check_free(&self, part: Part) -> Result<(), Error> {
        // Without SO_REUSEPORT, so that it also fails where a second Envoy would quietly share the port.
        match TcpListener::bind(self.address(part)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(Error::PortTaken { part: name(part), port: self.port(part), variable: part.variable() })
            }
            Err(source) => Err(Error::Io {
                doing: format!("cannot listen on {} for the {}", self.address(part), name(part)),
                source,
            }),
        }
    }
}

static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Below the range from which the kernel takes ports of outgoing connections, since one of those could take a free port
/// between this check and the part's start.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

fn free_port() -> Result<u16, Error> {
    let mut given = HANDED_OUT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Test processes that run at once start at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    for step in 0..COUNT {
        let offset = (start + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap_or(0);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Error::Setting(format!(
        "no free port between {FIRST} and {}: stop something",
        u32::from(FIRST) + u32::from(COUNT)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_not_given_twice() {
        let (a, b) = (Ports::free().unwrap(), Ports::free().unwrap());
        let all: BTreeSet<u16> = a.ports.iter().chain(&b.ports).copied().collect();
        assert_eq!(all.len(), 2 * Part::ALL.len());
    }

    #[test]
    fn a_taken_port_is_named_with_its_variable() {
        let ports = Ports::free().unwrap();
        let _holder = TcpListener::bind(ports.address(Part::Scorer)).unwrap();
        let error = ports.check_free(Part::Scorer).unwrap_err().to_string();
        assert!(error.contains("PERCH_SCORER_PORT") && error.contains("scorer"), "{error}");
        assert!(ports.check_free(Part::Rules).is_ok());
    }
}

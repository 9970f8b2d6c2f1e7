//! The cases in which gateways are measured.

use crate::load::Protocol;
use crate::traffic::Kind;

/// A kind of request over a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) protocol: Protocol,
}

impl Case {
    /// The protocol as tables name it.
    pub(super) const fn protocol(self) -> &'static str {
        match self.protocol {
            Protocol::H1 => "HTTP/1.1",
            Protocol::H2 => "HTTP/2",
        }
    }
}

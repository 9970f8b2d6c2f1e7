//! What Envoy's matchers found, by the note that its RBAC filter made of it (see [`contract::notes`]): the matchers that
//! stand around the plugins of the WebAssembly module, asked at a fraction of what such a wrapping costs
//! (`filter/COST.md`). Without the note nobody is in the canary, and everything is observed.

use contract::notes;

use crate::abi::Address;
use crate::stream::metadata;

/// Is the user of the request at `stream`, in one of its hooks, in the canary?
pub(crate) fn in_canary(stream: Address) -> bool {
    metadata(stream, notes::NAMESPACE, notes::CANARY, |word| word == notes::IN_CANARY.as_bytes()).unwrap_or(false)
}

/// Does the sample of the observations leave the request out?
pub(crate) fn left_out(stream: Address) -> bool {
    metadata(stream, notes::NAMESPACE, notes::SAMPLE, |word| word == notes::LEFT_OUT.as_bytes()).unwrap_or(false)
}

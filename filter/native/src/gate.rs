//! What Envoy's matchers found, by the note that its RBAC filter made of it (see [`contract::notes`]): the matchers that
//! stand around the plugins of the WebAssembly module, asked at a fraction of what such a wrapping costs
//! (`filter/COST.md`). Without the note nobody is in the canary, and everything is observed.

use contract::notes;

use crate::abi::Address;
use crate::stream::metadata;

/// Is the user of the request at `stream`, in one of its hooks, in the canary?
pub(crate) fn in_canary(stream: Address) -> bool {
    noted(stream, &[notes::IN_CANARY, notes::IN_CANARY_LEFT_OUT])
}

/// Does the sample of the observations leave the request out?
pub(crate) fn left_out(stream: Address) -> bool {
    noted(stream, &[notes::LEFT_OUT, notes::IN_CANARY_LEFT_OUT])
}

fn noted(stream: Address, words: &[&str]) -> bool {
    let one_of = |word: &[u8]| words.iter().any(|wanted| wanted.as_bytes() == word);
    metadata(stream, notes::NAMESPACE, notes::KEY, one_of).unwrap_or(false)
}

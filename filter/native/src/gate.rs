//! Who is in the canary, and what the sample of the observations leaves out, by a copy of the shares that Envoy's runtime
//! holds: Envoy shows modules its runtime on the main thread only, and matchers of its own, which any thread could ask,
//! cost several times what everything else here does (`filter/COST.md`).
//!
//! The main thread renews the copy before a change by the admin interface is answered (see [`crate::admin`]), so that such
//! a change holds from the next request on, and with every tick, for layers that change by themselves. Envoy shows modules
//! whole numbers and no fractions: of what is no whole number its admin interface is asked (see [`crate::plugin`]).
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use contract::bucket::Bucket;
use contract::names::{Arm, Cohort};
use contract::switch::{self, BETA_KEY, Denominator, OBSERVE_KEY, RUNTIME_KEY, Share};

use crate::abi::{self, Address, Bytes};
use crate::stream::header;

/// What Envoy is asked for a value by where there is none, or one that is no whole number: no share that anybody sets.
const NONE: u64 = u64::MAX;

/// One of the shares.
struct Copied {
    key: &'static str,
    /// Where no layer has the key, or what it has is no share.
    otherwise: Share,
    packed: AtomicU64,
}

static CANARY: Copied = Copied::new(RUNTIME_KEY, Share::OFF);
static BETA: Copied = Copied::new(BETA_KEY, Share::OFF);
static OBSERVE: Copied = Copied::new(OBSERVE_KEY, Share::ALL);
static ALL: [&Copied; 3] = [&CANARY, &BETA, &OBSERVE];

impl Copied {
    const fn new(key: &'static str, otherwise: Share) -> Self {
        Self { key, otherwise, packed: AtomicU64::new(pack(otherwise)) }
    }

    fn share(&self) -> Share {
        let packed = self.packed.load(Ordering::Acquire);
        let denominator = match packed & 3 {
            0 => Denominator::Hundred,
            1 => Denominator::TenThousand,
            _ => Denominator::Million,
        };
        Share::new(u32::try_from(packed >> 2).unwrap_or_default(), denominator)
    }

    fn set(&self, share: Share) {
        self.packed.store(pack(share), Ordering::Release);
    }

    /// Main thread: what the runtime holds, where it is a whole number.
    fn percent(&self) -> Option<Share> {
        // SAFETY: the key lives until the call returns.
        let held = unsafe { abi::envoy_dynamic_module_callback_get_runtime_int(Bytes::of(self.key.as_bytes()), NONE) };
        (held != NONE).then(|| Share::percent(u32::try_from(held).unwrap_or(u32::MAX)))
    }
}

const fn pack(share: Share) -> u64 {
    let denominator = match share.denominator() {
        Denominator::Hundred => 0,
        Denominator::TenThousand => 1,
        Denominator::Million => 2,
    };
    (share.numerator() as u64) << 2 | denominator
}

/// Main thread: copies what is a whole number. Was that everything?
pub(crate) fn renew() -> bool {
    let mut everything = true;
    for copied in ALL {
        match copied.percent() {
            Some(share) => copied.set(share),
            None => everything = false,
        }
    }
    everything
}

/// Main thread: copies what is no whole number from what the admin interface says under `/runtime`; without an answer of
/// its, nobody is in a share that is not known. Was it one?
pub(crate) fn told(runtime: Option<&[u8]>) -> bool {
    // Another server may answer with JSON too.
    let runtime = runtime.and_then(switch::listing).filter(|runtime| runtime.get("entries").is_some());
    for copied in ALL.into_iter().filter(|copied| copied.percent().is_none()) {
        let held = runtime.as_ref().and_then(|runtime| switch::held(runtime, copied.key));
        copied.set(held.and_then(Share::from_runtime).unwrap_or(copied.otherwise));
    }
    runtime.is_some()
}

/// Who answers that user.
pub(crate) fn arm(bucket: Bucket, cohort: Cohort) -> Arm {
    let (share, beta) = (CANARY.share(), BETA.share());
    // The common case by far, for which nothing need be hashed.
    if share.numerator() == 0 && beta.numerator() == 0 {
        Arm::Baseline
    } else {
        switch::arm(bucket, cohort, share, beta)
    }
}

/// Does the sample of the observations leave out the request at `stream`, in one of its hooks?
pub(crate) fn left_out(stream: Address) -> bool {
    let share = OBSERVE.share();
    share != Share::ALL && !header(stream, "x-request-id", |id| switch::sampled(id, share)).unwrap_or(false)
}

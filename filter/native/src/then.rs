//! What a callback of a stream leaves to its hook.
#![allow(unsafe_code)]

use filter::pairs::Pairs;

use crate::abi::{self, Address, Bytes, Header};

/// What a callback puts off until the worker is free again, and nothing of the stream is borrowed any more: within these
/// Envoy calls back into the filter, and may be done with the stream when they return.
#[derive(Debug)]
pub(crate) enum Then {
    /// Answer the client.
    Respond {
        /// As [`filter::pairs::write`] writes them.
        headers: Vec<u8>,
        body: Vec<u8>,
        details: String,
    },
    /// Let the request go on.
    Resume,
}

impl Then {
    /// Does it.
    ///
    /// # Safety
    /// `envoy` was handed to the hook that is running on this thread.
    pub(crate) unsafe fn perform(self, envoy: Address) {
        match self {
            Self::Respond { headers, body, details } => {
                let headers: Vec<Header> = Pairs::new(&headers).iter().map(Header::of).collect();
                // SAFETY: the stream's address is good in its hook; the rest are locals that outlive the call.
                unsafe {
                    abi::envoy_dynamic_module_callback_http_send_response(
                        envoy,
                        200,
                        headers.as_ptr(),
                        headers.len(),
                        Bytes::of(&body),
                        Bytes::of(details.as_bytes()),
                    );
                }
            }
            // SAFETY: as above.
            Self::Resume => unsafe { abi::envoy_dynamic_module_callback_http_filter_continue_decoding(envoy) },
        }
    }
}

//! Issue by issue, sentence by sentence, what Perch promises, on the real Envoy with the built filter.

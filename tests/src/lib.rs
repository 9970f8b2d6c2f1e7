//! Perch end to end: the real Envoy, the built filter, the real scorer, and upstreams that misbehave on command.

//! Perch's Envoy filter: sticky buckets, the model's detour, observations.

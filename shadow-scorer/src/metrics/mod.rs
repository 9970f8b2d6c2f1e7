//! Every metric that the scorer exposes, declared once.

//! Runs the whole of Perch on one machine: renders the configurations, starts, watches and stops the parts, and shows the demo.

#!/usr/bin/env bash
# Load generators for the benchmarks.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

have h2load || apt_install nghttp2-client
have wrk || apt_install wrk

#!/usr/bin/env bash
# PostgreSQL, for the tests that run the store's suite on it. They start servers of their own as an ordinary user.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && exit
# Debian would make and start a server of its own on the default port.
as_root mkdir -p /etc/postgresql-common
[ -f /etc/postgresql-common/createcluster.conf ] ||
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
apt_install postgresql

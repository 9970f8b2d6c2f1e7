#!/usr/bin/env bash
# PostgreSQL and PgBouncer, for the tests that run the store's suite on them. They start servers of their own as an
# ordinary user.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && [ -x /usr/sbin/pgbouncer ] && exit
# Debian would make and start a server of its own on the default port.
as_root mkdir -p /etc/postgresql-common
[ -f /etc/postgresql-common/createcluster.conf ] ||
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
# Nor should a pooler run: the tests start their own.
as_root mkdir -p /etc/systemd/system
as_root ln -sf /dev/null /etc/systemd/system/pgbouncer.service
apt_install postgresql pgbouncer

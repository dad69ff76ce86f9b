# SPDX-License-Identifier: Apache-2.0
"""Who may ask the daemon for what: root, the two groups, and nobody else."""
import os
import shutil

import pytest

from lab import BUILD, wait_for
from lines import BANNED

READERS, ADMINS = 64001, 64002  # groups that exist for the daemon alone
READ_VERBS = [("status",), ("rules",), ("sets",), ("drops",), ("set", "list", "banned"), ("diff", "policy.yaml"),
              ("explain", "--at", "wan.ingress", "udp 192.0.2.1:1 > 10.77.1.1:53")]
CHANGE_VERBS = [("apply", "policy.yaml"), ("set", "add", "banned", "192.0.2.9"), ("set", "del", "banned", "192.0.2.9"),
                ("attach", "wan0", "--as", "wan"), ("detach", "wan0")]
PURGE = ("purge", "--yes")  # for good
# Says nothing and reads: what a stranger gets before a byte of a request was read.
SILENT = """import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(3)
s.connect(sys.argv[1])
print(s.recv(4096).decode())"""


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.host, _ = lab.quiet_pair()
        self.daemon = daemon = lab.daemon(self.host, start=False)
        with open("/etc/group", encoding="utf-8") as f:
            others = [line for line in f if not line.startswith("penstock")]
        groups = lab.write("group", "".join(others) + f"penstock:x:{READERS}:\npenstock-admin:x:{ADMINS}:\n")
        with open(daemon.log, "ab") as log:
            daemon.process = lab.spawn(
                self.host, "unshare", "--mount", "sh", "-c", f'mount --bind {groups} /etc/group && exec "$@"', "sh",
                f"{BUILD}/penstockd", "--foreground", "--instance", daemon.instance, "--run-dir", daemon.run_dir,
                "--state-dir", daemon.state_dir, stderr=log)
        wait_for(lambda: daemon.cli("status").exit == 0, "the daemon to answer")
        daemon.apply(BANNED)
        self.penstock = shutil.copy(f"{BUILD}/penstock", lab.dir)  # where anybody can reach it

    def run_as(self, *command, groups=()):
        kept = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
        return self.lab.run(self.host, "setpriv", "--reuid=65534", "--regid=65534", kept, *command)

    def verb(self, words, groups=()):
        words = [f"{self.lab.dir}/{word}" if word == "policy.yaml" else word for word in words]
        return self.run_as(self.penstock, "--run-dir", self.daemon.run_dir, *words, groups=groups)


@pytest.fixture
def site(lab):
    return Site(lab)


def test_strangers_get_nothing(site):
    """Every verb as nobody ends with 4, and so it does when the sockets' modes are open to all: who connects is
    looked at as well, and is told before anything is read. Nothing changes, others are served. Rules out rights
    that hang on a file's mode."""
    sockets = [f"{site.daemon.run_dir}/{name}" for name in ("penstock.sock", "read.sock")]
    before = site.daemon.ok("status")["policy"]
    for mode in None, 0o666:
        for path in sockets if mode else ():
            os.chmod(path, mode)
            answer = site.run_as("/usr/bin/python3", "-c", SILENT, path)
            assert "403 Forbidden" in answer.stdout and "not-permitted" in answer.stdout, answer
        for verb in READ_VERBS + CHANGE_VERBS + [PURGE]:
            answer = site.verb(verb)
            assert answer.exit == 4 and answer.stderr and not answer.stdout, (mode, verb, answer)
    assert site.daemon.ok("status")["policy"] == before
    assert site.daemon.ok("set", "list", "banned")["members"] == []


def test_readers_read_and_admins_change(site):
    """A member of penstock gets every verb that reads and 4 from every one that changes; a member of penstock-admin
    gets both. Rules out one group for all, and a check of the first group alone."""
    for verb in READ_VERBS:
        assert site.verb(verb, (READERS,)).exit == 0, verb
    for verb in CHANGE_VERBS + [PURGE]:
        answer = site.verb(verb, (1, READERS))
        assert answer.exit == 4 and "penstock-admin" in answer.stderr, (verb, answer)
    assert site.daemon.ok("set", "list", "banned")["members"] == []
    for verb in CHANGE_VERBS + READ_VERBS + [PURGE]:
        answer = site.verb(verb, (1, ADMINS))
        assert answer.exit == 0, (verb, answer)

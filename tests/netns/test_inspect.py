# SPDX-License-Identifier: Apache-2.0
"""penstock-inspect: what it may do, what it answers, what it refuses, and that nothing needs it."""
import errno
import glob
import os
import signal
import socket
import struct
import subprocess

import pytest

import kernel
from lab import BPFFS, BUILD, wait_for
from test_attach import policy
from test_privilege import NOBODY, THREE, options, process_status

SYS_ADMIN = 1 << 21
MAGIC, READY, PROGRAM = 0x31736E69, 1, 2
REQUEST, ANSWER = struct.Struct("IIQII"), struct.Struct("IIQiIII16s")


def inspector_of(daemon):
    """Its process id, None when there is none."""
    for path in glob.glob(f"/proc/{daemon.process.pid}/task/*/children"):
        with open(path, encoding="ascii") as f:
            for pid in f.read().split():
                with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    if comm.read().strip() == "penstock-inspect"[:15]:
                        return int(pid)
    return None


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


class Site:
    """A device with somebody else's program, and a daemon that is asked to attach there."""

    def __init__(self, lab, *arguments):
        self.lab = lab
        self.host, _ = lab.quiet_pair()
        self.daemon = lab.daemon(self.host, *arguments)
        kernel.pin_foreign(f"{BPFFS}/{lab.id}/foreign", "their_filter")
        lab.ip(self.host, f"link set dev wan0 xdpdrv pinned {BPFFS}/{lab.id}/foreign")
        self.file = lab.write("xdp.yaml", policy(hook="xdp"))

    def refusal(self, daemon=None):
        """What an apply says; on a busy machine a name may take a second one."""
        answer = (daemon or self.daemon).cli("apply", self.file)
        assert answer.exit == 1 and "another XDP program is attached: id " in answer.stderr, answer
        return answer.stderr


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_each_process_has_what_it_needs_and_no_more(lab, user):
    """/proc/PID/status of both: the daemon three capabilities, the inspector CAP_SYS_ADMIN alone, in every set that
    counts; no_new_privs, a list of system calls, the service user. The inspector has one descriptor beside
    /dev/null. With that it names the program that is in the way. Killed with the daemon, it is gone, and the next
    daemon starts. Rules out a helper with all of root's rights, and one that outlives its daemon."""
    site = Site(lab, *options(user))
    pid = inspector_of(site.daemon)
    for process, capabilities in (site.daemon.process.pid, THREE), (pid, SYS_ADMIN):
        status = process_status(f"/proc/{process}")
        sets = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
        assert sets == [0, capabilities, capabilities, capabilities, 0], (process, sets)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), process
        assert status["Uid"].split() == status["Gid"].split() == [str(user)] * 4, process
    assert process_status(f"/proc/{pid}")["Groups"].strip() == ""
    files = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert files.pop(3).startswith("socket:") and set(files.values()) == {"/dev/null"}
    wait_for(lambda: "('their_filter', loaded by uid 0); it is left alone" in site.refusal(), "the name")
    site.daemon.stop(signal.SIGKILL)
    wait_for(lambda: gone(pid), "the inspector to end")
    site.daemon.start()
    assert inspector_of(site.daemon)
    wait_for(lambda: "'their_filter'" in site.refusal(), "the name")
    assert site.daemon.stop() == 0


def test_nothing_needs_the_inspector(lab):
    """Killed, it is missed by name, and the daemon goes on: the refusal has the program's number, other policies are
    applied. --no-inspect starts none, and so does a start without CAP_SYS_ADMIN, which says so. Rules out a daemon
    that ends with its helper, or waits for it."""
    site = Site(lab)
    pid = inspector_of(site.daemon)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "penstock-inspect has ended" in site.daemon.logged(), "the log")
    assert gone(pid)
    assert "(its name is not visible: no penstock-inspect)" in site.refusal()
    site.daemon.apply(policy(hook="tc"))
    assert site.daemon.attached("wan0")["hook"] == "tc" and site.daemon.stop() == 0
    daemon = lab.daemon(site.host, "--no-inspect", name="alone")
    assert inspector_of(daemon) is None
    assert "(its name is not visible: no penstock-inspect)" in site.refusal(daemon)
    daemon = lab.daemon(site.host, name="poor", start=False)
    with open(daemon.log, "ab") as log:
        daemon.process = lab.spawn(site.host, "setpriv", "--bounding-set=-sys_admin", f"{BUILD}/penstockd",
                                   "--foreground", "--instance", daemon.instance, "--run-dir", daemon.run_dir,
                                   "--state-dir", daemon.state_dir, stderr=log)
    wait_for(lambda: daemon.cli("status").exit == 0, daemon.logged)
    assert inspector_of(daemon) is None and "CAP_SYS_ADMIN, which it needs, is missing" in daemon.logged()


def test_a_stuck_inspector_holds_nobody_up(lab):
    """Stopped, it costs the request that asks it a few milliseconds and the name; continued, it names again. Rules
    out a loop that waits for its helper, and a helper that is given up because it was slow once."""
    site = Site(lab)
    pid = inspector_of(site.daemon)
    os.kill(pid, signal.SIGSTOP)
    for reason in os.strerror(errno.ETIMEDOUT), os.strerror(errno.EBUSY):
        assert f"(its name is not visible: {reason})" in site.refusal()
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: "'their_filter'" in site.refusal(), "the name")


def ask(ours, message):
    ours.send(message)
    return ANSWER.unpack(ours.recv(100))


def test_what_is_no_request_is_refused(lab):
    """The program itself on a socket: it says that it is ready, refuses what is too short, too long, of another
    magic, kind or shape, each with EINVAL and to nobody's number, and still answers what is right. It ends with 0
    when the other end is closed, and with 2 when it is started by hand. Rules out a reader that trusts its peer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    program = f"{BUILD}/penstock-inspect"
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)]
    pid = os.posix_spawn(program, [program, "65534", "65534"], {}, file_actions=actions)
    theirs.close()
    assert ANSWER.unpack(ours.recv(100))[:2] == (MAGIC, READY)
    good = (MAGIC, PROGRAM, 7, 1 << 30, 0)
    whole = REQUEST.pack(*good)
    wrong = [whole[:-1], whole + b"\0", b"\0", os.urandom(24), b"x" * 4096, b"\0" * 24, REQUEST.pack(0, *good[1:])]
    wrong += [REQUEST.pack(MAGIC, kind, *good[2:]) for kind in (0, READY, 3, 2**32 - 1)]
    wrong += [REQUEST.pack(*good[:2], 0, 1, 0), REQUEST.pack(*good[:3], 0, 0), REQUEST.pack(*good[:4], 1)]
    for message in wrong:
        assert ask(ours, message)[:4] == (MAGIC, PROGRAM, 0, -errno.EINVAL), message
    assert ask(ours, whole)[:5] == (MAGIC, PROGRAM, 7, -errno.ENOENT, 1 << 30)
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for arguments in (), ("0", "0"), ("x", "0"):
        done = subprocess.run((program, *arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "started by penstockd" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""`penstock doctor`: nothing broken where nothing is; each fault is found, named and gone by its remedy."""
import os
import shutil
import signal
import subprocess

import pytest

import kernel
from lab import BPFFS, BUILD, wait_for
from test_inspect import inspector_of
from test_privilege import NOBODY, options

SCHED_CLS = 3
POLICY = """version: 1
attach:
  wan: {dev: %s, hook: %s}
sets:
  banned: {max: 10}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: banned, from: $banned, do: drop}
      - {id: known, state: established, do: pass}
"""


class Site:
    def __init__(self, lab, *arguments):
        self.lab = lab
        self.host, self.peer = lab.quiet_pair()
        self.daemon = lab.daemon(self.host, *arguments)

    def doctor(self, **how):
        """(exit code, findings)"""
        answer = self.daemon.cli("doctor", "--json", **how)
        assert answer.stderr == "" and answer.json["schema"] == 1, answer
        assert answer.json["broken"] == sum(f["level"] == "broken" for f in answer.json["findings"])
        return answer.exit, answer.json["findings"]

    def find(self, id, subject=None):
        """The one finding of this name and subject, or None; one that is more than a note has a remedy."""
        found = [f for f in self.doctor()[1] if f["id"] == id and subject in (None, f["subject"])]
        assert len(found) < 2, found
        assert all(f["remedy"] or f["level"] in ("ok", "note") for f in found)
        return found[0] if found else None

    def bad(self, id, subject=None):
        found = self.find(id, subject)
        return found if found and found["level"] != "ok" else None

    def follow(self, finding):
        """Does what the last words of the remedy say, in the namespace."""
        command = finding["remedy"].rsplit(": ", 1)[-1]
        answer = self.lab.run(self.host, "sh", "-c", command)
        assert answer.exit == 0, (command, answer)
        wait_for(lambda: not self.bad(finding["id"], finding["subject"]), f"{finding} to be gone")

    def foreign(self, name, **how):
        path = f"{BPFFS}/{self.lab.id}/{name}"
        kernel.pin_foreign(path, name, **how)
        return path


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_a_clean_sandbox_has_nothing_broken(lab, user):
    """With a daemon and a policy: exit 0, nothing broken, no warning, and everything was looked at, in words too. As
    a user who may not ask the daemon: exit 4, and what could not be looked at is said. Rules out a doctor that is
    content because it looked at nothing."""
    site = Site(lab, *options(user))
    site.daemon.apply(POLICY % ("wan0", "tc"))
    wait_for(lambda: site.find("table-pressure", "established flows"), "the tables to be counted")
    code, findings = site.doctor()
    assert code == 0 and not [f for f in findings if f["level"] in ("broken", "warning")], findings
    by_id = {}
    for f in findings:
        by_id.setdefault(f["id"], []).append(f)
    assert {"kernel", "features", "jit", "xdp-frags", "tcx", "lockdown", "btf", "bpf-stats", "daemon", "rights", "policy",
            "pins", "inspector", "mode", "table-pressure"} <= set(by_id), sorted(by_id)
    assert {f["subject"] for f in by_id["rights"]} == {"penstockd", "penstock-inspect"}
    assert [f["text"] for f in by_id["mode"]] == ["ingress at TC, by TCX: as the policy says",
                                                  "egress at TC, by TCX: XDP has no egress"]
    text = site.daemon.cli("doctor")
    assert text.exit == 0 and text.stdout.splitlines()[-1].startswith("0 broken, 0 warnings, "), text
    if user:  # the daemon's own user may ask it
        return
    stranger = shutil.copy(f"{BUILD}/penstock", lab.dir)
    answer = lab.run(site.host, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all",
                     stranger, "--run-dir", site.daemon.run_dir, "doctor")
    assert answer.exit == 4 and answer.stderr == "", answer
    for part in "penstockd: it may not be asked", "could not be tried: that takes root's rights", "sudo penstock doctor":
        assert part in answer.stdout, answer


def test_other_programs_in_the_way(lab):
    """Somebody else's program at XDP, then one in clsact, before ours in clsact: each is a warning with its name and
    owner, and the command of its remedy, run as it stands, takes it away. The same at XDP where ours belongs is broken,
    and with it gone ours is there. An inspector that is stopped, or killed, costs the name alone. Rules out a doctor that
    knows only its own programs, and remedies that do not work."""
    site = Site(lab, "--tc-attach", "clsact")
    site.daemon.apply(POLICY % ('[wan0, late0]', "tc"))
    lab.ip(site.host, f"link set dev wan0 xdpdrv pinned {site.foreign('their_filter')}")
    found = site.find("in-front", "wan0")
    assert found["level"] == "warning" and "('their_filter', loaded by uid 0) at XDP, native comes first" in found["text"]
    assert site.find("device-missing", "late0")
    site.follow(found)
    path = site.foreign("their_shaper", prog_type=SCHED_CLS)
    answer = lab.run(site.host, *f"tc filter add dev wan0 egress pref 7 bpf da object-pinned {path}".split())
    assert answer.exit == 0, answer
    found = site.find("in-front", "wan0")
    assert "('their_shaper', loaded by uid 0) at TC, by clsact comes first at egress" in found["text"]
    pid = inspector_of(site.daemon)
    os.kill(pid, signal.SIGSTOP)
    assert "(its name is not visible: " in site.find("in-front", "wan0")["text"]
    os.kill(pid, signal.SIGCONT)
    assert "'their_shaper'" in site.find("in-front", "wan0")["text"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: site.bad("inspector"), "the inspector to be missed")
    assert "its name is not visible" in site.find("in-front", "wan0")["text"]
    assert "restart penstockd" in site.find("inspector")["remedy"]
    site.follow(found)
    site.daemon.stop()
    site.daemon.start()
    assert not site.bad("inspector")
    site.daemon.apply(POLICY % ('[wan0, late0]', "xdp"), "xdp.yaml")
    lab.quiet_veth(site.host, site.peer, "early0")
    lab.ip(site.host, f"link set dev early0 xdpdrv pinned {BPFFS}/{lab.id}/their_filter")
    for words in "early0 down", "early0 name late0", "late0 up":
        lab.ip(site.host, f"link set dev {words}")
    found = wait_for(lambda: next((f for f in site.doctor()[1] if f["id"] == "not-attached"), None), "the refusal")
    assert found["level"] == "broken" and site.doctor()[0] == 1
    assert (found["subject"], "'their_filter', loaded by uid 0" in found["text"]) == ("late0", True), found
    site.follow(found)
    wait_for(lambda: site.daemon.attached("late0"), "late0 to be attached")
    assert site.doctor()[0] == 0


def test_traps_of_veths(lab):
    """Both ends in sight, ours at native XDP: partial checksums, segmentation offload that is off and another MTU are
    found at the other end, and what ethtool and ip can mend is mended by the remedy. With the other end in another
    namespace: a note that it is not to be seen. Rules out findings that are said of every veth."""
    site = Site(lab)
    lab.sh("ip", "link", "add", "both0", "netns", site.host, "type", "veth", "peer", "name", "both1", "netns", site.host)
    for dev in "both0", "both1":
        lab.ip(site.host, f"link set {dev} up")
    site.daemon.apply(POLICY % ("[both0, wan0]", "xdp"))
    lab.ip(site.host, "link set both1 mtu 1400")
    assert site.find("veth-segmentation", "both0")["level"] == "warning"
    assert not site.find("veth-segmentation", "wan0")
    assert "cannot be looked at" in site.find("veth-peer", "wan0")["text"]
    for id in "partial-checksums", "mtu", "veth-peer":
        found = site.find(id, "both0")
        assert found and "both1" in found["text"], id
        site.follow(found)
    assert site.doctor()[0] == 0
    site.daemon.apply(POLICY % ("[both0, wan0]", "tc"), "tc.yaml")
    assert not {f["id"] for f in site.doctor()[1]} & {"veth-segmentation", "partial-checksums", "veth-peer"}


def test_sets_pins_and_policies(lab):
    """A run-time set that fills up: a warning, then broken, and neither after a member has gone. Something mounted over
    the pins: broken, until it is unmounted. A file of --policy that is refused: broken, until a good one is read. Rules
    out a daemon that is asked how it feels."""
    policy = lab.write("policy.yaml", POLICY % ("wan0", "tc"))
    site = Site(lab, "--policy", policy)
    assert site.doctor()[0] == 0
    for count, level in (8, "warning"), (10, "broken"):
        site.daemon.ok("set", "add", "banned", *(f"192.0.2.{i}" for i in range(count)))
        found = site.find("set-pressure", "banned")
        assert (found["level"], site.doctor()[0]) == (level, int(level == "broken"))
    assert "10 of 10" in found["text"] and "penstock set del banned" in found["remedy"]
    site.daemon.ok("set", "del", "banned", *(f"192.0.2.{i}" for i in range(5)))
    assert not site.find("set-pressure") and site.doctor()[0] == 0
    lab.sh("mount", "-t", "tmpfs", "none", site.daemon.pin_dir)
    try:
        found = site.find("pins")
        assert found["level"] == "broken" and "it is no bpffs" in found["text"] and site.doctor()[0] == 1
    finally:
        lab.sh(*found["remedy"].rsplit(": ", 1)[-1].split())
    wait_for(lambda: not site.bad("pins"), "the pins")
    lab.write("policy.yaml", "version: 2\n")
    site.daemon.process.send_signal(signal.SIGHUP)
    found = wait_for(lambda: site.find("policy-refused"), "the refusal")
    assert found["level"] == "broken" and "the policy of before stays" in found["text"] and policy in found["text"]
    lab.write("policy.yaml", POLICY % ("wan0", "tc"))
    site.daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: not site.find("policy-refused"), "the policy to be read")
    assert site.doctor()[0] == 0


def test_without_a_daemon(lab):
    """A daemon that was killed: exit 1, broken, what is still attached is counted, and the kernel is looked at all the
    same. A daemon of no policy: a warning. Rules out a doctor that needs the patient to speak."""
    site = Site(lab)
    assert site.find("no-policy")["level"] == "warning" and site.doctor()[0] == 0
    site.daemon.apply(POLICY % ("wan0", "tc"))
    site.daemon.stop(signal.SIGKILL)
    code, findings = site.doctor()
    found = next(f for f in findings if f["id"] == "daemon")
    assert (code, found["level"]) == (1, "broken") and "2 attachments of it go on" in found["text"], found
    assert {"features", "jit", "bpffs"} <= {f["id"] for f in findings}
    site.daemon.start()
    assert site.doctor()[0] == 0 and site.find("daemon")["level"] == "ok"


def test_settings_of_the_machine(lab):
    """Seen by the doctor alone, in a mount namespace of its own: statistics on, BPF for everybody, a kernel locked down
    and without BTF. Each is found, none is broken. Rules out settings that are listed and not read."""
    for name, text in ("one", "1\n"), ("zero", "0\n"), ("lockdown", "none integrity [confidentiality]\n"):
        lab.write(name, text)
    script = f"""set -e
mount --bind one /proc/sys/kernel/bpf_stats_enabled
mount --bind zero /proc/sys/kernel/unprivileged_bpf_disabled
mount -t tmpfs none /sys/kernel/btf
mount --bind . /sys/kernel/security
exec {BUILD}/penstock --run-dir {lab.dir} doctor"""
    done = subprocess.run(("unshare", "--mount", "sh", "-c", script), cwd=lab.dir, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and done.stderr == "", done
    for line in ("warning  kernel.bpf_stats_enabled: is 1: every program takes 36 to 50 ns longer",
                 "note     kernel.unprivileged_bpf_disabled: is 0", "warning  kernel: locked down for confidentiality",
                 "warning  kernel: /sys/kernel/btf/vmlinux: No such file", "remedy: sysctl -w kernel.bpf_stats_enabled=0"):
        assert line in done.stdout, done.stdout
    assert done.stdout.count("broken   ") == 1, done.stdout

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From text to flip: `penstock apply` of a million prefixes against a running penstockd.

usage: apply.py BUILD-DIRECTORY [--prefixes N] [--rounds N]

Wall time of the whole command, peak memory of every process involved (the command, the daemon, the child
that compiles) and what the kernel's maps take. The daemon runs in a network namespace without a name and
under an instance directory of its own; both are gone afterwards, also after an interrupt.
"""
import argparse
import ctypes
import glob
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PINS = "/sys/fs/bpf/penstock-bench-"
AIM_SECONDS = 1.0
AIM_MIB = 300
FILES = 3  # the bank that is written was active two applies ago: with two files nothing would change

POLICY = """\
version: 1
attach:
  wan: {{dev: bench0}}
sets:
  listed: {{file: {file}}}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {{id: listed, from: $listed, do: drop}}
"""


def fail(text):
    sys.exit(f"apply.py: {text}")


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def remove_stale_pins():
    """Of runs that were killed: they name their process."""
    for pins in glob.glob(f"{PINS}*"):
        if not os.path.exists(f"/proc/{pins[len(PINS):]}"):
            shutil.rmtree(pins, ignore_errors=True)


def random_prefixes(path, count, seed):
    """Evenly from all of IPv4; of ten 6 are /32, 3 are /24, 1 is /20 to /23."""
    draw = random.Random(seed)
    with open(path, "w") as f:
        for _ in range(count):
            length = draw.choice((32,) * 24 + (24,) * 12 + (20, 21, 22, 23))
            addr = draw.getrandbits(32) >> 32 - length << 32 - length
            bits = "" if length == 32 else f"/{length}"
            f.write(f"{addr >> 24}.{addr >> 16 & 255}.{addr >> 8 & 255}.{addr & 255}{bits}\n")


def feed_prefixes(build, path, count, seed):
    with open(path, "w") as f:
        subprocess.run([f"{build}/bench/gen/feed-gen", "--seed", str(seed), "--count", str(count),
                        "--prefixes"], stdout=f, check=True)


def peak_kib(pid):
    """VmHWM of a process, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


class Watch(threading.Thread):
    """Watches a command and the children of the daemon; a peak only grows, so the last look counts.

    Not wait4()'s figure for the command: that begins with what this script had when it was started.
    """

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path = f"/proc/{pid}/task/{pid}/children"
        self.peaks, self.command, self.command_peak = {}, None, 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.001):
            for child in self.children():
                self.peaks[child] = max(self.peaks.get(child, 0), peak_kib(child))
            if self.command:
                self.command_peak = max(self.command_peak, peak_kib(self.command))

    def children(self):
        try:
            with open(self.path) as f:
                return f.read().split()
        except OSError:
            return []  # the daemon is gone, which others notice

    def stop(self):
        self.over.set()
        self.join()
        return self.command_peak, sum(self.peaks.values())


class Daemon:
    def __init__(self, build, where, prefixes):
        self.prefixes, self.generation = prefixes, 0
        self.penstock = f"{build}/penstock"
        self.run_dir = f"{where}/run"
        self.pins = f"{PINS}{os.getpid()}"
        self.log = open(f"{where}/log", "w+")
        self.process = subprocess.Popen(
            [f"{build}/penstockd", "--foreground", "--run-dir", self.run_dir, "--state-dir",
             f"{where}/state", "--pin-dir", self.pins], stdout=self.log, stderr=self.log,
            preexec_fn=die_with_parent)

    def wait(self):
        for _ in range(300):
            if os.path.exists(f"{self.run_dir}/penstock.sock") and self.ask("status"):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.log.seek(0)
        fail(f"penstockd does not start:\n{self.log.read()}")

    def ask(self, verb):
        r = subprocess.run([self.penstock, verb, "--run-dir", self.run_dir, "--json"],
                           capture_output=True, text=True)
        return json.loads(r.stdout) if r.returncode == 0 else None

    def apply(self, policy):
        """Milliseconds, and KiB of peak memory: of the command, of the daemon, of its children."""
        answer = f"{self.run_dir}/../answer"
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as f:
            f.write("5\n")  # its peak starts over
        watch = Watch(self.process.pid)
        watch.start()
        start = time.monotonic()
        pid = os.posix_spawn(self.penstock, [self.penstock, "apply", "--run-dir", self.run_dir,
                                             "--json", policy], os.environ,
                             file_actions=[(os.POSIX_SPAWN_OPEN, 1, answer,
                                            os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)])
        watch.command = pid
        _, status = os.waitpid(pid, 0)
        wall = (time.monotonic() - start) * 1000
        command, compiler = watch.stop()
        if status:
            fail(f"penstock apply ended with {os.waitstatus_to_exitcode(status)}")
        self.check(answer)
        return wall, command, peak_kib(self.process.pid), compiler

    def check(self, path):
        """Each policy is new to the daemon, and all of its set is there."""
        with open(path) as f:
            answer = json.load(f)
        self.generation += 1
        given = self.ask("sets")["sets"][0]["given"]
        if answer["policy"]["generation"] != self.generation or not answer["changed"]:
            fail(f"the daemon did not take the policy: {answer}")
        if given != self.prefixes:
            fail(f"the set has {given} prefixes, not {self.prefixes}")

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.pins, ignore_errors=True)


def own_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        fail(f"no network namespace: {os.strerror(ctypes.get_errno())}; run it as root")
    subprocess.run("ip link add bench0 type veth peer name bench1 && ip link set bench0 up && "
                   "ip link set bench1 up", shell=True, check=True)


def report(name, rows, status):
    wall, command, daemon, child = (statistics.median(column) for column in zip(*rows))
    maps = status["memory_bytes"] / 2**20
    processes = (command + daemon + child) / 1024
    print(f"{name:<18} {wall:7.0f} {max(row[0] for row in rows):7.0f} {command / 1024:9.1f} "
          f"{daemon / 1024:10.1f} {child / 1024:9.1f} {maps:7.1f} {processes + maps:8.1f}")
    return wall <= AIM_SECONDS * 1000 and processes + maps <= AIM_MIB


def measure(where, build, name, make, count, rounds):
    daemon = None
    try:
        for i in range(FILES):
            make(f"{where}/{name}{i}.txt", count, i + 1)
            with open(f"{where}/{name}{i}.yaml", "w") as f:
                f.write(POLICY.format(file=f"{name}{i}.txt"))
        daemon = Daemon(build, where, count)
        daemon.wait()
        rows = [daemon.apply(f"{where}/{name}{i % FILES}.yaml") for i in range(rounds)]
        return report(name, rows, daemon.ask("status"))
    finally:
        if daemon:
            daemon.close()


def main():
    options = argparse.ArgumentParser(description="time and memory of penstock apply")
    options.add_argument("build")
    options.add_argument("--prefixes", type=int, default=1000000)
    options.add_argument("--rounds", type=int, default=7)
    o = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    remove_stale_pins()
    own_namespace()
    build = os.path.abspath(o.build)
    print(f"penstock apply, {o.prefixes} prefixes in one set, {o.rounds} times; peaks are medians, MiB\n"
          "set                wall ms max ms  penstock  penstockd  compiler    maps      sum")
    kinds = (("random", random_prefixes), ("feed", lambda *a: feed_prefixes(build, *a)))
    met = True
    for name, make in kinds:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as where:
            met &= measure(where, build, name, make, o.prefixes, o.rounds)
    print(f"aim: {AIM_SECONDS * 1000:.0f} ms, {AIM_MIB} MiB: {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()

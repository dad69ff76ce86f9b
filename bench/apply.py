#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From text to flip: `penstock apply` of a million prefixes, and of many rules, against a running penstockd.

usage: apply.py BUILD-DIRECTORY [--prefixes N] [--rounds N] [--only TEXT]

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

sys.dont_write_bytecode = True

from data import SHAPES, Data, classbench, emit, real_data, short  # noqa: E402

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PINS = "/sys/fs/bpf/penstock-bench-"
AIM_PREFIXES = (1000, 300)  # ms, MiB
AIM_RULES = {10000: (200, None), 50000: (2000, None)}
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


class Prefixes:
    """One set; `lines` makes its text."""

    def __init__(self, name, count, lines):
        self.name, self.count, self.lines, self.aim = name, count, lines, AIM_PREFIXES

    def write(self, where, variant):
        with open(f"{where}/{variant}.txt", "w", encoding="ascii") as f:
            self.lines(f, self.count, variant + 1)
        return POLICY.format(file=f"{variant}.txt")

    def check(self, _, sets):
        given = sets[0]["given"]
        if given != self.count:
            fail(f"the set has {given} prefixes, not {self.count}")


class Rules:
    """A set of ClassBench; variants of it differ in all addresses and in nothing else."""

    def __init__(self, shape, size, data):
        self.name, self.aim = f"{shape} {short(size)} rules", AIM_RULES[size]
        self.rules = data.rules(shape, size)

    def write(self, _, variant):
        mask = random.Random(variant).getrandbits(32)
        moved = (rule._replace(src=rule.src ^ mask >> 32 - rule.src_len << 32 - rule.src_len,
                               dst=rule.dst ^ mask >> 32 - rule.dst_len << 32 - rule.dst_len)
                 for rule in self.rules)
        return "\n".join(emit.penstock(moved, "alternate", "drop", "bench0")) + "\n"

    def check(self, answer, _):
        if answer["rules"] != len(self.rules):
            fail(f"the policy has {answer['rules']} rules, not {len(self.rules)}")


def random_prefixes(f, count, seed):
    """Evenly from all of IPv4; of ten 6 are /32, 3 are /24, 1 is /20 to /23."""
    draw = random.Random(seed)
    for _ in range(count):
        length = draw.choice((32,) * 24 + (24,) * 12 + (20, 21, 22, 23))
        addr = draw.getrandbits(32) >> 32 - length << 32 - length
        f.write(f"{classbench.dotted(addr)}{'' if length == 32 else f'/{length}'}\n")


def feed_prefixes(build, f, count, seed):
    subprocess.run([f"{build}/bench/gen/feed-gen", "--seed", str(seed), "--count", str(count), "--prefixes"],
                   stdout=f, check=True)


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
    def __init__(self, build, where, kind):
        self.kind, self.generation = kind, 0
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
        """Each policy is new to the daemon, and all of it is there."""
        with open(path) as f:
            answer = json.load(f)
        self.generation += 1
        if answer["policy"]["generation"] != self.generation or not answer["changed"]:
            fail(f"the daemon did not take the policy: {answer}")
        self.kind.check(answer, self.ask("sets")["sets"])

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


def report(kind, rows, status):
    wall, command, daemon, child = (statistics.median(column) for column in zip(*rows))
    maps = status["memory_bytes"] / 2**20
    mib = (command + daemon + child) / 1024 + maps
    aim_ms, aim_mib = kind.aim
    met = wall <= aim_ms and (not aim_mib or mib <= aim_mib)
    print(f"{kind.name:<18} {wall:7.0f} {max(row[0] for row in rows):7.0f} {command / 1024:9.1f} "
          f"{daemon / 1024:10.1f} {child / 1024:9.1f} {maps:7.1f} {mib:8.1f}  {aim_ms} ms"
          f"{f', {aim_mib} MiB' if aim_mib else ''}: {'met' if met else 'MISSED'}", flush=True)


def measure(where, build, kind, rounds):
    daemon = None
    try:
        for i in range(FILES):
            with open(f"{where}/{i}.yaml", "w", encoding="ascii") as f:
                f.write(kind.write(where, i))
        daemon = Daemon(build, where, kind)
        daemon.wait()
        rows = [daemon.apply(f"{where}/{i % FILES}.yaml") for i in range(rounds)]
        report(kind, rows, daemon.ask("status"))
    finally:
        if daemon:
            daemon.close()


def main():
    options = argparse.ArgumentParser(description="time and memory of penstock apply")
    options.add_argument("build")
    options.add_argument("--prefixes", type=int, default=1000000)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", default="", help="kinds whose name has this text")
    o = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    remove_stale_pins()
    own_namespace()
    build = os.path.abspath(o.build)
    data = Data(None, build, real_data())
    kinds = {"random": lambda: Prefixes("random prefixes", o.prefixes, random_prefixes),
             "feed": lambda: Prefixes("feed prefixes", o.prefixes, lambda *a: feed_prefixes(build, *a))}
    kinds |= {f"{shape} {short(size)}": lambda shape=shape, size=size: Rules(shape, size, data)
              for size in AIM_RULES for shape in SHAPES}
    print(f"penstock apply, {o.prefixes} prefixes in one set, or so many rules; {o.rounds} times; peaks are medians, "
          "MiB\n                   wall ms max ms  penstock  penstockd  compiler    maps      sum  aim")
    for name, make in kinds.items():
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as where:
            if o.only in name:
                measure(where, build, make(), o.rounds)
    print(f"Data: {'; '.join(data.used) or 'generated'}")


if __name__ == "__main__":
    main()

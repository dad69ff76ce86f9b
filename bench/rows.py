# SPDX-License-Identifier: Apache-2.0
"""Which rows bench/run measures, and what it compares them with: the specification for bench/drop, and beside
each of its rows what report.py must know of it.

`axis` and `size` say where a row stands in the table, `series` in which line of it. `aim` is nanoseconds over the
floor, `share` per cent of the packets a second that XDP_DROP takes, with everything counted. `stretch` says by
which reference an aim grows on a slower machine: "empty", the empty program; a number of 64-byte lines, one random
read-modify-write in that many; "bank", in as many as the policy's bank has. The floor of a live row is XDP_DROP
over the same list of headers, that of a hot row the empty program, unless `over` names another row.
"""
import json

from data import SHAPES, classbench, short

RULE_SIZES = (1, 10, 100, 1000, 10000, 50000)
SET_SIZES = (1000, 10000, 50000)  # of ClassBench
PREFIX_SIZES = (1, 1000, 10000, 128 * 1024, 1000000)
LINEAR_PREFIXES_MAX = 10000  # beyond, one packet takes a tenth of a millisecond
DRAWN = 1 << 20  # members a list holds: in random order, and too many to be learnt by heart
AIMS = {1000: 40, 10000: 60}  # five-tuple rules
AIMS_50K = {"trace": 100, "uniform": 200}
ADDRESS_AIM, PREFIX_AIM, ONE_RULE_AIM = 40, 60, 8
FLOOD_SHARE, FLOOD_SHARE_SETS = 80, 50
FLOW_AIMS = {1 << 10: 10, 1 << 16: 30, 1 << 20: 100}  # over the stateless verdict
BANNED, BANNED_AIMS = 500000, {"no": 15, "a": 100}  # over the same packets without the set
LINES = {128 * 1024: 1 << 16, 1000000: 1 << 18}  # that random sources touch of a set
EVERYWHERE = "all IPv4"

HEAD = ["version: 1", "attach:", "  bench: {dev: none}"]


def chain(default, rule=None, direction="ingress"):
    return ["filter:", "  in:", f"    at: bench.{direction}", f"    default: {default}",
            "    rules:" if rule else "    rules: []"] + ([f"      - {{id: r, {rule}, do: drop}}"] if rule else [])


class Plan:
    def __init__(self, data, only, rounds, cpu):
        self.data, self.only = data, only
        self.spec = {"rounds": rounds, "cpu": cpu, "headers": [], "policies": [], "rows": []}
        self.about = []  # of each row of the specification

    def save(self, path):
        """Without lists and policies that no row uses."""
        rows = self.spec["rows"]
        names = {row.get(key) for row in rows for key in ("headers", "members", "flows", "banned", "policy")}
        used = {key: [file for file in self.spec[key] if file["name"] in names] for key in ("headers", "policies")}
        with open(path, "w", encoding="ascii") as f:
            json.dump({**self.spec, **used}, f, indent=1)

    def wants(self, name):
        return not self.only or self.only in name

    def headers(self, name, path, draw=0):
        self.spec["headers"].append({"name": name, "file": path, "draw": draw})
        return name

    def policy(self, name, path):
        self.spec["policies"].append({"name": name, "file": path})
        return name

    def row(self, name, about, **row):
        """`headers` may be absent: from all of IPv4."""
        self.spec["rows"].append({"name": name, **row})
        self.about.append({"name": name, "hot": row.get("hot", False), "headers": row.get("headers"),
                           "policy": row.get("policy"), **about})

    def cell(self, series, axis, size, about, **row):
        """A row with a place in the table. Whether it is wanted."""
        name = f"{series}, {short(size)}" + ((" rule" if size == 1 else " rules") if axis == "rules" else "")
        wanted = self.wants(name)
        if wanted:
            self.row(name, {"series": series, "axis": axis, "size": size, **about}, **row)
        return wanted

    def floors(self):
        """For every list that is sent; first, so that the table begins with them."""
        lists = dict.fromkeys(about["headers"] for about in self.about if not about["hot"])
        rows, about = self.spec["rows"], self.about
        self.spec["rows"], self.about = [], []
        self.row("generator alone", {}, target="nowhere")
        for name in lists:
            self.row(f"XDP_DROP, {name or EVERYWHERE}", {"floor": True}, target="xdp-drop",
                     **({"headers": name} if name else {}))
        self.spec["rows"] += rows
        self.about += about

    def nft(self, table, path):
        """A row of nftables: its table stays, and is asleep while others have their turn."""
        asleep = [["nft", f"add table netdev {table} {{ flags dormant; }}"]]
        return {"target": "commands", "setup": [["nft", "-D", "dev=rx0", "-f", path]] + asleep,
                "on": [["nft", f"add table netdev {table}"]], "off": asleep}


# ---- rules ------------------------------------------------------------------------------------------


def first_rules(plan, size):
    """Below 1 k the first rules of the smallest set."""
    return plan.data.rules("acl1", max(size, 1000))[:size if size < 1000 else None]


def last_match_rows(plan):
    for size in RULE_SIZES:
        rules = first_rules(plan, size)
        name = f"acl1-{size}-last"
        trace, last = plan.data.last_match(name, rules)
        sent = plan.headers(name, trace)
        policy = plan.policy(name, plan.data.policy(name, rules))
        aim = {"aim": AIMS[size], "stretch": 1 << 10} if size in AIMS else {}
        plan.cell("penstock, last rule matches", "rules", size, aim, target="penstock", policy=policy, headers=sent,
                  last_rule=last + 1)
        plan.cell("nft linear, last rule matches", "rules", size, {}, headers=sent,
                  **plan.nft(f"last{size}", plan.data.nft(f"last{size}", rules)))
        if size in AIMS and plan.wants("hot"):
            plan.row(f"penstock, {short(size)} rules, last matches", {"aim": AIMS[size], "stretch": "empty"},
                     target="penstock", policy=policy, headers=sent, hot=True)


def port_rows(plan):
    """What xdp-filter has for rules: ports."""
    sent = plan.headers("UDP to port 53", plan.data.members("port", [classbench.number("10.0.0.1")]))
    plan.cell("xdp-filter, UDP port", "rules", 1, {}, target="xdp-filter-port", headers=sent)


def shape_rows(plan, shape, size):
    rules = plan.data.rules(shape, size)
    name = f"{shape}-{size}"
    policy = plan.policy(name, plan.data.policy(name, rules))
    for order in ("trace", "uniform"):
        sent = plan.headers(f"{name}-{order}", plan.data.trace(shape, size, order))
        aim = AIMS.get(size, AIMS_50K[order])
        plan.cell(f"penstock, {shape}, {order}", "rules", size, {"aim": aim, "stretch": "bank"}, target="penstock",
                  policy=policy, headers=sent, by_rule=True)
        if order == "trace":
            table = f"{shape}_{size}"
            plan.cell(f"nft linear, {shape}, {order}", "rules", size, {}, headers=sent,
                      **plan.nft(table, plan.data.nft(table, rules)))


def rule_rows(plan):
    last_match_rows(plan)
    port_rows(plan)
    for shape in SHAPES:
        for size in SET_SIZES:
            shape_rows(plan, shape, size)


# ---- prefixes ---------------------------------------------------------------------------------------


def dotted(addr, length=32):
    return classbench.dotted(addr) + ("" if length == 32 else f"/{length}")


def nft_set_file(plan, name, texts, flags):
    lines = [f"table netdev {name} {{", f" set s {{ type ipv4_addr; {flags}", "  elements = {", ",\n".join(texts),
             " } }", " chain in {", "  type filter hook ingress device $dev priority 0; policy drop;",
             "  ip saddr @s drop", " }", "}"]
    return plan.data.write(f"{name}.nft", lines)


def nft_linear_file(plan, name, texts):
    lines = [f"table netdev {name} {{", " chain in {",
             "  type filter hook ingress device $dev priority 0; policy drop;"]
    return plan.data.write(f"{name}.nft", lines + [f"  ip saddr {text} drop" for text in texts] + [" }", "}"])


def ipset(plan, name, texts, kind):
    """In raw PREROUTING, the first hook that iptables has; what is not in the set is dropped by a second rule."""
    size = max(1024, len(texts))
    path = plan.data.write(f"{name}.ipset", [f"create {name} {kind} hashsize {size} maxelem {size}"]
                           + [f"add {name} {text}" for text in texts])
    append = ["iptables", "-w", "-t", "raw", "-A", "PREROUTING", "-i", "rx0"]
    return {"target": "commands", "setup": [["ipset", "restore", "-file", path]],
            "on": [append + ["-m", "set", "--match-set", name, "src", "-j", "DROP"], append + ["-j", "DROP"]],
            "off": [["iptables", "-w", "-t", "raw", "-F"]]}


def set_policy(plan, name, texts):
    plan.data.write(f"{name}.txt", texts)
    lines = HEAD + ["sets:", f"  listed: {{file: {name}.txt}}"] + chain("drop", "from: $listed")
    return plan.policy(name, plan.data.write(f"{name}.yaml", lines))


def both(plan, series, size, about, sent, members, everywhere):
    """With sources out of the set, and out of all of IPv4. Of a row that differs in more, the two."""
    plan.cell(f"{series}, members", "prefixes", size, about, headers=sent, **members)
    plan.cell(f"{series}, {EVERYWHERE}", "prefixes", size, about, **everywhere)


def peer(plan, series, size, sent, row):
    """Likewise, of a peer that is set up once."""
    again = {key: value for key, value in row.items() if key != "setup"}
    first = plan.cell(f"{series}, members", "prefixes", size, {}, headers=sent, **row)
    plan.cell(f"{series}, {EVERYWHERE}", "prefixes", size, {}, **(again if first else row))


def penstock_set(plan, series, size, texts, sent, aim):
    """`sent` are members."""
    policy = set_policy(plan, sent, texts)
    row = {"target": "penstock", "policy": policy}
    both(plan, series, size, aim, sent, {**row, "by_rule": True}, row)


def address_rows(plan, size):
    """Tools that know addresses alone."""
    addrs = plan.data.addresses(size)
    texts = [dotted(addr) for addr in addrs]
    path = plan.data.members(f"addresses-{size}", addrs)
    members = plan.headers(f"addresses-{size}-once", path)
    sent = plan.headers(f"addresses-{size}", path, DRAWN)
    aim = {"aim": ADDRESS_AIM, "stretch": LINES[size], "share": FLOOD_SHARE_SETS} if size == 128 * 1024 else {}
    penstock_set(plan, "penstock, addresses", size, texts, sent, aim)
    both(plan, "xdp-filter, addresses", size, {}, sent, {"target": "xdp-filter-deny", "members": members},
         {"target": "xdp-filter-allow", "members": members})
    peer(plan, "nft set, addresses", size, sent, plan.nft(f"set{size}", nft_set_file(plan, f"set{size}", texts, "")))
    peer(plan, "ipset hash:ip, addresses", size, sent, ipset(plan, f"ip{size}", texts, "hash:ip"))
    return sent


def prefix_rows(plan, size):
    prefixes = plan.data.prefixes(size)
    texts = [dotted(*prefix) for prefix in prefixes]
    inside = [addr | plan.data.draw.getrandbits(32 - length) for addr, length in prefixes]
    sent = plan.headers(f"prefixes-{size}", plan.data.members(f"prefixes-{size}", inside), DRAWN)
    aim = {"aim": PREFIX_AIM, "stretch": LINES[size]} if size == 1000000 else {}
    penstock_set(plan, "penstock, prefixes", size, texts, sent, aim)
    peer(plan, "nft interval set, prefixes", size, sent,
         plan.nft(f"interval{size}", nft_set_file(plan, f"interval{size}", texts, "flags interval;")))
    peer(plan, "ipset hash:net, prefixes", size, sent, ipset(plan, f"net{size}", texts, "hash:net"))
    if size <= LINEAR_PREFIXES_MAX:
        peer(plan, "nft linear, prefixes", size, sent,
             plan.nft(f"linear{size}", nft_linear_file(plan, f"linear{size}", texts)))


def feed_rows(plan):
    path, addrs = plan.data.feed()
    sent = plan.headers("feed", plan.data.members("feed", addrs), DRAWN)
    with open(path, encoding="ascii") as f:
        texts = f.read().splitlines()
    policy = set_policy(plan, "feed", texts)
    aim = {"aim": ADDRESS_AIM, "stretch": LINES[128 * 1024]}
    for name, row in ((f"penstock, feed of {len(addrs)}, members", {"headers": sent, "by_rule": True}),
                      (f"penstock, feed of {len(addrs)}, {EVERYWHERE}", {})):
        if plan.wants(name):
            plan.row(name, aim, target="penstock", policy=policy, **row)


def set_rows(plan):
    for size in PREFIX_SIZES:
        sent = address_rows(plan, size)
        prefix_rows(plan, size)
        if size == 128 * 1024:
            tc_rows(plan, sent)
            hot_set_rows(plan, sent)
    feed_rows(plan)


# ---- the rest ---------------------------------------------------------------------------------------


def tc_rows(plan, sent):
    for name, row in (("TC drop", {"target": "tc-drop"}),
                      ("penstock at TC, 128 k addresses, members", {"target": "penstock-tc", "policy": sent})):
        if plan.wants(name):
            plan.row(name, {}, headers=sent, **row)


def hot(plan, name, about, headers, **row):
    if plan.wants("hot"):
        plan.row(name, about, headers=headers, hot=True, **row)


def hot_set_rows(plan, sent):
    members = f"{sent}-once"
    for name, headers, deny in (("member", members, {}), ("other", "hot-udp", {"passes": True})):
        hot(plan, f"penstock, 128 k addresses, {name}", {}, headers, target="penstock", policy=sent)
        hot(plan, f"xdp-filter, 128 k deny, {name}", {}, headers, target="xdp-filter-deny", members=members, **deny)


def small_policy(plan, name, lines):
    return plan.policy(name, plan.data.write(f"{name}.yaml", HEAD + lines))


def one_rule_rows(plan):
    """No sets and at most one rule: the least that penstock does."""
    syn = classbench.Header(classbench.number("10.0.0.1"), classbench.number("192.0.2.1"), 40000, 80, classbench.TCP,
                            0x02, 0)
    tcp = plan.headers("hot-tcp", plan.data.write("hot-tcp.trace", [syn.line()]))
    udp = plan.headers("hot-udp", plan.data.members("hot-udp", [classbench.number("10.0.0.1")]))
    rule = small_policy(plan, "tcp-port", chain("pass", "proto: tcp, dport: 80"))
    aim = {"aim": ONE_RULE_AIM, "stretch": "empty"}
    hot(plan, "penstock, no chain for the device", {}, udp, target="penstock", passes=True,
        policy=small_policy(plan, "no-chain", chain("pass", direction="egress")))
    hot(plan, "penstock, chain without rules", {}, udp, target="penstock",
        policy=small_policy(plan, "no-rules", chain("drop")))
    hot(plan, "penstock, 1 rule (TCP port), matches", aim, tcp, target="penstock", policy=rule)
    hot(plan, "penstock, 1 rule (TCP port), UDP frame", aim, udp, target="penstock", policy=rule, passes=True)
    hot(plan, "xdp-filter, 1 UDP port, matches", {}, udp, target="xdp-filter-port")
    name = f"penstock, 1 rule (UDP port), {EVERYWHERE}"
    if plan.wants(name):
        plan.row(name, {"share": FLOOD_SHARE}, target="penstock", by_rule=True,
                 policy=small_policy(plan, "udp-port", chain("pass", "proto: udp, dport: 53")))


def flow_rows(plan):
    """The same packets once by a rule that asks for their flow, once by one that does not. They are dropped, which
    the state does not know: what passes would go up the stack, and that is not what is measured."""
    policies = {"established": small_policy(plan, "established", chain("pass", "state: established")),
                "stateless": small_policy(plan, "stateless", chain("pass", "proto: tcp"))}
    for count, aim in FLOW_AIMS.items():
        flows = plan.headers(f"flows-{count}-once", plan.data.flows(f"flows-{count}", count))
        sent = plan.headers(f"flows-{count}", plan.data.path(f"flows-{count}.trace"), DRAWN)
        name = f"penstock, {{}} packet, 2^{count.bit_length() - 1} flows"
        if not plan.wants(name.format("established")):
            continue
        for policy, about in (("stateless", {}),
                              ("established", {"aim": aim, "stretch": count, "over": name.format("stateless")})):
            plan.row(name.format(policy), about, target="penstock", policy=policies[policy], headers=sent,
                     by_rule=True, flows=flows)


def banned_rows(plan):
    """A set of members added at run time: what it costs packets that no such set holds, and those that one holds."""
    addrs = plan.data.addresses(BANNED)
    path = plan.data.members(f"banned-{BANNED}", addrs)
    members, sent = plan.headers("banned-once", path), plan.headers("banned", path, DRAWN)
    rules = ["    rules:", "      - {id: r, proto: udp, dport: 53, do: drop}"]
    without = small_policy(plan, "no-banned", chain("pass")[:-1] + rules)
    lines = ["sets:", f"  banned: {{max: {2 * BANNED}}}"] + chain("pass")[:-1] + rules[:1]
    with_set = small_policy(plan, "banned", lines + ["      - {id: banned, from: $banned, do: drop}"] + rules[1:])
    row = {"target": "penstock", "by_rule": True, "banned": members}
    for name, source in (("no", {}), ("a", {"headers": sent})):
        base = f"penstock, {name} member of a run-time set, without the set"
        rows = ((base, {}, without), (f"penstock, {name} member of a run-time set of {short(BANNED)}",
                                      {"aim": BANNED_AIMS[name], "stretch": 1 << 18, "over": base}, with_set))
        if plan.wants(rows[1][0]):
            for text, about, policy in rows:
                plan.row(text, about, policy=policy, **row, **source)


def make(data, only, rounds, cpu):
    plan = Plan(data, only, rounds, cpu)
    plan.headers("empty", data.members("empty", [classbench.number("10.0.0.1")]))
    plan.row("empty program", {"floor": True}, target="xdp-drop", headers="empty", hot=True)
    one_rule_rows(plan)
    rule_rows(plan)
    set_rows(plan)
    flow_rows(plan)
    banned_rows(plan)
    plan.floors()
    return plan

#!/usr/bin/env python3
"""Compares gateways in one run, on the job of the Caddyfile at the repository's root.

    cargo build --release && cargo build --release -p tollgate-loadgen
    python3 benches/compare.py --caddy PATH

Measures the subject, Caddy, nginx and HAProxy (those that are found or given), round by round in turn, so
that whatever else the machine does meets all of them alike. Every answer is checked; a measurement with a
wrong answer ends the run. The main figure is CPU time of the gateway's processes per unit of work, which
says what a machine can carry; the table gives medians over the rounds and, in brackets, the median of each
round's ratio to nginx. Needs Linux and Python's standard library.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from servers import CONNECTIONS_MAX, FILE_BYTES, JOB_BALANCED, JOB_FILE, KEY, ROOT, Server

GIB = 1 << 30


class Load:
    """The load generator: one upstream for the whole run, a client for each measurement."""

    def __init__(self, binary):
        self.binary = binary
        self.upstream = subprocess.Popen([binary, "upstream"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)
        self.upstream_address = self.upstream.stdout.readline().strip()
        if not self.upstream_address:
            raise SystemExit("the upstream did not start")

    def close(self):
        self.upstream.stdin.close()
        self.upstream.wait(5)

    def arguments(self, role, address, options):
        command = [self.binary, role, "--to", address, "--key", KEY]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        return command

    def run(self, role, address, **options):
        done = subprocess.run(self.arguments(role, address, options), stdout=subprocess.PIPE, text=True,
                              timeout=300, check=False)
        if done.returncode != 0:
            raise SystemExit(f"load '{role}' against {address} failed")
        result = json.loads(done.stdout)
        if result.get("errors"):
            raise SystemExit(f"load '{role}' against {address}: {result['errors']} wrong answers, "
                             f"the first: {result['first_error']}")
        return result

    def cpu_per_unit(self, server, role, **options):
        """CPU seconds of the server for each unit of work."""
        before = server.cpu()
        units = self.run(role, server.address, **options)["units"]
        return (server.cpu() - before) / units


class Measure:
    """One row (or two) of the table: how a value comes about, and how it is written."""

    def __init__(self, name, rows, take, unfit=()):
        self.name = name
        self.rows = rows
        self.take = take
        # Those that have no such job.
        self.unfit = unfit


def small(load, server, scale):
    return [1e6 * load.cpu_per_unit(server, "kept", connections=32, seconds=3 * scale)]


def refused(load, server, scale):
    return [1e6 * load.cpu_per_unit(server, "refused", connections=8, seconds=2 * scale)]


def stream(load, server, scale):
    return [1e6 * load.cpu_per_unit(server, "stream", connections=32, interval_us=2000, seconds=3 * scale)]


def first_byte(load, server, scale):
    count = max(20, int(300 * scale))
    through = load.run("first-byte", server.address, count=count)["nanoseconds"]
    direct = load.run("first-byte", load.upstream_address, count=count)["nanoseconds"]
    return [(statistics.median(through) - statistics.median(direct)) / 1e3]


@contextlib.contextmanager
def opened(load, server, role, options):
    """A fresh process, since a used one has memory to spare, with connections that `role` has opened.

    Gives the process, the client that holds them, and the PSS of each in KiB."""
    fresh = Server(server.name, server.binary, os.path.dirname(server.directory) + "/fresh", server.upstream)
    fresh.start()
    try:
        load.run("kept", fresh.address, connections=2, seconds=0.1)
        time.sleep(0.5)
        before = fresh.pss()
        command = load.arguments(role, fresh.address, options)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            count = options["connections"]
            found = json.loads(client.stdout.readline() or "{}").get("open")
            if found != count:
                raise SystemExit(f"{server.name}: {found} of {count} connections opened")
            time.sleep(1.0)
            yield fresh, client, (fresh.pss() - before) / count
            client.stdin.close()
            client.wait(20)
    finally:
        fresh.stop()


def idle(load, server, scale):
    """PSS for each open idle stream."""
    with opened(load, server, "hold", {"connections": int(2000 * min(1.0, scale))}) as (_, _, memory):
        return [memory]


def tunnels(load, server, scale):
    """Of 1,000 WebSockets: PSS for each while they are silent, then CPU for each message that comes back."""
    options = {"connections": int(1000 * min(1.0, scale)), "interval_us": 100_000, "seconds": 3 * scale}
    with opened(load, server, "tunnels", options) as (fresh, users, memory):
        cpu = fresh.cpu()
        users.stdin.write("\n")
        users.stdin.flush()
        result = json.loads(users.stdout.readline() or '{"errors": 1, "first_error": "none"}')
        cpu = fresh.cpu() - cpu
        if result["errors"]:
            raise SystemExit(f"{server.name}: {result['errors']} broken tunnels, the first: {result['first_error']}")
        return [memory, 1e6 * cpu / result["units"]]


def balanced(load, server, scale):
    """CPU for a small request with three upstreams whose health is checked, against one upstream.

    The two run by turns, so that whatever else the machine does meets both."""
    folder = os.path.dirname(server.directory)
    one = Server(server.name, server.binary, folder + "/one", server.upstream)
    three = Server(server.name, server.binary, folder + "/three", server.upstream, JOB_BALANCED)
    spent = {one: [], three: []}
    try:
        for each in spent:
            each.start()
            load.run("kept", each.address, connections=32, seconds=0.2)
        for _ in range(3):
            for each, values in spent.items():
                values.append(load.cpu_per_unit(each, "kept", connections=32, seconds=2 * scale))
        return [statistics.median(spent[three]) / statistics.median(spent[one])]
    finally:
        for each in spent:
            each.stop()


def bulk(load, server, scale):
    amount = int(GIB * min(1.0, scale)) // 2 * 2
    down = load.cpu_per_unit(server, "download", connections=2, bytes=amount)
    up = load.cpu_per_unit(server, "upload", connections=2, bytes=amount)
    return [down * GIB, up * GIB]


def file(load, server, scale):
    """A file over kept connections, of a process with a site of its own."""
    own = Server(server.name, server.binary, os.path.dirname(server.directory) + "/files", server.upstream, JOB_FILE)
    own.start()
    try:
        load.run("file", own.address, connections=2, seconds=0.1, bytes=FILE_BYTES)
        return [1e6 * load.cpu_per_unit(own, "file", connections=32, seconds=3 * scale, bytes=FILE_BYTES)]
    finally:
        own.stop()


def start(load, server, scale):
    """Time to the first 200, and the memory a moment later, of a fresh process."""
    del load
    times = []
    fresh = Server(server.name, server.binary, os.path.dirname(server.directory) + "/fresh", server.upstream)
    for _ in range(max(1, int(3 * scale))):
        try:
            times.append(fresh.start())
            time.sleep(0.5)
            memory = fresh.pss()
        finally:
            fresh.stop()
    return [1e3 * statistics.median(times), memory / 1024]


MEASURES = [
    Measure("small", ["CPU per small proxied request, 32 kept connections, µs"], small),
    Measure("401", ["CPU per 401 on a new connection, µs"], refused),
    Measure("stream", ["CPU per line of a stream paced at 2 ms, 32 streams, µs"], stream),
    Measure("ttfb", ["added time to the first byte of a stream, µs"], first_byte),
    Measure("idle", ["PSS per open idle stream, 2,000 of them, KiB"], idle),
    Measure("tunnels", ["PSS per open WebSocket, 1,000 of them, KiB", "CPU per message there and back, µs"], tunnels),
    Measure("balanced", ["CPU with three checked upstreams, against one"], balanced, unfit=("nginx", "haproxy")),
    Measure("bulk", ["CPU per GiB down, s", "CPU per GiB up, s"], bulk),
    Measure("file", ["CPU per file of 10 KiB, 32 kept connections, µs"], file, unfit=("haproxy",)),
    Measure("start", ["start to first 200, ms", "PSS when idle, MiB"], start),
]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    release = os.path.join(ROOT, "target", "release")
    parser.add_argument("--subject", default=os.path.join(release, "tollgate"), help="the gateway in question")
    parser.add_argument("--caddy", default=os.environ.get("CADDY") or shutil.which("caddy"),
                        help="Caddy, to compare with (default: $CADDY, then PATH)")
    parser.add_argument("--nginx", default=shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"))
    parser.add_argument("--haproxy", default=shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin"))
    parser.add_argument("--loadgen", default=os.path.join(release, "tollgate-loadgen"))
    parser.add_argument("--only", default="", help="measures, comma-separated: "
                        + ",".join(measure.name for measure in MEASURES))
    parser.add_argument("--servers", default="", help="gateways, comma-separated: tollgate,caddy,nginx,haproxy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="length of each measurement, 1 = as published")
    parser.add_argument("--json", help="also write all values of all rounds to this file")
    return parser.parse_args()


def chosen(arguments):
    binaries = {"tollgate": arguments.subject, "caddy": arguments.caddy, "nginx": arguments.nginx,
                "haproxy": arguments.haproxy}
    wanted = [name for name in arguments.servers.split(",") if name] or list(binaries)
    found = {}
    for name in wanted:
        if name not in binaries:
            raise SystemExit(f"unknown gateway '{name}'")
        path = binaries[name]
        if path and os.access(path, os.X_OK):
            found[name] = os.path.abspath(path)
        elif arguments.servers or name == "tollgate":
            raise SystemExit(f"{name}: no such program: {path}")
        else:
            print(f"{name}: not here, left out", file=sys.stderr)
    if not os.access(arguments.loadgen, os.X_OK):
        raise SystemExit("no load generator: cargo build --release -p tollgate-loadgen")
    return found


def picked(only):
    names = [name for name in only.split(",") if name]
    known = {measure.name for measure in MEASURES}
    for name in names:
        if name not in known:
            raise SystemExit(f"unknown measure '{name}'")
    return [measure for measure in MEASURES if not names or measure.name in names]


def table(rows, servers):
    """Prints medians, and each one's ratio to nginx (the median of the rounds' own ratios)."""
    width = max(len(row) for row in rows)
    print(f"{'':{width}}" + "".join(f"{name:>20}" for name in servers))
    for row, values in rows.items():
        cells = ""
        for name in servers:
            if not values[name]:
                cells += f"{'-':>20}"
                continue
            cell = f"{statistics.median(values[name]):.2f}"
            if values.get("nginx") and name != "nginx":
                ratios = [mine / its for mine, its in zip(values[name], values["nginx"]) if its > 0]
                if ratios:
                    cell += f" ({statistics.median(ratios):.2f})"
            cells += f"{cell:>20}"
        print(f"{row:{width}}{cells}")


def main():
    arguments = options()
    binaries = chosen(arguments)
    measures = picked(arguments.only)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = CONNECTIONS_MAX * 2 if hard == resource.RLIM_INFINITY else min(hard, CONNECTIONS_MAX * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    rows = {row: {name: [] for name in binaries} for measure in measures for row in measure.rows}
    load = Load(os.path.abspath(arguments.loadgen))
    servers = []
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as directory:
        try:
            port = int(load.upstream_address.rsplit(":", 1)[1])
            for name, binary in binaries.items():
                server = Server(name, binary, directory, port)
                servers.append(server)
                server.start()
            for turn in range(arguments.rounds):
                print(f"round {turn + 1} of {arguments.rounds}", file=sys.stderr)
                for measure in measures:
                    # Each round begins with another gateway, so that none always follows the same one.
                    shift = turn % len(servers)
                    for server in servers[shift:] + servers[:shift]:
                        if server.name in measure.unfit:
                            continue
                        values = measure.take(load, server, arguments.scale)
                        for row, value in zip(measure.rows, values):
                            rows[row][server.name].append(value)
        finally:
            for server in servers:
                server.stop()
            load.close()
    table(rows, list(binaries))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main()

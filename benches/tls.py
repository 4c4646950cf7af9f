#!/usr/bin/env python3
"""Compares what TLS costs the gateways: CPU time for each handshake, and for each request over HTTP/1, 2 and 3.

    cargo build --release && cargo build --release -p tollgate-loadgen
    python3 benches/tls.py --caddy PATH

Each gateway has the same ECDSA certificate and answers `hello` itself. h2load (Debian's nghttp2-client) asks, and every
answer must be a 200; over HTTP/3 our own load generator asks, and compares every answer. Debian's nginx has no HTTP/3,
so that row's ratio is to Caddy. Handshakes are whole ones of TLS 1.3, each on a new connection with one request. The
figures are CPU time of the gateway's processes for each request, the median over the rounds, with each round's ratio
to nginx.
"""

import argparse
import json
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile

from servers import NGINX_COMMON, ROOT, Server, CONNECTIONS_MAX

NGINX_TLS = "user {user} {group};" + NGINX_COMMON + """	tcp_nodelay on;
	server {{
		listen 127.0.0.1:{port} ssl http2 reuseport;
		ssl_certificate {dir}/../cert.pem;
		ssl_certificate_key {dir}/../key.pem;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_session_tickets on;
		http2_max_concurrent_streams 250;
		default_type text/plain;
		location / {{
			return 200 "hello";
		}}
	}}
}}
"""

CADDYFILE_TLS = """{{
	admin off
	auto_https disable_redirects
	servers {{
		protocols {protocols}
	}}
}}
https://localhost:{port} {{
	bind 127.0.0.1
	tls {dir}/../cert.pem {dir}/../key.pem
	respond "hello"
}}
"""

# Name: h2load's arguments, the requests of a round at scale 1.
JOBS = {
    "handshake": (["--h1"], 3000),
    "h1": (["--h1", "-c", "16"], 150_000),
    "h2": (["-c", "4", "-m", "10"], 300_000),
}

# The job of our own load generator: as many connections and streams as for HTTP/2, for so many seconds at scale 1.
H3 = "h3"
H3_LOAD = {"connections": 4, "streams": 10}
H3_SECONDS = 5


class TlsServer(Server):
    """A gateway that answers over TLS."""

    protocols = "h1 h2"

    def command(self):
        if self.name != "nginx":
            command, environment = [self.binary, "run", "--config"], {
                "PATH": os.environ.get("PATH", ""),
                "HOME": self.directory,
                "XDG_DATA_HOME": os.path.join(self.directory, "data"),
                "XDG_CONFIG_HOME": os.path.join(self.directory, "config"),
            }
            config = self.write("Caddyfile", CADDYFILE_TLS.format(port=self.port, dir=self.directory,
                                                                protocols=self.protocols))
            return command + [config, "--adapter", "caddyfile"], environment
        user = subprocess.run(["id", "-un"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        group = subprocess.run(["id", "-gn"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        text = NGINX_TLS.format(dir=self.directory, port=self.port, connections=CONNECTIONS_MAX, user=user,
                                group=group)
        config = self.write("nginx.conf", text)
        return [self.binary, "-e", os.path.join(self.directory, "error.log"), "-c", config], {"PATH": "/usr/bin"}

    def answers(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as stream:
                    stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    return b" 200 " in stream.recv(64)
        except OSError:
            return False


class H3Server(TlsServer):
    """One that speaks HTTP/3 too, and says so to those who come otherwise."""

    protocols = "h1 h2 h3"


def measure_h3(server, loadgen, scale):
    """CPU for each request over HTTP/3, several at a time on each connection."""
    command = [loadgen, H3, "--to", server.address, "--trust", os.path.join(server.directory, "../cert.pem"),
               "--expect", "hello"]
    for name, value in (H3_LOAD | {"seconds": H3_SECONDS * scale}).items():
        command += [f"--{name}", str(value)]
    before = server.cpu()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
    result = json.loads(done.stdout or '{"errors": 1, "first_error": "no outcome"}')
    if result["errors"]:
        raise SystemExit(f"{server.name}: {H3}: {result['errors']} wrong answers, the first: {result['first_error']}")
    return (server.cpu() - before) / result["units"] * 1e6


def measure(server, job, scale):
    arguments, requests = JOBS[job]
    requests = max(100, int(requests * scale))
    clients = []
    if job == "handshake":
        # One request on each connection, no more than that many open at once.
        clients, requests = ["-c", str(min(requests, 1000))], requests - requests % min(requests, 1000)
    before, done = server.cpu(), 0
    while done < requests:
        count = min(requests - done, 1000) if job == "handshake" else requests
        command = ["h2load", *arguments, *clients, "-n", str(count), f"https://localhost:{server.port}/"]
        output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=300, check=False).stdout
        ok = re.search(r"(\d+) 2xx", output)
        if not ok or int(ok.group(1)) != count:
            raise SystemExit(f"{server.name}: {job}: not every answer was a 200\n{output[-800:]}")
        done += count
    return (server.cpu() - before) / done * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", default=os.path.join(ROOT, "target/release/tollgate"))
    parser.add_argument("--caddy", default=shutil.which("caddy"))
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    parser.add_argument("--loadgen", default=os.path.join(ROOT, "target/release/tollgate-loadgen"))
    parser.add_argument("--only", default="", help="jobs, comma-separated: " + ",".join([*JOBS, H3]))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    binaries = {"tollgate": options.subject, "nginx": options.nginx, "caddy": options.caddy}
    binaries = {name: os.path.abspath(path) for name, path in binaries.items() if path and os.path.exists(path)}
    directory = tempfile.mkdtemp(prefix="tollgate-tls-")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    # Or else it is an authority's, which no server may have.
                    "-addext", "basicConstraints=critical,CA:FALSE"],
                   stderr=subprocess.DEVNULL, check=True)
    os.chmod(directory, 0o755)
    wanted = [job for job in options.only.split(",") if job] or [*JOBS, H3]
    if unknown := [job for job in wanted if job not in (*JOBS, H3)]:
        raise SystemExit(f"unknown job '{unknown[0]}'")
    servers = [TlsServer(name, path, directory, None) for name, path in binaries.items()]
    # With processes of their own, since who speaks HTTP/3 has a header field more to send over the others.
    os.mkdir(f"{directory}/{H3}")
    for file in ("cert.pem", "key.pem"):
        shutil.copy(f"{directory}/{file}", f"{directory}/{H3}")
    speaking = [H3Server(name, path, f"{directory}/{H3}", None) for name, path in binaries.items() if name != "nginx"]
    figures = {job: {name: [] for name in binaries} for job in wanted}
    try:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for job in wanted:
                for server in speaking if job == H3 else servers:
                    server.process or server.start()
                    cost = measure_h3(server, options.loadgen, options.scale) if job == H3 \
                        else measure(server, job, options.scale)
                    figures[job][server.name].append(cost)
    finally:
        for server in servers + speaking:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    table(figures, binaries)


def table(figures, binaries):
    """Prints medians, and the median of each round's ratio to nginx, or to Caddy where nginx has no such job."""
    print(f"{'CPU us for each':<16}" + "".join(f"{name:>22}" for name in binaries))
    for job, by_name in figures.items():
        line = f"{job:<16}"
        bases = by_name.get("nginx") or by_name.get("caddy")
        for values in by_name.values():
            if not values:
                line += f"{'-':>22}"
                continue
            ratios = [value / base for value, base in zip(values, bases or values)]
            line += f"{statistics.median(values):>15.1f} ({statistics.median(ratios):.2f})"
        print(line)


if __name__ == "__main__":
    main()

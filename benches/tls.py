#!/usr/bin/env python3
"""Compares what TLS costs the gateways: CPU time for each handshake, and for each request over HTTP/1 and HTTP/2.

    cargo build --release
    python3 benches/tls.py --caddy PATH

Each gateway has the same ECDSA certificate and answers `hello` itself. h2load (Debian's nghttp2-client) asks, and every
answer must be a 200. Handshakes are whole ones of TLS 1.3, each on a new connection with one request. The figures are
CPU time of the gateway's processes for each request, the median over the rounds, with each round's ratio to nginx.
"""

import argparse
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
		protocols h1 h2
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


class TlsServer(Server):
    """A gateway that answers over TLS."""

    def command(self):
        if self.name != "nginx":
            command, environment = [self.binary, "run", "--config"], {
                "PATH": os.environ.get("PATH", ""),
                "HOME": self.directory,
                "XDG_DATA_HOME": os.path.join(self.directory, "data"),
                "XDG_CONFIG_HOME": os.path.join(self.directory, "config"),
            }
            config = self.write("Caddyfile", CADDYFILE_TLS.format(port=self.port, dir=self.directory))
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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    binaries = {"tollgate": options.subject, "nginx": options.nginx, "caddy": options.caddy}
    binaries = {name: path for name, path in binaries.items() if path and os.path.exists(path)}
    directory = tempfile.mkdtemp(prefix="tollgate-tls-")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   stderr=subprocess.DEVNULL, check=True)
    os.chmod(directory, 0o755)
    servers = [TlsServer(name, path, directory, None) for name, path in binaries.items()]
    figures = {job: {server.name: [] for server in servers} for job in JOBS}
    try:
        for server in servers:
            server.start()
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for job in JOBS:
                for server in servers:
                    figures[job][server.name].append(measure(server, job, options.scale))
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{'CPU us for each':<16}" + "".join(f"{name:>22}" for name in binaries))
    for job, by_name in figures.items():
        line = f"{job:<16}"
        for name, values in by_name.items():
            ratios = [value / base for value, base in zip(values, by_name.get("nginx", values))]
            line += f"{statistics.median(values):>14.1f} ({statistics.median(ratios):.2f})"
        print(line)


if __name__ == "__main__":
    main()

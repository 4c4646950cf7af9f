#!/usr/bin/env python3
"""Answers the gateway's question whether a key is valid.

    GET /validate   with the client's Authorization header

    200  Proxy-Status: valid_api_key            the Bearer token is one of the lines of the key file
    401  Proxy-Status: invalid_api_key          it is none of them
    400  Proxy-Status: invalid_api_key_format   the header does not start with `Bearer `

The key file holds one key a line; empty lines do not count. It is read again when it changes, so a key can
be added or withdrawn without a restart. A file that cannot be read leaves the keys as they were. Keys are
never printed. Standard library only.
"""

import argparse
import hashlib
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCHEME = "Bearer "
# A gateway's kept connection may be silent this long before its thread ends.
IDLE_SECONDS = 120


def digest(key):
    """Keys are compared by digest, so that the time a comparison takes tells nothing about a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Keys:
    """The key file, read again when its date or size changes."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.version = None
        self.digests = frozenset()
        self.refresh()
        if self.version is None:
            raise SystemExit(f"validator: cannot read the keys in {path}")

    def refresh(self):
        try:
            stat = os.stat(self.path)
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if version == self.version:
                return
            with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            # The keys so far stay valid; said once for each kind of failure, not for each request.
            if self.version is not None and self.version != repr(error):
                print(f"validator: keeping the keys as they were: {error}", file=sys.stderr, flush=True)
                self.version = repr(error)
            return
        self.digests = frozenset(digest(line) for line in lines if line)
        self.version = version
        count = len(self.digests)
        advice = "" if count else f": every request will be refused; write one key a line to {self.path}"
        print(f"validator: {count} keys{advice}", file=sys.stderr, flush=True)

    def holds(self, key):
        with self.lock:
            self.refresh()
        return digest(key) in self.digests


class Validator(BaseHTTPRequestHandler):
    """One connection of the gateway."""

    protocol_version = "HTTP/1.1"
    server_version = "validator"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self):  # noqa: N802 (the name is http.server's)
        if self.headers.get("Transfer-Encoding") or self.headers.get("Content-Length", "0") != "0":
            # A body is none of our business, and must not be read as the next request.
            self.close_connection = True
        if self.path.split("?", 1)[0] != "/validate":
            self.answer(404, "Not Found")
            return
        authorization = self.headers.get_all("Authorization", [])
        # http.server reads header bytes as Latin-1; the key file is UTF-8.
        given = [value.encode("latin-1").decode("utf-8", "surrogateescape") for value in authorization]
        if len(given) != 1 or not given[0].startswith(SCHEME):
            self.answer(400, "Invalid API Key format", "invalid_api_key_format")
        elif self.server.keys.holds(given[0][len(SCHEME):]):
            self.answer(200, "API Key validation successful", "valid_api_key")
        else:
            self.answer(401, "Invalid API Key", "invalid_api_key")

    do_HEAD = do_GET

    def answer(self, status, text, verdict=None):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if verdict:
            self.send_header("Proxy-Status", verdict)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing: the gateway's access log has every request already."""


class Server(ThreadingHTTPServer):
    """One thread for each connection that the gateway keeps."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, keys):
        super().__init__(address, Validator)
        self.keys = keys


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=int(os.environ.get("VALIDATOR_PORT", "9090")))
    parser.add_argument("--keys", default=os.environ.get("VALID_KEYS", "/etc/caddy/valid_keys.conf"))
    arguments = parser.parse_args()
    with Server(("127.0.0.1", arguments.port), Keys(arguments.keys)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

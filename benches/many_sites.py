#!/usr/bin/env python3
"""Times adapting Caddyfiles with many sites, of several kinds, and compares the JSON with Caddy's.

    cargo build --release
    python3 benches/many_sites.py --caddy PATH

Each kind is adapted at a quarter of the sites and at all of them. What is linear takes four times as long for all;
`growth` says how many times it took. Figures are seconds, the best of the rounds, with the start of the process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from servers import ROOT

# Name: the global options, and a site by its number.
KINDS = {
    "plain": ("", lambda n: f"s{n}.example.com {{\n\trespond {n}\n}}\n"),
    "usual": ("", lambda n: f"s{n}.example.com {{\n\troot * /srv/{n}\n\tencode zstd gzip\n\thandle /api/* {{\n"
                            f"\t\treverse_proxy localhost:{9000 + n % 1000}\n\t}}\n\tfile_server\n}}\n"),
    "http": ("", lambda n: f"http://s{n}.example.com {{\n\trespond {n}\n}}\n"),
    "mixed": ("", lambda n: f"http://s{n}.example.com, https://t{n}.example.com:8443 {{\n\trespond {n}\n}}\n"),
    "email": ("", lambda n: f"s{n}.example.com {{\n\ttls admin{n}@example.com\n\trespond {n}\n}}\n"),
    "policy": ("", lambda n: f"s{n}.example.com {{\n\ttls {{\n\t\tkey_type p384\n\t\tprotocols tls1.3\n\t}}\n}}\n"),
    "internal": ("\tlocal_certs\n", lambda n: f"s{n}.example.com {{\n\trespond {n}\n}}\n"),
    "log": ("", lambda n: f"s{n}.example.com {{\n\tlog {{\n\t\toutput file /var/log/{n}.log\n\t}}\n}}\n"),
    "bind": ("", lambda n: f"s{n}.example.com {{\n\tbind 10.{n // 65536}.{n // 256 % 256}.{n % 256}\n}}\n"),
    "port": ("", lambda n: f":{1024 + n} {{\n\trespond {n}\n}}\n"),
    "hosts": ("", lambda n: ", ".join(f"h{n}-{m}.example.com" for m in range(10)) + f" {{\n\trespond {n}\n}}\n"),
    "wildcard": ("", lambda n: f"*.w{n}.example.com, s.w{n}.example.com {{\n\trespond {n}\n}}\n"),
    "import": ("", lambda n: f"s{n}.example.com {{\n\timport common {n}\n}}\n"),
}
SNIPPETS = {"import": "(common) {\n\theader X-Site {args[0]}\n\trespond {args[0]}\n}\n"}


def caddyfile(kind, sites):
    options, site = KINDS[kind]
    return f"{{\n\tadmin off\n{options}}}\n" + SNIPPETS.get(kind, "") + "".join(map(site, range(sites)))


def adapt(binary, file):
    start = time.monotonic()
    done = subprocess.run([binary, "adapt", "--config", file, "--adapter", "caddyfile"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - start, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", default=os.path.join(ROOT, "target/release/tollgate"))
    parser.add_argument("--caddy", default=shutil.which("caddy"))
    parser.add_argument("--sites", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    binaries = {"tollgate": options.subject} | ({"caddy": options.caddy} if options.caddy else {})
    failed = False
    print(f"{'kind':10}" + "".join(f"{name:>12}{'growth':>8}" for name in binaries))
    with tempfile.TemporaryDirectory(prefix="tollgate-sites-") as directory:
        for kind in options.kinds:
            line, outputs = f"{kind:10}", {}
            for name, binary in binaries.items():
                best = []
                for sites in (options.sites // 4, options.sites):
                    file = os.path.join(directory, f"{kind}-{sites}.caddyfile")
                    with open(file, "w", encoding="utf-8") as out:
                        out.write(caddyfile(kind, sites))
                    rounds = [adapt(binary, file) for _ in range(options.rounds)]
                    best.append(min(seconds for seconds, _ in rounds))
                    outputs[name] = json.loads(rounds[0][1])
                line += f"{best[1]:12.3f}{best[1] / best[0]:8.1f}"
            if any(output != outputs["tollgate"] for output in outputs.values()):
                line, failed = line + "  the JSON differs", True
            print(line, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Tests that the official clients of Ollama and OpenAI, for Python and JavaScript, work through the gate.

    python3 tests/clients/run.py BINARY

Installs the clients, at the versions written beside this file, into target/clients; starts `BINARY demo` on
free ports with a key; and lets check.py and check.mjs work through it, with the right key and a wrong one.
Ends with status 0 only if all of it passes. Needs python3 with venv, node 20 or newer, and npm.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
PLACE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "target", "clients")
KEY = "sk-clients-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
WORDS_PER_SECOND = "50"


def install():
    """Brings both kinds of clients; what is there from the last time is used again."""
    python = os.path.join(PLACE, "python")
    if not os.path.exists(os.path.join(python, "bin", "pip")):
        venv.create(python, with_pip=True, clear=True)
    subprocess.run([os.path.join(python, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check",
                    "-r", os.path.join(HERE, "requirements.txt")], check=True)
    javascript = os.path.join(PLACE, "javascript")
    os.makedirs(javascript, exist_ok=True)
    # Modules are looked for beside the file that imports them, so the check goes where they are.
    for name in ("package.json", "check.mjs"):
        shutil.copy(os.path.join(HERE, name), javascript)
    subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts",
                    "--silent"], cwd=javascript, check=True)
    return os.path.join(python, "bin", "python"), javascript


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port, process):
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"the demo ended with status {process.returncode}") from None
            if time.monotonic() > deadline:
                raise SystemExit("the demo does not answer") from None
            time.sleep(0.05)


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    binary = os.path.abspath(sys.argv[1])
    python, javascript = install()
    port = free_port()
    # A key or an address in the environment would be used by the clients of themselves.
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("OLLAMA_", "OPENAI_")) and not name.lower().endswith("_proxy")}
    demo = subprocess.Popen([binary, "demo", "--port", str(port), "--model-port", str(free_port()),
                             "--words-per-second", WORDS_PER_SECOND],
                            env={**clean, "OLLAMA_API_KEY": KEY}, stdin=subprocess.DEVNULL)
    try:
        await_port(port, demo)
        environment = {**clean, "GATE_URL": f"http://127.0.0.1:{port}", "GATE_KEY": KEY}
        failed = False
        for command, place in (([python, "-m", "unittest", "-v", "check"], HERE),
                               (["node", "--test", "check.mjs"], javascript)):
            failed |= subprocess.run(command, cwd=place, env=environment, timeout=300, check=False).returncode != 0
        return 1 if failed else 0
    finally:
        demo.terminate()
        demo.wait(20)


if __name__ == "__main__":
    sys.exit(main())

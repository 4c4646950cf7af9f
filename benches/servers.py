"""The gateways that compare.py measures, each set up for the same job.

The job is that of the Caddyfile at the repository's root: a request whose Authorization is exactly
`Bearer KEY` is proxied to the model server, with Host as the upstream's, the X-Forwarded headers, and
streams not buffered; every other request gets `401 Unauthorized` and a closed connection.
A second job, JOB_FILE, is a folder with one file, which nginx sends by sendfile. A third, JOB_BALANCED, is
the first with three upstreams whose health is checked, which only those that read the Caddyfile have.
nginx and HAProxy get two workers (or threads), kept connections to the upstream and no access log, as
whoever wants speed from them would set them up.
"""

import grp
import os
import pwd
import re
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEY = "sk-ollama-78834bcb4c76d97d35a0c1acd0d938c6"
# What one round holds open (2,000 streams, each with its upstream connection), with room to spare.
CONNECTIONS_MAX = 8192

JOB_GATE = "gate"
JOB_FILE = "file"
JOB_BALANCED = "balanced"
# The file of JOB_FILE: each byte tells its place, as in the load generator's own answers.
FILE_BYTES = 10 * 1024
FILE_PERIOD = 251
# Seconds that it rests before it is first asked for.
FILE_RESTS = 1.5

# What both jobs of nginx share.
NGINX_COMMON = """
daemon off;
worker_processes 2;
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log {dir}/error.log crit;
events {{
	worker_connections {connections};
}}
http {{
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	keepalive_requests 1000000000;
"""

NGINX = NGINX_COMMON + """	tcp_nodelay on;
	map_hash_bucket_size 128;
	map $http_authorization $key {{
		default 0;
		"Bearer {key}" 1;
	}}
	upstream model {{
		server 127.0.0.1:{upstream};
		keepalive 64;
		keepalive_requests 1000000000;
	}}
	server {{
		listen 127.0.0.1:{port} reuseport;
		client_max_body_size 0;
		default_type text/plain;
		if ($key = 0) {{
			return 418;
		}}
		error_page 418 = @unauthorized;
		proxy_http_version 1.1;
		proxy_set_header Connection "";
		proxy_set_header Host 127.0.0.1:{upstream};
		proxy_set_header X-Forwarded-For $remote_addr;
		proxy_set_header X-Forwarded-Host $http_host;
		proxy_set_header X-Forwarded-Proto $scheme;
		proxy_request_buffering off;
		proxy_max_temp_file_size 0;
		proxy_read_timeout 1h;
		proxy_send_timeout 1h;
		location / {{
			proxy_pass http://model;
		}}
		# What streams must not be buffered. The rest is cheaper for nginx with its buffers.
		location /stream {{
			proxy_pass http://model;
			proxy_buffering off;
		}}
		location /tunnel {{
			proxy_pass http://model;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_set_header Host 127.0.0.1:{upstream};
		}}
		location @unauthorized {{
			keepalive_timeout 0;
			return 401 "Unauthorized";
		}}
	}}
}}
"""

# Its workers must be able to read what we have made, even if it is started by root.
NGINX_FILE = "user {user} {group};" + NGINX_COMMON + """	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	default_type application/octet-stream;
	server {{
		listen 127.0.0.1:{port} reuseport;
		root {dir}/site;
	}}
}}
"""

CADDYFILE_FILE = """:{port} {{
	bind 127.0.0.1
	root * {dir}/site
	file_server
}}
"""

# Behind the upstream's address; each of the three is asked every second.
BALANCED = """
		to {upstreams}
		health_uri /api/tags
		health_interval 1s"""

HAPROXY = """
global
	nbthread 2
	maxconn {connections}
	# Without this a stop waits for the open streams.
	hard-stop-after 1s
defaults
	mode http
	option http-no-delay
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	timeout tunnel 1h
	timeout http-keep-alive 1h
frontend gate
	bind 127.0.0.1:{port}
	use_backend denied unless {{ req.hdr(authorization) -m str "Bearer {key}" }}
	default_backend model
backend denied
	http-request return status 401 content-type "text/plain; charset=utf-8" string "Unauthorized" hdr Connection close
backend model
	http-reuse always
	http-request set-header X-Forwarded-For %[src]
	http-request set-header X-Forwarded-Host %[req.hdr(host)]
	http-request set-header X-Forwarded-Proto http
	http-request set-header Host 127.0.0.1:{upstream}
	server model 127.0.0.1:{upstream}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One gateway as a process group of our own, on a port of its own."""

    def __init__(self, name, binary, directory, upstream, job=JOB_GATE):
        self.name = name
        self.binary = binary
        self.directory = os.path.join(directory, name)
        self.upstream = upstream
        self.job = job
        self.process = None
        self.port = None
        os.makedirs(self.directory, exist_ok=True)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def command(self):
        """Writes the configuration for the current port; returns the command line and the environment."""
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": self.directory}
        if self.name in ("nginx", "haproxy"):
            template = HAPROXY if self.name == "haproxy" else NGINX_FILE if self.job == JOB_FILE else NGINX
            text = template.format(dir=self.directory, port=self.port, upstream=self.upstream, key=KEY,
                                   connections=CONNECTIONS_MAX, user=pwd.getpwuid(os.geteuid()).pw_name,
                                   group=grp.getgrgid(os.getegid()).gr_name)
            config = self.write(f"{self.name}.conf", text)
            if self.name == "nginx":
                return [self.binary, "-e", os.path.join(self.directory, "error.log"), "-c", config], environment
            return [self.binary, "-db", "-f", config], environment
        environment.update({
            "OLLAMA_API_KEY": KEY,
            "CADDY_ADMIN": f"127.0.0.1:{free_port()}",
            "XDG_DATA_HOME": os.path.join(self.directory, "data"),
            "XDG_CONFIG_HOME": os.path.join(self.directory, "config"),
        })
        config = self.write("Caddyfile", self.caddyfile())
        return [self.binary, "run", "--config", config, "--adapter", "caddyfile"], environment

    def caddyfile(self):
        if self.job == JOB_FILE:
            return CADDYFILE_FILE.format(port=self.port, dir=self.directory)
        with open(os.path.join(ROOT, "Caddyfile"), encoding="utf-8") as file:
            text = file.read()
        text, sites = re.subn(r"(?m)^:8081 \{$", f":{self.port} {{\n\tbind 127.0.0.1", text)
        text, upstreams = re.subn(r"\blocalhost:11434 \{", f"127.0.0.1:{self.upstream} {{{self.balanced()}", text)
        if (sites, upstreams) != (1, 1):
            raise SystemExit("the root Caddyfile no longer has one site :8081 and one upstream localhost:11434")
        return text

    def balanced(self):
        """What JOB_BALANCED says more of the upstreams."""
        if self.job != JOB_BALANCED:
            return ""
        # The upstream listens there too.
        more = (f"http://{address}:{self.upstream}" for address in ("127.0.0.2", "127.0.0.3"))
        return BALANCED.format(upstreams=" ".join(more))

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, patience=20.0):
        """Starts it; returns the seconds until its first proxied 200."""
        self.port = free_port()
        command, environment = self.command()
        if self.job == JOB_FILE:
            os.makedirs(os.path.join(self.directory, "site"), exist_ok=True)
            with open(os.path.join(self.directory, "site", "file.bin"), "wb") as file:
                file.write(bytes(at % FILE_PERIOD for at in range(FILE_BYTES)))
            # Most files that are served were not written a moment ago.
            time.sleep(FILE_RESTS)
        with open(os.path.join(self.directory, "output"), "wb") as output:
            begin = time.perf_counter()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            cwd=self.directory, env=environment, start_new_session=True)
        while not self.answers():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{self.output()}")
            if time.perf_counter() - begin > patience:
                self.stop()
                raise SystemExit(f"{self.name} does not answer:\n{self.output()}")
            time.sleep(0.0005)
        return time.perf_counter() - begin

    def output(self):
        with open(os.path.join(self.directory, "output"), encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def answers(self):
        """Whether a request with the key is answered 200."""
        target = "/file.bin" if self.job == JOB_FILE else "/api/tags"
        request = (f"GET {target} HTTP/1.1\r\nHost: {self.address}\r\nAuthorization: Bearer {KEY}\r\n"
                   "Connection: close\r\n\r\n")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(request.encode())
                return connection.recv(64).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        # Its workers are in the group that we made; none of them outlives the measurement.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None

    def pids(self):
        """The process and its children, as /proc shows them."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if os.getpgid(int(entry)) == self.process.pid:
                        found.append(int(entry))
                except ProcessLookupError:
                    pass
        return found

    def cpu(self):
        """CPU seconds used so far by all its processes, in user and kernel mode."""
        ticks = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def pss(self):
        """Proportional set size of all its processes, in KiB."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return total

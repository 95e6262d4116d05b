"""The proxies that are measured, each with one worker on a core of its own, and the services behind
them. Every process is started here and ended by its id; every address is on loopback."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

PROXY_CORE, LOAD_CORE = "0", "1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, seconds=10, pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(pause)


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A child on one core, in a folder of its own."""

    def __init__(self, folder, core, command, port, environment=None):
        self.log = open(folder / "log", "wb")
        self.child = subprocess.Popen(
            ["taskset", "-c", core, *map(str, command)],
            stdout=self.log,
            stderr=self.log,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
        try:
            wait_for(lambda: accepts(port), f"{command[0]} to listen; see {folder}/log", 60)
        except TimeoutError:
            self.stop()
            raise

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()

    def pids(self):
        children = pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return [self.child.pid, *map(int, children)]

    def cpu_seconds(self):
        """User and system time so far, of the process and its workers, by their own clocks: the figures
        in /proc are in steps of 10 ms."""
        clock = lambda pid: ~pid << 3 | 2  # As clock_getcpuclockid(3) makes it.
        return sum(time.clock_gettime(clock(pid)) for pid in self.pids())

    def resident_mib(self):
        pages = sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Services:
    """What stands behind the proxies: a primary and two mirrors that read every body and answer at
    once, a mirror that accepts and never answers, and one that is not there."""

    def __init__(self, folder):
        self.primary, *self.mirrors = [free_port() for _ in range(3)]
        self.dead = free_port()
        self.hole = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.black_hole = self.hole.getsockname()[1]
        folder.mkdir()
        (folder / "large").write_bytes(b"x" * 65536)
        # What would be an error for a POST is an answer only once the body is read, which nginx does to
        # mirror it to nobody. Services that answer before confuse h2load: it goes on with the next request
        # amid a body, and then either fails an assertion or waits for ever.
        servers = "".join(
            f"""server {{ listen 127.0.0.1:{port} backlog=1024; client_body_buffer_size 1m;
                location = /large {{ root {folder}; }}
                location / {{ if ($request_method = GET) {{ return 200 ok; }}
                    root {folder}; mirror /nobody; error_page 403 =200 @ok; }}
                location = /nobody {{ internal; return 204; }}
                location @ok {{ return 200 ok; }} }}\n"""
            for port in (self.primary, *self.mirrors)
        )
        self.process = nginx(folder, LOAD_CORE, servers, self.primary)

    def stop(self):
        self.process.stop()
        self.hole.close()


def nginx(folder, core, servers, port):
    (folder / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error;
        events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 0;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            {servers} }}"""
    )
    return Process(folder, core, [shutil.which("nginx") or "/usr/sbin/nginx", "-c", folder / "nginx.conf"], port)


def gateway(folder, core, binary, config, port):
    """This gateway, with one worker, on a file or a folder of documents."""
    command = [binary, "--config", config, "--threads", "1", "--access-log", "off"]
    return Process(folder, core, command, port, {"RUST_LOG": "error"})


# Each takes a port for HTTP/1.1 and one for HTTP/2 by prior knowledge, which may be the same socket's
# in those that find out what a client speaks.


def doppel(folder, core, binary, ports, primary, mirrors):
    backends = "".join(
        f"---\nbackend: {{name: b{i}, endpoints: ['127.0.0.1:{backend}']}}\n"
        for i, backend in enumerate((primary, *mirrors))
    )
    filters = "".join(f"{{requestMirror: {{backend: b{i + 1}}}}}, " for i in range(len(mirrors)))
    (folder / "conf.yaml").write_text(
        f"listener: {{name: http1, address: '127.0.0.1:{ports[0]}'}}\n"
        f"---\nlistener: {{name: http2, address: '127.0.0.1:{ports[1]}'}}\n"
        f"---\nroute: {{name: r, listeners: [http1, http2], rules: [{{filters: [{filters}], backends: [{{backend: b0}}]}}]}}\n"
        f"{backends}"
    )
    return gateway(folder, core, binary, folder / "conf.yaml", ports[0])


def nginx_proxy(folder, core, _binary, ports, primary, mirrors):
    upstreams = "".join(
        f"upstream u{i} {{ server 127.0.0.1:{backend}; keepalive 128; keepalive_requests 1000000000; }}\n"
        for i, backend in enumerate((primary, *mirrors))
    )
    passing = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host;"
    passing += " proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    locations = "".join(
        f"location = /mirror{i} {{ internal; proxy_pass http://u{i}$request_uri; {passing} }}\n"
        for i in range(1, len(mirrors) + 1)
    )
    mirror = "".join(f"mirror /mirror{i};" for i in range(1, len(mirrors) + 1))
    # Bodies stay in memory, as they do with the others.
    servers = f"""{upstreams} server {{ listen 127.0.0.1:{ports[0]} backlog=1024;
        listen 127.0.0.1:{ports[1]} http2; client_body_buffer_size 1m; 
        location / {{ proxy_pass http://u0; {passing} {mirror} }} {locations} }}"""
    return nginx(folder, core, servers, ports[0])


def envoy(folder, core, binary, ports, primary, mirrors):
    def cluster(i, backend):
        return f"""
  - name: b{i}
    type: STATIC
    load_assignment: {{cluster_name: b{i}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}}}]}}]}}
    circuit_breakers: {{thresholds: [{{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}}]}}"""

    policies = ", ".join(f"{{cluster: b{i + 1}}}" for i in range(len(mirrors)))
    clusters = "".join(cluster(i, backend) for i, backend in enumerate((primary, *mirrors)))
    listeners = "".join(
        f"""
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          codec_type: AUTO
          generate_request_id: false
          use_remote_address: true
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: b0, request_mirror_policies: [{policies}]}}}}]}}]}}
          http_filters: [{{name: router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}}}]"""
        for port in ports
    )
    (folder / "envoy.yaml").write_text(
        f"""static_resources:
  listeners:{listeners}
  clusters:{clusters}
"""
    )
    command = [binary, "-c", folder / "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return Process(folder, core, command, ports[0])


def pingora(folder, core, binary, ports, primary, _mirrors):
    """The proxy that this gateway is made of, by itself: it knows no mirrors."""
    addresses = [f"127.0.0.1:{port}" for port in (primary, *ports)]
    return Process(folder, core, [binary, *addresses], ports[0])


PEERS = {"doppel": doppel, "nginx": nginx_proxy, "envoy": envoy, "pingora": pingora}

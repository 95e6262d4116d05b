"""What clients do: h2load, with as much load as the proxy takes, and with a fixed rate."""

import re
import subprocess

import peers


class Failed(Exception):
    """A measurement that came to nothing, and why."""


# Name, bytes of the request's body, path, and requests per second of the fixed rate. The rates are
# what every peer can serve with every mirror that answers.
WORK = {
    "GET": (0, "/", 4000),
    "POST 1 KiB": (1024, "/", 3000),
    "POST 64 KiB": (65536, "/", 1200),
    "GET of 64 KiB": (0, "/large", 1200),
}

# By protocol: h2load's flags, and the number of connections.
PROTOCOLS = {"HTTP/1.1": (["--h1", "-c16"], 16), "HTTP/2": (["-c4", "-m4"], 4)}

# Fewer answers than this say nothing of the CPU time.
FEW = 200

# In milliseconds.
WARM_UP = 300

# How many seconds more than it is told to h2load may take.
PATIENCE = 15


def turned(keys, number):
    """The same, beginning with another each time."""
    first = number % max(1, len(keys))
    return keys[first:] + keys[:first]


def cost(folder, proxy, port, protocol, work, seconds):
    """What a request costs at full load. None where too few requests were answered to tell."""
    full_load(folder, port, protocol, work, WARM_UP / 1e3)
    before = proxy.cpu_seconds()
    answered, took = full_load(folder, port, protocol, work, seconds)
    cpu = proxy.cpu_seconds() - before
    return {
        "cpu_us": round(cpu / answered * 1e6, 1) if answered >= FEW else None,
        "per_second": round(answered / took),
        "resident_mib": round(proxy.resident_mib(), 1),
    }


def full_load(folder, port, protocol, work, seconds):
    """How many requests were answered with 2xx, and in how many seconds."""
    output = h2load(folder, port, protocol, work, seconds)
    answered = int(re.search(r"status codes: (\d+) 2xx", output)[1])
    took = re.search(r"finished in ([\d.]+)(us|ms|s)", output)
    return answered, float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[took[2]]


def fixed_rate(folder, port, protocol, work, rate, seconds):
    """How long answers take, in milliseconds, and what part of so many requests a second got one."""
    _, connections = PROTOCOLS[protocol]
    log = folder / "requests"
    log.unlink(missing_ok=True)
    each = max(1, round(rate / connections))
    h2load(folder, port, protocol, work, seconds, f"--rps={each}", f"--log-file={log}")
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(micros) / 1e3 for _, status, micros in rows if status == "200")
    at = lambda share: round(times[int(share * (len(times) - 1))], 3) if times else None
    return {
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "answered_share": round(min(1, len(times) / (each * connections * seconds)), 2),
    }


def h2load(folder, port, protocol, work, seconds, *more):
    size, path, _ = WORK[work]
    flags, _ = PROTOCOLS[protocol]
    command = ["taskset", "-c", peers.LOAD_CORE, "h2load", "-t1", *flags, f"-D{int(1000 * seconds)}ms", *more]
    if size:
        body = folder / "upload"
        body.write_bytes(b"x" * size)
        command += ["-d", body]
    command = [*map(str, command), f"http://127.0.0.1:{port}{path}"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + PATIENCE).stdout
    except subprocess.TimeoutExpired:
        raise Failed(f"h2load did not end; {waiting(port)}") from None
    except subprocess.CalledProcessError as error:
        raise Failed(f"h2load: {error.stderr.strip() or error.returncode}") from None


def waiting(port):
    """Who waits for whom on the connections to a proxy: bytes that one end has sent and the other has
    not read."""
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    queues = [
        (local.endswith(f":{port:04X}"), *(int(bytes, 16) for bytes in queues.split(":")))
        for _, local, remote, _, queues, *_ in rows
        if f":{port:04X}" in (local[-5:], remote[-5:])
    ]
    unread = sum(1 for is_proxy, _, to_read in queues if is_proxy and to_read)
    unsent = sum(1 for is_proxy, to_send, _ in queues if is_proxy and to_send)
    count = sum(1 for is_proxy, *_ in queues if is_proxy)
    return f"of {count} connections the proxy has not read all of {unread} and not sent all to {unsent}"

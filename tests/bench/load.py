"""What clients do: h2load, with as much load as the proxy takes, and with a fixed rate."""

import re
import subprocess

import peers

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

# Fewer answers than this say nothing of the CPU time, which is counted in steps of 10 ms.
FEW = 200

# In milliseconds.
WARM_UP = 300


def measure(folder, proxy, port, protocol, work, seconds):
    """One case once. None where too few requests were answered to tell."""
    size, path, rate = WORK[work]
    flags, connections = PROTOCOLS[protocol]
    command = ["taskset", "-c", peers.LOAD_CORE, "h2load", "-t1", *flags, f"http://127.0.0.1:{port}{path}"]
    if size:
        body = folder / "upload"
        body.write_bytes(b"x" * size)
        command += ["-d", body]
    duration = f"-D{int(1000 * seconds)}ms"
    run(command + [f"-D{WARM_UP}ms"])
    before = proxy.cpu_seconds()
    answered, took = run(command + [duration])
    cpu = proxy.cpu_seconds() - before
    log = folder / "requests"
    log.unlink(missing_ok=True)
    run(command + [duration, f"--rps={rate // connections}", f"--log-file={log}"])
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(micros) / 1e3 for _, status, micros in rows if status == "200")
    at = lambda share: round(times[int(share * (len(times) - 1))], 3) if times else None
    return {
        "cpu_us": round(cpu / answered * 1e6, 1) if answered >= FEW else None,
        "per_second": round(answered / took),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "answered_share": round(min(1, len(times) / (rate * seconds)), 2),
        "resident_mib": round(proxy.resident_mib(), 1),
    }


def run(command):
    """How many requests were answered with 2xx, and in how many seconds."""
    output = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    answered = int(re.search(r"status codes: (\d+) 2xx", output)[1])
    took = re.search(r"finished in ([\d.]+)(us|ms|s)", output)
    return answered, float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[took[2]]

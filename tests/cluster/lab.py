"""What only a cluster of our own allows: to stop its API server, to end a program behind its back.

`lab` beside this file makes such a cluster. Without one, tests that need it are skipped.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import unittest

TOOL = os.environ.get("DOPPEL_LAB")

needed = unittest.skipUnless(TOOL, "needs a cluster whose API server may be stopped: tests/cluster/lab makes one")


@contextlib.contextmanager
def api_server_stopped():
    """It takes connections and answers none, which is harder to bear than one that is not there."""
    record = pathlib.Path(os.environ["CLUSTER_HOME"], "run", "pids", "apiserver").read_text()
    pid = int(record.split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill(node, program):
    """Ends all processes of a program on a node as a crash would; returns their numbers."""
    before = processes(node, program)
    on_node(node, "kill", "-KILL", *before)
    return before


def processes(node, program):
    return on_node(node, "pgrep", "-x", program).split()


def on_node(node, *command):
    return subprocess.run([TOOL, "exec", "--node", node, *command], stdout=subprocess.PIPE, text=True, timeout=60).stdout

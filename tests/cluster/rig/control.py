"""Speaks to the first process of a cluster: what runs, stop this, start that, and waits until it is so."""

import json
import socket
import time

from rig import place

SECONDS = 60


def ask(cluster, command="status"):
    """Sends a command, returns the components' states by name."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        try:
            client.connect(str(cluster.control))
            client.sendall(command.encode())
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        except OSError as error:
            raise place.Refused(f"cluster {cluster.name} does not answer ({error}); start it with tests/cluster/up") from error
    answer = json.loads(answer)
    if answer["problem"]:
        raise place.Refused(answer["problem"])
    return answer["components"]


def until(cluster, what, holds, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not holds(ask(cluster)):
        if time.monotonic() > end:
            raise place.Refused(f"waited {seconds} s for {what}; see {cluster.log}")
        time.sleep(0.1)


def stop(cluster, name):
    ask(cluster, f"stop {name}")
    until(cluster, f"{name} to end", lambda state: state[name]["pid"] is None)


def start(cluster, name):
    ask(cluster, f"start {name}")
    until(cluster, f"{name} to be ready", lambda state: state[name]["ready"])


def kill(cluster, name):
    """SIGKILL; it is started again a second later."""
    before = ask(cluster)[name]["starts"]
    ask(cluster, f"kill {name}")
    until(cluster, f"{name} to be ready again", lambda state: state[name]["starts"] > before and state[name]["ready"])

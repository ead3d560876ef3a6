"""Speaks to the first process of a node: what runs, stop this, start that, and waits until it is so."""

import json
import socket
import time

from rig import place

SECONDS = 60


def ask(node, command="status"):
    """Sends a command, returns the components' states by name."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        try:
            client.connect(str(node.control))
            client.sendall(command.encode())
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        except OSError as error:
            raise place.Refused(f"node {node.name} of cluster {node.cluster.name} does not answer ({error})") from error
    answer = json.loads(answer)
    if answer["problem"]:
        raise place.Refused(answer["problem"])
    return answer["components"]


def answers(node):
    try:
        return bool(ask(node))
    except place.Refused:
        return False


def until(node, what, holds, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not holds(ask(node)):
        if time.monotonic() > end:
            raise place.Refused(f"waited {seconds} s for {what}; see {node.log}")
        time.sleep(0.1)


def stop(node, name):
    ask(node, f"stop {name}")
    until(node, f"{name} to end", lambda state: state[name]["pid"] is None)


def start(node, name):
    ask(node, f"start {name}")
    until(node, f"{name} to be ready", lambda state: state[name]["ready"])


def kill(node, name):
    """SIGKILL; it is started again a second later."""
    before = ask(node)[name]["starts"]
    ask(node, f"kill {name}")
    until(node, f"{name} to be ready again", lambda state: state[name]["starts"] > before and state[name]["ready"])

"""The first process of a node's namespaces: prepares them, starts the components, starts again what ends.

It is process 1 of its process namespace: when it is killed the kernel kills everything else there. It takes commands
(`stop kubelet KILL`) at a Unix socket, one in a connection, and answers with the state of all components as JSON.
State is changed in one thread only; the next step of each component follows from (state, now).
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback

from rig import components, node, place

PAUSE_BEFORE_RESTART = 1.0
PATIENCE = 30.0  # from SIGTERM to SIGKILL
TICK = 0.1
COMMAND_BYTES = 200


class Running:
    """One component and what is known of it."""

    def __init__(self, component):
        self.component = component
        self.wanted = component.wanted
        self.pid = None
        self.starts = 0
        self.not_before = 0.0
        self.kill_at = None
        self.ready = False
        self.ended = None

    def state(self):
        return {"pid": self.pid, "wanted": self.wanted, "ready": self.ready, "starts": self.starts, "ended": self.ended}


class First:
    def __init__(self, node):
        self.node = node
        self.running = {c.name: Running(c) for c in components.of(node)}
        self.seen_ready = set()
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        node.control.unlink(missing_ok=True)
        self.listener.bind(str(node.control))
        self.listener.listen(16)
        self.selector.register(self.listener, selectors.EVENT_READ)

    def serve(self):
        while True:
            self.reap()
            for one in self.running.values():
                self.step(one, time.monotonic())
            for _ in self.selector.select(TICK):
                self.answer()

    def reap(self):
        """Also of processes that lost their parents, such as containers' shims."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for one in self.running.values():
                if one.pid == pid:
                    one.pid, one.ready, one.kill_at = None, False, None
                    one.ended = os.waitstatus_to_exitcode(status)
                    one.not_before = time.monotonic() + PAUSE_BEFORE_RESTART

    def step(self, one, now):
        if one.pid is None:
            if one.wanted and now >= one.not_before and self.seen_ready.issuperset(one.component.after):
                self.start(one)
        elif one.kill_at is not None and now >= one.kill_at:
            os.kill(one.pid, signal.SIGKILL)
            one.kill_at = None
        elif not one.ready and (one.component.ready is None or one.component.ready()):
            one.ready = True
            self.seen_ready.add(one.component.name)

    def start(self, one):
        name = one.component.name
        with open(self.node.log / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                one.component.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.node.state, env=place.environment(self.node.cluster), start_new_session=True)
        one.pid = process.pid
        process.returncode = 0  # reap() waits for it
        one.starts += 1

    def answer(self):
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(1)
            try:
                problem = self.command(connection.recv(COMMAND_BYTES).decode().split())
                state = {name: one.state() for name, one in self.running.items()}
                connection.sendall(json.dumps({"problem": problem, "components": state}).encode())
            except OSError:
                pass  # whoever asked is gone

    def command(self, words):
        """Does what it is told; returns what is wrong with it."""
        match words:
            case ["status"]:
                return None
            case ["start", name] if name in self.running:
                self.running[name].wanted = True
                self.running[name].not_before = 0.0
            case ["stop" | "kill" as verb, name] if name in self.running:
                one = self.running[name]
                one.wanted = verb == "kill" and one.wanted
                if one.pid is not None:
                    os.kill(one.pid, signal.SIGKILL if verb == "kill" else signal.SIGTERM)
                    one.kill_at = time.monotonic() + PATIENCE
            case _:
                return f"no such command: {' '.join(words)}; components are {', '.join(self.running)}"
        return None


def main(cluster_name, node_name):
    cluster = place.Cluster(cluster_name)
    own = cluster.node(node_name)
    try:
        node.mounts(own)
        node.network(own)
        First(own).serve()
    except Exception as error:
        (cluster.state / "failed").write_text(f"{node_name}: {error}\n")
        traceback.print_exc()
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Where a cluster and its nodes live: names, directories and addresses.

Everything of a cluster is under one state directory outside the checkout, so that several clusters and several
checkouts do not meet. Nothing here starts or changes anything.
"""

import hashlib
import json
import os
import pathlib
import re
import signal
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent
MODULES = SOURCE / "modules"
VERSION = "v1.36.3"

SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.88.0.0/16"
MOST_NODES = 9


class Refused(Exception):
    """Something that a person has to change; its text says what."""


def cache():
    """The directory of built binaries: one for each content of the go.mod and go.sum files."""
    root = os.environ.get("INDELIBLE_CLUSTER_CACHE")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "indelible-cluster")
    key = hashlib.sha256()
    for file in sorted(MODULES.glob("*/go.*")):
        key.update(file.relative_to(MODULES).as_posix().encode() + b"\0" + file.read_bytes())
    return pathlib.Path(root) / key.hexdigest()[:16]


class Cluster:
    """One cluster by name. `settings` is what `up` decided for it and wrote down."""

    def __init__(self, name):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,9}", name):
            raise Refused(f"cluster name {name!r}: 1 to 10 of a-z, 0-9 and -")
        root = pathlib.Path(os.environ.get("INDELIBLE_CLUSTER_STATE") or "/var/lib/indelible-cluster")
        if root.is_relative_to("/run"):
            raise Refused(f"INDELIBLE_CLUSTER_STATE={root}: the cluster has a /run of its own; choose another directory")
        self.name = name
        self.root = root
        self.state = root / name
        self.log = self.state / "log"
        self.pki = self.state / "pki"
        self.config = self.state / "config"
        self.kubeconfig = self.state / "kubeconfig"
        self.volumes = self.state / "volumes"
        self.host_link = f"ind-{name}"

    @property
    def settings(self):
        """What `up` wrote down; empty when there is no such cluster."""
        try:
            return json.loads((self.state / "settings.json").read_text())
        except FileNotFoundError:
            return {}

    def note(self, **values):
        """Adds to the settings, whole or not at all."""
        new = self.state / "settings.json.new"
        new.write_text(json.dumps({**self.settings, **values}, indent=1) + "\n")
        new.rename(self.state / "settings.json")

    @property
    def host_address(self):
        return f"10.123.{self.settings['net']}.1"

    @property
    def server(self):
        return f"https://{self.first.address}:6443"

    def nodes(self):
        """Those that were begun, in order."""
        return [Node(self, number) for number in range(1, len(self.settings.get("nodes", {})) + 1)]

    @property
    def first(self):
        """The node on which the control plane runs as well."""
        return Node(self, 1)

    def node(self, name):
        for node in self.nodes():
            if node.name == name:
                return node
        raise Refused(f"cluster {self.name} has no node {name}" if self.settings else absent(self))


class Node:
    """One node of a cluster: namespaces, control groups, a kubelet."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.name = f"n{number}"
        self.state = cluster.state / self.name
        self.config = self.state / "config"
        self.log = cluster.log if number == 1 else cluster.log / self.name
        self.control = cluster.state / f"{self.name}.sock"
        self.pods = f"10.88.{4 * (number - 1)}.0/22"

    @property
    def address(self):
        return f"10.123.{self.cluster.settings['net']}.{10 + self.number}"

    @property
    def hardware_address(self):
        return "02:00:" + ":".join(f"{int(part):02x}" for part in self.address.split("."))

    @property
    def settings(self):
        return self.cluster.settings.get("nodes", {}).get(self.name, {})

    def note(self, **values):
        nodes = self.cluster.settings.get("nodes", {})
        self.cluster.note(nodes={**nodes, self.name: {**nodes.get(self.name, {}), **values}})

    def init(self):
        """The process id, as the host sees it, of the node's first process, or None when it is not running."""
        wrapper = self.settings.get("wrapper")
        try:
            children = pathlib.Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
            command = pathlib.Path(f"/proc/{wrapper}/cmdline").read_bytes()
        except OSError:
            return None
        # A process id may have been given to another process since.
        return int(children[0]) if children and f"rig.first\0{self.cluster.name}\0".encode() in command else None


def absent(cluster):
    return f"there is no cluster {cluster.name}; start it with tests/cluster/up"


def all_clusters(root):
    """Every cluster that has a state directory."""
    return [Cluster(directory.name) for directory in sorted(root.iterdir()) if directory.is_dir()]


def environment(cluster=None):
    """The environment of commands that use a cluster: its binaries first, its kubeconfig."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    binaries = cluster.settings.get("bin") if cluster else str(cache() / "bin")
    if not binaries:
        raise Refused(absent(cluster))
    for directory in ("/usr/sbin", "/sbin", binaries):
        if directory not in path.split(":"):
            path = f"{directory}:{path}"
    env = {**os.environ, "PATH": path}
    if cluster:
        env.update(KUBECONFIG=str(cluster.kubeconfig), INDELIBLE_CLUSTER=cluster.name)
    return env


def chosen():
    """The cluster that the environment names."""
    return Cluster(os.environ.get("INDELIBLE_CLUSTER") or "dev")


def chosen_node():
    """The node that the environment names, of the cluster that it names."""
    return chosen().node(os.environ.get("INDELIBLE_NODE") or "n1")


def inside(node, *command):
    """The command line that runs a command in a node's namespaces."""
    pid = node.init()
    if pid is None:
        raise Refused(f"node {node.name} of cluster {node.cluster.name} is not running; start it with tests/cluster/up")
    return ["nsenter", "-t", str(pid), "-m", "-u", "-n", "-p", "-C", "--", *command]


def entry(run):
    """Runs a command's main function and says what is to be changed, without a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)  # whoever read our output has gone: nobody is left to say it to
    except Refused as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {error}")

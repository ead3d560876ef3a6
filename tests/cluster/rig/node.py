"""What the first process does to its namespaces before anything runs in them: mounts, network, kernel settings."""

import pathlib
import socket
import subprocess
import time
import uuid

from rig import cgroups, place

# The kubelet insists on these and would set them for the whole machine; it finds them as it wants them instead.
KERNEL = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}
# Directories that belong to a node; each is one of the cluster's own, mounted over the machine's.
OWN = ("/var/log", "/var/lib/kubelet", "/var/lib/cni")
# A node has its address on a bridge, in which its uplink ends: the first node's leads to the host, and in its bridge
# end the uplinks of all others.
BRIDGE, UPLINK = "br0", "up0"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise place.Refused(f"{' '.join(command)}: {done.stderr.strip()}")


def mounts(node):
    control_groups = cgroups.mount_commands()
    # It shows the interfaces of this network namespace, and hides the machine's control groups.
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    for command in control_groups:
        run(*command)
    if cgroups.unified_only():
        cgroups.delegate()
    run("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")
    for directory in OWN:
        own = node.state / directory.strip("/").replace("/", "-")
        own.mkdir(parents=True, exist_ok=True)
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(own), directory)
    pathlib.Path("/var/log/pods").mkdir(mode=0o750, exist_ok=True)
    kernel = node.state / "sysctl"
    kernel.mkdir(exist_ok=True)
    # Another boot of another machine, as far as the kubelet can tell.
    for name, value in {**KERNEL, "kernel/random/boot_id": str(uuid.uuid4())}.items():
        file = kernel / name.replace("/", ".")
        file.write_text(value + "\n")
        run("mount", "--bind", str(file), f"/proc/sys/{name}")
    # Volumes that a CSI driver mounts in its container have to be seen by the kubelet and by other containers.
    run("mount", "--make-rshared", "/")


def network(node):
    """Nothing leads out of here but the uplink; there is no default route."""
    socket.sethostname(node.name)
    end = time.monotonic() + 10
    while not pathlib.Path(f"/sys/class/net/{UPLINK}").exists():
        if time.monotonic() > end:
            raise place.Refused(f"the uplink {UPLINK} did not appear")
        time.sleep(0.02)
    run("ip", "link", "set", "lo", "up")
    # A bridge without an address of its own takes one of its ports', which come and go with other nodes.
    run("ip", "link", "add", BRIDGE, "address", node.hardware_address, "type", "bridge")
    run("ip", "link", "set", UPLINK, "master", BRIDGE, "up")
    run("ip", "address", "add", f"{node.address}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    # A packet to a Service needs a route before kube-proxy's rules see it.
    run("ip", "route", "add", place.SERVICES, "dev", BRIDGE, "src", node.address)
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    filtered = pathlib.Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if filtered.exists():  # what a bridge hands on to another node is that node's to filter
        filtered.write_text("0")


def link(node):
    """From the host: the uplink of a node whose namespaces are there."""
    cluster, pid = node.cluster, str(node.init())
    if node.number == 1:
        host = cluster.host_link
        run("ip", "link", "add", host, "type", "veth", "peer", "name", UPLINK, "netns", pid)
        run("ip", "address", "add", f"{cluster.host_address}/24", "dev", host)
        run("ip", "link", "set", host, "up")
    else:
        first = ("nsenter", "-t", str(cluster.first.init()), "-n", "ip", "link")
        run(*first, "add", node.name, "type", "veth", "peer", "name", UPLINK, "netns", pid)
        run(*first, "set", node.name, "master", BRIDGE, "up")


def unlink(node):
    """From the host: removes both ends of a node's links, which the kernel may take a moment to do when the node is gone."""
    cluster = node.cluster
    if node.number == 1:
        subprocess.run(["ip", "link", "delete", cluster.host_link], capture_output=True)
    for other in cluster.nodes():
        name = node.name if other.number == 1 else UPLINK
        if 1 in (node.number, other.number) and node.number != other.number and (pid := other.init()):
            subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "link", "delete", name], capture_output=True)


def attach(node):
    """From the host: puts a new uplink of a node that runs where the old one was."""
    run("nsenter", "-t", str(node.init()), "-n", "ip", "link", "set", UPLINK, "master", BRIDGE, "up")


def routes(nodes):
    """From the host: each node's way to the pods of all others."""
    for node in nodes:
        for other in nodes:
            if other.number != node.number:
                run("nsenter", "-t", str(node.init()), "-n",
                    "ip", "route", "replace", other.pods, "via", other.address, "dev", BRIDGE)

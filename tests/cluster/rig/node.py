"""What the first process does to its namespaces before anything runs in them: mounts, network, kernel settings."""

import pathlib
import socket
import subprocess
import time

from rig import cgroups, place

# The kubelet insists on these and would set them for the whole machine; it finds them as it wants them instead.
KERNEL = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}
# Directories that belong to a node; each is one of the cluster's own, mounted over the machine's.
OWN = ("/var/log", "/var/lib/kubelet", "/var/lib/cni")
# In the bridge `br0` of the node ends the host's link, and that of each further node.
BRIDGE, UPLINK = "br0", "up0"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise place.Refused(f"{' '.join(command)}: {done.stderr.strip()}")


def mounts(cluster):
    control_groups = cgroups.mount_commands()
    # It shows the interfaces of this network namespace, and hides the machine's control groups.
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    for command in control_groups:
        run(*command)
    if cgroups.unified_only():
        cgroups.delegate()
    run("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")
    for directory in OWN:
        own = cluster.state / "node" / directory.strip("/").replace("/", "-")
        own.mkdir(parents=True, exist_ok=True)
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(own), directory)
    pathlib.Path("/var/log/pods").mkdir(mode=0o750, exist_ok=True)
    kernel = cluster.state / "node" / "sysctl"
    kernel.mkdir(exist_ok=True)
    for name, value in KERNEL.items():
        file = kernel / name.replace("/", ".")
        file.write_text(value + "\n")
        run("mount", "--bind", str(file), f"/proc/sys/{name}")
    # Volumes that a CSI driver mounts in its container have to be seen by the kubelet and by other containers.
    run("mount", "--make-rshared", "/")


def network(cluster):
    """Nothing leads out of here but the link to the host; there is no default route."""
    socket.sethostname(place.NODE)
    end = time.monotonic() + 10
    while not pathlib.Path(f"/sys/class/net/{UPLINK}").exists():
        if time.monotonic() > end:
            raise place.Refused(f"the link {UPLINK} to the host did not appear")
        time.sleep(0.02)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "link", "set", UPLINK, "master", BRIDGE, "up")
    run("ip", "address", "add", f"{cluster.node_address}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    # A packet to a Service needs a route before kube-proxy's rules see it.
    run("ip", "route", "add", place.SERVICES, "dev", BRIDGE, "src", cluster.node_address)
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def host_link(cluster, pid):
    """From the host: the link into the namespaces of the process."""
    link = cluster.host_link
    run("ip", "link", "add", link, "type", "veth", "peer", "name", UPLINK, "netns", str(pid))
    run("ip", "address", "add", f"{cluster.host_address}/24", "dev", link)
    run("ip", "link", "set", link, "up")

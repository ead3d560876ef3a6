"""Brings a cluster up and takes it down.

What is to be removed is written down before it is made: a killed `up` leaves nothing that `down` does not find.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import time

from rig import cgroups, configs, control, images, node, pki, place, toolchain

NETS = range(1, 251)
NODE_SECONDS = 120
COMPONENTS_SECONDS = 90


@contextlib.contextmanager
def locked(cluster, name):
    """Alone with a cluster, or with what all clusters share."""
    cluster.root.mkdir(parents=True, exist_ok=True)
    with open(cluster.root / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_net(cluster):
    """A third byte of 10.123.x.0/24 that neither the machine nor another cluster uses."""
    routes = subprocess.run(["ip", "-4", "address"], capture_output=True, text=True, check=True).stdout
    taken = {other.settings.get("net") for other in place.all_clusters(cluster.root) if other.name != cluster.name}
    for net in NETS:
        if net not in taken and f" 10.123.{net}." not in routes:
            return net
    raise place.Refused("no free network in 10.123.0.0/16; take clusters down with tests/cluster/down --all")


def prepare(cluster, options, binaries):
    """All files that the nodes share; nothing runs yet."""
    for directory in (cluster.state, cluster.log, cluster.config, cluster.volumes):
        directory.mkdir(parents=True, exist_ok=True)
    cluster.state.chmod(0o711)
    with locked(cluster, "nets"):
        cluster.note(net=free_net(cluster), bin=str(binaries), apiserver_flags=options.apiserver_flag,
                     log_max_size=options.log_max_size, log_max_files=options.log_max_files,
                     log_monitor_interval=options.log_monitor_interval)
    # The running cluster uses its own copy: a change of the checkout does not change it.
    shutil.copytree(pathlib.Path(__file__).parent, cluster.state / "rig", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(place.SOURCE / "manifests" / "kwok.yaml", cluster.config)
    pki.write(cluster)
    configs.write(cluster)


def configure(own):
    """A node's files, before its first start."""
    for directory in (own.state, own.config, own.log):
        directory.mkdir(exist_ok=True)
    own.note(cgroups=cgroups.planned(f"{own.cluster.name}-{own.name}"))
    pki.write_node(own)
    configs.write_node(own)


def launch(own):
    """Starts the first process of a node in namespaces and control groups of its own."""
    cluster, groups = own.cluster, own.settings["cgroups"]
    cgroups.create(groups)
    with open(own.log / "first.log", "ab") as log:
        wrapper = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--uts", "--cgroup", "--fork", "--kill-child", "--mount-proc",
             "--propagation", "private", sys.executable, "-m", "rig.first", cluster.name, own.name],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=own.state, start_new_session=True,
            env={**place.environment(cluster), "PYTHONPATH": str(cluster.state)},
            preexec_fn=lambda: cgroups.enter(groups))
    own.note(wrapper=wrapper.pid)
    wait(cluster, f"the first process of {own.name}", own.init, 10)
    node.link(own)
    wait(cluster, f"{own.name} to begin", lambda: control.answers(own), 20)


def wait(cluster, what, holds, seconds):
    end = time.monotonic() + seconds
    while not (found := holds()):
        failed = cluster.state / "failed"
        if failed.exists():
            raise place.Refused(failed.read_text().strip())
        if time.monotonic() > end:
            raise place.Refused(f"waited {seconds} s for {what}")
        time.sleep(0.1)
    return found


def kubectl(cluster, *arguments, **options):
    return subprocess.run(["kubectl", *arguments], env=place.environment(cluster), capture_output=True, text=True, **options)


def applies(cluster, file):
    done = kubectl(cluster, "apply", "--server-side", "-f", str(file))
    if done.returncode:
        raise place.Refused(f"kubectl apply {file.name}: {done.stderr.strip()}")


def populate(cluster):
    """From an API server to a cluster that runs pods and resolves names."""
    for own in cluster.nodes():
        control.until(own, f"the components of {own.name}", all_ready, COMPONENTS_SECONDS)
    for image in (images.pause(), images.coredns(pathlib.Path(cluster.settings["bin"])), images.busybox()):
        path, _ = images.write(image, cluster.state / "images")
        images.load(cluster, path)
    for file in ("storage.yaml", "coredns.yaml"):
        applies(cluster, place.SOURCE / "manifests" / file)
    for what, arguments in {
        **{own.name: ("wait", "--for=condition=Ready", f"node/{own.name}", "--timeout=0") for own in cluster.nodes()},
        "CoreDNS": ("-n", "kube-system", "rollout", "status", "deployment/coredns", "--watch=false"),
        "ServiceAccount default": ("get", "serviceaccount", "default"),
    }.items():
        wait(cluster, what, lambda: ready(kubectl(cluster, *arguments)), NODE_SECONDS)


def all_ready(state):
    return all(one["ready"] for one in state.values() if one["wanted"])


def ready(done):
    return done.returncode == 0 and "Waiting for" not in done.stdout


def up(cluster, options):
    if not 1 <= options.nodes <= place.MOST_NODES:
        raise place.Refused(f"--nodes {options.nodes}: 1 to {place.MOST_NODES}")
    if os.geteuid() != 0:
        raise place.Refused("needs root: it makes namespaces, mounts and control groups of its own")
    toolchain.packages()
    binaries = toolchain.binaries(options.also)
    with locked(cluster, cluster.name):
        if cluster.settings.get("complete") and all(own.init() for own in cluster.nodes()):
            say(f"cluster {cluster.name} is up already")
            return
        take_down(cluster)
        start = time.monotonic()
        try:
            prepare(cluster, options, binaries)
            for number in range(1, options.nodes + 1):
                configure(place.Node(cluster, number))
                launch(place.Node(cluster, number))
            node.routes(cluster.nodes())
            populate(cluster)
            cluster.note(complete=True)
        except BaseException as error:
            if isinstance(error, Exception):
                report(cluster)
            if not options.keep_failed:
                take_down(cluster)
            raise
        say(f"cluster {cluster.name} is up after {time.monotonic() - start:.0f} s")


def reboot(own):
    """What a node goes through when its power fails: no process, mount or file of /run is left, its disk is."""
    cluster = own.cluster
    with locked(cluster, cluster.name):
        stop(own)
        launch(own)
        if own.number == 1:
            for other in cluster.nodes()[1:]:
                node.link(other)
                node.attach(other)
        node.routes(cluster.nodes())
    control.until(own, f"the components of {own.name}", all_ready, COMPONENTS_SECONDS)


def stop(own):
    """Kills every process of a node; its namespaces, mounts and links go with the last of them."""
    groups = own.settings.get("cgroups", [])
    if left := cgroups.kill(groups, 30):
        raise place.Refused(f"processes {sorted(left)} of {own.name} of cluster {own.cluster.name} do not end")
    cgroups.remove(groups, 30)
    node.unlink(own)


def report(cluster):
    """The last lines of every log."""
    for log in sorted(cluster.log.rglob("*.log")):
        say(f"--- {log.relative_to(cluster.log)}")
        say("\n".join(log.read_text(errors="replace").splitlines()[-12:]))


def mounted_below(directory):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(f"{directory}/")]


def take_down(cluster):
    """Kills every process of the cluster, removes its groups, links and files."""
    for own in reversed(cluster.nodes()):
        stop(own)
    if mounts := mounted_below(cluster.state):
        raise place.Refused(f"{mounts} are mounted on this machine: unmount them, then again")
    if cluster.state.exists():
        shutil.rmtree(cluster.state)


def down(cluster):
    with locked(cluster, cluster.name):
        take_down(cluster)
    say(f"cluster {cluster.name} is down")

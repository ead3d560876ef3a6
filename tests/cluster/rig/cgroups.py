"""A node's own control groups: one subtree in each hierarchy, below the caller's group.

All processes of the node are born into it and cannot leave it (a cgroup namespace makes it their root), so killing what
is in it and removing it leaves nothing behind, whatever was started and however `up` ended.
"""

import os
import pathlib
import signal
import time

ROOT = pathlib.Path("/sys/fs/cgroup")


def hierarchies():
    """(controller names, mount point, the caller's group) of each hierarchy; names are empty for version 2."""
    found = []
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        label = names.removeprefix("name=")
        if names:
            mount = ROOT / label
        else:
            mount = ROOT if (ROOT / "cgroup.controllers").exists() else ROOT / "unified"
        if (mount / "cgroup.procs").exists():
            found.append((names, mount, path.lstrip("/")))
    return found


def unified_only():
    return (ROOT / "cgroup.controllers").exists()


def planned(name):
    """The directories of the subtree, to be written down before they are made."""
    # Version 2 allows no processes beside child groups, but in the root.
    return [str((mount if unified_only() else mount / path) / f"indelible-{name}") for _, mount, path in hierarchies()]


def create(directories):
    for directory in map(pathlib.Path, directories):
        directory.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (directory / file).exists() and not unified_only():
                (directory / file).write_text((directory.parent / file).read_text())


def enter(directories):
    """Moves the calling process into the subtree."""
    for directory in directories:
        (pathlib.Path(directory) / "cgroup.procs").write_text(str(os.getpid()))


def mount_commands():
    """What a process in the cgroup namespace does to see its own subtree, and nothing else, under /sys/fs/cgroup."""
    if unified_only():
        return [["mount", "-t", "cgroup2", "cgroup2", str(ROOT)]]
    commands = [["mount", "-t", "tmpfs", "-o", "mode=755", "cgroup", str(ROOT)]]
    for names, mount, _ in hierarchies():
        commands.append(["mkdir", str(mount)])
        if names:
            commands.append(["mount", "-t", "cgroup", "-o", names, "cgroup", str(mount)])
        else:
            commands.append(["mount", "-t", "cgroup2", "cgroup2", str(mount)])
    return commands


def delegate():
    """Version 2, inside: leaves the root of the subtree free of processes and hands its controllers down."""
    leaf = ROOT / "first"
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(os.getpid()))
    controllers = (ROOT / "cgroup.controllers").read_text().split()
    (ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in controllers))


def processes(directories):
    """All processes of the subtree."""
    pids = set()
    for directory in directories:
        for file in pathlib.Path(directory).rglob("cgroup.procs"):
            try:
                pids.update(int(pid) for pid in file.read_text().split())
            except OSError:
                continue  # the group is gone
    return pids - {0}


def kill(directories, seconds):
    """Kills all processes of the subtree, waits until they are gone. Returns those that are left."""
    end = time.monotonic() + seconds
    while left := processes(directories):
        if time.monotonic() > end:
            return left
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    return set()


def remove(directories, seconds):
    """Removes the subtree. A group may be busy for a moment after its last process."""
    end = time.monotonic() + seconds
    for directory in directories:
        top = pathlib.Path(directory)
        while top.exists():
            groups = [pathlib.Path(path) for path, _, _ in os.walk(top, topdown=False)]
            for group in groups:
                try:
                    group.rmdir()
                except OSError:
                    if time.monotonic() > end:
                        raise
            time.sleep(0.02)

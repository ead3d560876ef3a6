"""The binaries of the cluster: Go modules built into a cache, Debian packages installed where they are missing."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import time

from rig import place

PACKAGES = ("busybox-static", "conntrack", "containerd", "containernetworking-plugins", "etcd-server", "gcc", "iproute2",
            "iptables", "libc6-dev", "openssl", "runc", "socat", "util-linux")
# Each tool is named after its module; kubernetes has several.
MODULES = ("kubernetes", "coredns", "helm", "kwok")
# Built only when they are asked for: the suite does without.
EXTRA = ("helm3",)


def linker_flags(module):
    flags = "-s -w"
    if module == "kubernetes":
        flags += f" -X k8s.io/component-base/version.gitVersion={place.VERSION}"
        flags += " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    return flags


def packages():
    """Installs what is missing, and starts none of its services."""
    missing = []
    for package in PACKAGES:
        done = subprocess.run(["dpkg-query", "-W", "-f=${Status}", package], capture_output=True, text=True)
        if "install ok installed" not in done.stdout:
            missing.append(package)
    if not missing:
        return
    print(f"installing {' '.join(missing)}", flush=True)
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        apt("update")
        apt("install", "-y", "--no-install-recommends", *missing)
    finally:
        if ours:
            policy.unlink()


def apt(*arguments):
    done = subprocess.run(["apt-get", "-qq", *arguments], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                          stdout=subprocess.DEVNULL)
    if done.returncode:
        raise place.Refused(f"apt-get {' '.join(arguments)} failed; install by hand: {' '.join(PACKAGES)}")


def build(module, target):
    """Builds one module's tools. A mark says that all of them are there."""
    mark = target / f".{module}"
    if mark.exists():
        return
    if not shutil.which("go"):
        raise place.Refused("go is not installed; it is needed to build Kubernetes (https://go.dev/dl, 1.26 or newer)")
    start = time.monotonic()
    print(f"building {module}: minutes, once for each change of tests/cluster/modules", flush=True)
    output = f"{target}/" if module == "kubernetes" else f"{target}/{module}"
    done = subprocess.run(
        ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", linker_flags(module), "-o", output, "tool"],
        cwd=place.MODULES / module, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"})
    if done.returncode:
        raise place.Refused(f"building {module} failed")
    mark.touch()
    print(f"built {module} in {time.monotonic() - start:.0f} s", flush=True)


def binaries(extra=()):
    """Builds what is missing; returns the directory. Two callers at once build one after the other."""
    cache = place.cache()
    target = cache / "bin"
    target.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for module in (*MODULES, *extra):
            build(module, target)
    return target

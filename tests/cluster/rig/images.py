"""The images of the test cluster and of the product, made from binaries that are already built."""

import json
import pathlib
import subprocess
import tarfile
import tempfile

from rig import archive, configs, place

BUSYBOX = "docker.io/library/busybox:1.36"
COREDNS = "registry.k8s.io/coredns/coredns:v1.15.0"
REPOSITORY = "ghcr.io/indelible-dev/indelible-"
# As in the Dockerfile: binary and user of each image.
PRODUCT = {
    "operator": ("indelible-operator", "60653:60653"),
    "collector": ("indelible-collector", "60653:60653"),
    "sidecar": ("indelible-sidecar", "60653:60653"),
    "csi": ("indelible-csi", "0:0"),
}


def pause():
    with tempfile.TemporaryDirectory() as directory:
        binary = pathlib.Path(directory) / "pause"
        source = pathlib.Path(__file__).with_name("pause.c")
        done = subprocess.run(["gcc", "-static", "-Os", "-s", "-o", binary, source], capture_output=True, text=True)
        if done.returncode:
            raise place.Refused(f"gcc pause.c: {done.stderr.strip()}")
        return archive.Image(configs.PAUSE, {"/pause": binary.read_bytes()}, ["/pause"], "65535:65535")


def busybox():
    binary = pathlib.Path("/bin/busybox").read_bytes()
    if archive.needs_interpreter(binary):
        raise place.Refused("/bin/busybox is not static; install Debian's busybox-static")
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    files = {f"/bin/{name}": "/bin/busybox" for name in names if name != "busybox"}
    files["/bin/busybox"] = binary
    return archive.Image(BUSYBOX, files, [], command=("sh",), directories={"/tmp": 0o1777, "/root": 0o700, "/etc": 0o755})


def coredns(binaries):
    return archive.Image(COREDNS, {"/coredns": (binaries / "coredns").read_bytes()}, ["/coredns"], "65532:65532")


def product(name, tag, binary):
    """One of ours: the binary and nothing else."""
    content = binary.read_bytes()
    if archive.needs_interpreter(content):
        raise place.Refused(f"{binary} is not static; build it with the repository's .cargo/config.toml")
    program, user = PRODUCT[name]
    return archive.Image(f"{REPOSITORY}{name}:{tag}", {f"/{program}": content}, [f"/{program}"], user)


def write(image, directory):
    """Writes the archive into a directory; returns (path, digest)."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / (image.name.replace("/", "_").replace(":", "_") + ".tar")
    return path, archive.write(image, path)


def names(path):
    """(name, digest) of each image of an archive that says so in an OCI index."""
    with tarfile.open(path) as tar:
        try:
            index = json.load(tar.extractfile("index.json"))
        except KeyError:
            return []
    return [(one["annotations"]["io.containerd.image.name"], one["digest"]) for one in index["manifests"]
            if "io.containerd.image.name" in one.get("annotations", {})]


def load(cluster, path):
    """Imports an archive into every node's containerd, also under NAME@DIGEST where it says its name."""
    if not cluster.nodes():
        raise place.Refused(place.absent(cluster))
    found = names(path)
    for node in cluster.nodes():
        ctr(node, "import", str(pathlib.Path(path).resolve()))
        for name, digest in found:
            ctr(node, "tag", "--force", name, f"{name.rsplit(':', 1)[0]}@{digest}")
    return [f"{name} {digest}" for name, digest in found] or [f"loaded {path}"]


def ctr(node, *arguments):
    done = subprocess.run(place.inside(node, "ctr", "-n", "k8s.io", "images", *arguments), capture_output=True, text=True)
    if done.returncode:
        raise place.Refused(f"ctr images {' '.join(arguments)}: {done.stderr.strip()}")

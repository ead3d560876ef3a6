"""Writes container images as archives, without Docker and without a registry.

One tar holds the same image in both forms, OCI layout and docker-archive, so that `ctr images import`, `docker load` and
`kind load image-archive` read it. Same content, same bytes, same digest: times are 0, names are sorted.
"""

import dataclasses
import hashlib
import io
import json
import pathlib
import platform
import tarfile

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# As Go calls this machine, whose binaries these are.
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclasses.dataclass
class Image:
    """What an image holds: `files` maps absolute paths to bytes or, for links, to the text they point to."""
    name: str
    files: dict
    entrypoint: list
    user: str = "0:0"
    directories: dict = dataclasses.field(default_factory=dict)
    command: tuple = ()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def add(tar, name, data=b"", mode=0o644, kind=tarfile.REGTYPE, link=""):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type, entry.linkname = len(data), mode, kind, link
    tar.addfile(entry, io.BytesIO(data))


def layer(image):
    """The root file system. Parents of files are directories of mode 0755; all belongs to root."""
    directories = {str(parent): 0o755 for path in image.files for parent in pathlib.PurePosixPath(path).parents}
    directories |= image.directories
    directories.pop("/", None)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(directories):
            add(tar, path.lstrip("/") + "/", mode=directories[path], kind=tarfile.DIRTYPE)
        for path in sorted(image.files):
            content = image.files[path]
            if isinstance(content, bytes):
                add(tar, path.lstrip("/"), content, 0o755)
            else:
                add(tar, path.lstrip("/"), mode=0o777, kind=tarfile.SYMTYPE, link=content)
    return out.getvalue()


def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write(image, path):
    """Writes the archive and returns the digest of the image's manifest: what NAME@DIGEST refers to."""
    root = layer(image)
    config = encode({
        "architecture": ARCHITECTURE, "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": image.entrypoint, "Cmd": list(image.command), "User": image.user,
                   "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest(root)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tests/cluster/images"}],
    })
    manifest = encode({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": digest(root), "size": len(root)}],
    })
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": MANIFEST, "digest": digest(manifest), "size": len(manifest),
        "platform": {"architecture": ARCHITECTURE, "os": "linux"},
        "annotations": {"io.containerd.image.name": image.name,
                        "org.opencontainers.image.ref.name": image.name.rsplit(":", 1)[1]},
    }]})

    def blob(data):
        return "blobs/" + digest(data).replace(":", "/")

    docker = encode([{"Config": blob(config), "RepoTags": [image.name], "Layers": [blob(root)]}])
    new = path.with_name(path.name + ".new")
    with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
        for data in (config, root, manifest):
            add(tar, blob(data), data)
        add(tar, "index.json", index)
        add(tar, "manifest.json", docker)
    new.rename(path)
    return digest(manifest)


def needs_interpreter(binary):
    """Whether an ELF file asks for a dynamic loader (PT_INTERP), which an image from scratch does not have."""
    if binary[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")

    def number(offset, size):
        return int.from_bytes(binary[offset:offset + size], "little")

    start, size, count = number(32, 8), number(54, 2), number(56, 2)
    return any(number(start + i * size, 4) == 3 for i in range(count))

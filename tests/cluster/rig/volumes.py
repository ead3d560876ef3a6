"""Provisions, grows and deletes volumes of the StorageClasses `local` (Delete) and `local-retain` (Retain).

A volume is a directory DIR/<namespace>_<claim>_<first 8 of the claim's uid> of the cluster's state, offered as a
PersistentVolume of type local: unlike hostPath those honour fsGroup. Sizes are taken at their word, not enforced.
Each pass is a function of what the API server says; a watch on claims and volumes says when to make the next one.
"""

import pathlib
import shutil
import sys
import threading
import time
import urllib.error

from rig import api as server
from rig import place

PROVISIONER = "indelible.dev/local"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
CLAIMS, VOLUMES = "/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"
GROWS = "/apis/storage.k8s.io/v1/storageclasses"


def claim_name(claim):
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def volume_for(claim, node, reclaim, directory):
    """The PersistentVolume that answers a claim, bound to it."""
    meta = claim["metadata"]
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{meta['uid']}", "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"], "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": reclaim, "storageClassName": claim["spec"]["storageClassName"],
            "local": {"path": str(directory)},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta["namespace"],
                         "name": meta["name"], "uid": meta["uid"]},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}},
        },
    }


def directory_of(root, claim):
    meta = claim["metadata"]
    return root / f"{meta['namespace']}_{meta['name']}_{meta['uid'][:8]}"


def provision(api, root, claims, classes):
    for claim in claims:
        annotations = claim["metadata"].get("annotations", {})
        node = annotations.get(SELECTED_NODE)
        if claim["spec"].get("volumeName") or annotations.get(STORAGE_PROVISIONER) != PROVISIONER or not node:
            continue
        directory = directory_of(root, claim)
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        volume = volume_for(claim, node, classes[claim["spec"]["storageClassName"]], directory)
        try:
            api.call("POST", VOLUMES, volume)
            print(f"{claim_name(claim)}: made {directory.name}", flush=True)
        except urllib.error.HTTPError as error:
            if error.code != 409:  # made in an earlier pass, not bound yet
                raise


def grow(api, claims, volumes):
    """What an external resizer does: the volume first, then what the claim is told."""
    for claim in claims:
        volume = volumes.get(claim["spec"].get("volumeName"))
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if not volume or claim["status"].get("phase") != "Bound" or claim["status"]["capacity"]["storage"] == wanted:
            continue
        api.merge(f"{VOLUMES}/{volume['metadata']['name']}", {"spec": {"capacity": {"storage": wanted}}})
        path = f"/api/v1/namespaces/{claim['metadata']['namespace']}/persistentvolumeclaims/{claim['metadata']['name']}"
        api.merge(path + "/status", {"status": {
            "capacity": {"storage": wanted}, "conditions": None, "allocatedResources": None,
            "allocatedResourceStatuses": None}})
        print(f"{claim_name(claim)}: grown to {wanted}", flush=True)


def delete(api, root, volumes):
    for name, volume in volumes.items():
        if volume["status"].get("phase") != "Released" or volume["spec"]["persistentVolumeReclaimPolicy"] != "Delete":
            continue
        if volume["metadata"].get("deletionTimestamp"):
            continue
        directory = pathlib.Path(volume["spec"]["local"]["path"])
        if directory.parent != root:
            continue
        shutil.rmtree(directory, ignore_errors=True)
        api.call("DELETE", f"{VOLUMES}/{name}")
        print(f"{name}: deleted {directory.name}", flush=True)


def one_pass(api, root):
    """Does all that is due. Returns the versions to watch from."""
    classes = {c["metadata"]["name"]: c.get("reclaimPolicy", "Delete")
               for c in api.call("GET", GROWS)["items"] if c["provisioner"] == PROVISIONER}
    claims, volumes = api.call("GET", CLAIMS), api.call("GET", VOLUMES)
    own = {v["metadata"]["name"]: v for v in volumes["items"]
           if v["metadata"].get("annotations", {}).get(PROVISIONED_BY) == PROVISIONER}
    provision(api, root, claims["items"], classes)
    grow(api, claims["items"], own)
    delete(api, root, own)
    return {CLAIMS: claims["metadata"]["resourceVersion"], VOLUMES: volumes["metadata"]["resourceVersion"]}


def main(name):
    cluster = place.Cluster(name)
    root = cluster.volumes
    root.mkdir(exist_ok=True)
    api = server.Api(cluster)
    changed = threading.Event()
    watching = {}
    while True:
        changed.clear()
        try:
            versions = one_pass(api, root)
        except (OSError, KeyError) as error:
            print(f"again in a second: {error}", flush=True)
            time.sleep(1)
            continue
        for path, version in versions.items():
            if path not in watching or not watching[path].is_alive():
                watching[path] = threading.Thread(target=server.notice, args=(api, path, version, changed), daemon=True)
                watching[path].start()
        changed.wait()
        time.sleep(0.1)  # several changes, one pass


if __name__ == "__main__":
    main(sys.argv[1])

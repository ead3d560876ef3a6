"""What can be told without a cluster: archives and their digests, users of images, volumes."""

import io
import json
import pathlib
import re
import tarfile
import tempfile
import unittest

from rig import archive, images, place, policies, volumes

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STATIC = b"\x7fELF\x02\x01" + bytes(26) + (64).to_bytes(8, "little") + bytes(14) + (56).to_bytes(2, "little")


def elf(*types):
    """A 64-bit ELF header with program headers of these types."""
    return STATIC + len(types).to_bytes(2, "little") + bytes(6) + b"".join(t.to_bytes(4, "little") + bytes(52) for t in types)


class Archives(unittest.TestCase):
    def written(self, image):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "image.tar"
            digest = archive.write(image, path)
            return digest, path.read_bytes(), images.names(path)

    def test_the_same_content_has_the_same_bytes_and_digest(self):
        image = archive.Image("example.test/a:1", {"/b/c": b"x", "/b/d": "/b/c"}, ["/b/c"], "7:7")
        same = archive.Image("example.test/a:1", {"/b/d": "/b/c", "/b/c": b"x"}, ["/b/c"], "7:7")
        other = archive.Image("example.test/a:1", {"/b/c": b"y"}, ["/b/c"], "7:7")
        self.assertEqual(self.written(image), self.written(same))
        self.assertNotEqual(self.written(image)[0], self.written(other)[0])

    def test_every_digest_in_an_archive_is_that_of_its_blob(self):
        digest, data, names = self.written(archive.Image("example.test/a:1", {"/b": b"x"}, ["/b"], "7:7"))
        self.assertEqual(names, [("example.test/a:1", digest)])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            blobs = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        for name, blob in blobs.items():
            if name.startswith("blobs/"):
                self.assertEqual(archive.digest(blob), name.removeprefix("blobs/").replace("/", ":"))
        manifest = json.loads(blobs["blobs/" + digest.replace(":", "/")])
        config = json.loads(blobs["blobs/" + manifest["config"]["digest"].replace(":", "/")])
        layer = blobs["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
        self.assertEqual(config["rootfs"]["diff_ids"], [archive.digest(layer)])
        self.assertEqual(config["config"]["User"], "7:7")
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            self.assertEqual(tar.getnames(), ["b"])

    def test_a_binary_that_needs_a_loader_is_told_from_a_static_one(self):
        self.assertFalse(archive.needs_interpreter(elf(1, 2)))
        self.assertTrue(archive.needs_interpreter(elf(1, 3, 2)))
        with self.assertRaises(ValueError):
            archive.needs_interpreter(b"#!/bin/sh\n")

    def test_users_and_entry_points_are_those_of_the_dockerfile(self):
        stages = re.findall(r"^FROM scratch AS (\w+)\n.*\nUSER (\S+)\nENTRYPOINT \[\"/(\S+)\"\]$",
                            (ROOT / "Dockerfile").read_text(), re.M)
        self.assertEqual({name: (program, user) for name, user, program in stages}, images.PRODUCT)


class Volumes(unittest.TestCase):
    CLAIM = {
        "metadata": {"namespace": "n", "name": "c", "uid": "0123456789ab"},
        "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"],
                 "resources": {"requests": {"storage": "1Gi"}}},
    }

    def test_a_volume_is_bound_to_its_claim_and_node(self):
        directory = volumes.directory_of(pathlib.Path("/v"), self.CLAIM)
        self.assertEqual(str(directory), "/v/n_c_01234567")
        spec = volumes.volume_for(self.CLAIM, "n1", "Retain", directory)["spec"]
        self.assertEqual(spec["claimRef"]["uid"], "0123456789ab")
        self.assertEqual(spec["capacity"], {"storage": "1Gi"})
        self.assertEqual(spec["persistentVolumeReclaimPolicy"], "Retain")
        self.assertIn("n1", json.dumps(spec["nodeAffinity"]))

    def test_only_released_volumes_below_the_own_directory_are_deleted(self):
        calls = []

        class Api:
            def call(self, method, path, *_):
                calls.append((method, path))

        def volume(phase, policy, path):
            return {"metadata": {}, "status": {"phase": phase},
                    "spec": {"persistentVolumeReclaimPolicy": policy, "local": {"path": path}}}

        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for directory in ("free", "bound", "kept"):
                (root / directory).mkdir()
            volumes.delete(Api(), root, {
                "free": volume("Released", "Delete", f"{root}/free"), "bound": volume("Bound", "Delete", f"{root}/bound"),
                "kept": volume("Released", "Retain", f"{root}/kept"), "foreign": volume("Released", "Delete", "/var")})
            self.assertEqual(calls, [("DELETE", "/api/v1/persistentvolumes/free")])
            self.assertEqual(sorted(d.name for d in root.iterdir()), ["bound", "kept"])


def pod(namespace, name, address, labels=None, ports=None):
    return {"namespace": namespace, "name": name, "address": address, "labels": labels or {}, "ports": ports or {}}


class Policies(unittest.TestCase):
    PODS = [pod("a", "web", "10.88.0.2", {"app": "web"}, {("http", "TCP"): 8080}),
            pod("a", "db", "10.88.0.3", {"app": "db"}), pod("b", "x", "10.88.4.2", {"app": "web"}),
            pod("a", "done", None, {"app": "web"})]
    NAMESPACES = [{"name": "a", "labels": {"team": "one"}}, {"name": "b", "labels": {"team": "two"}}]

    def lines(self, *given):
        chains = policies.rules(list(given), self.PODS, self.NAMESPACES, "10.88.0.0/22")
        return [re.sub(r"NP-(\w)-\w+", r"\1", line) for chain in chains.values() for line in chain][1:]

    def test_without_policies_nothing_is_dropped(self):
        self.assertEqual(self.lines(), [])

    def test_a_selected_pod_gets_what_is_allowed_and_nothing_else(self):
        first, *rest = self.lines({
            "namespace": "a", "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "db"}}},
                                  {"namespaceSelector": {"matchLabels": {"team": "two"}}}],
                         "ports": [{"port": "http"}, {"port": 53, "protocol": "UDP", "endPort": 54}, {"port": "none"}]}]})
        self.assertEqual([first, *sorted(rest)], [
            "-A POLICIES -d 10.88.0.2/32 -j I",
            "-A I -j DROP",
            "-A I -s 10.88.0.3/32 -p tcp --dport 8080 -j RETURN",
            "-A I -s 10.88.0.3/32 -p udp --dport 53:54 -j RETURN",
            "-A I -s 10.88.4.2/32 -p tcp --dport 8080 -j RETURN",
            "-A I -s 10.88.4.2/32 -p udp --dport 53:54 -j RETURN",
        ])

    def test_deny_all_drops_both_directions_of_every_pod_here(self):
        self.assertEqual(self.lines({"namespace": "a", "podSelector": {}, "policyTypes": ["Ingress", "Egress"]}), [
            "-A POLICIES -d 10.88.0.2/32 -j I", "-A POLICIES -s 10.88.0.2/32 -j E",
            "-A POLICIES -d 10.88.0.3/32 -j I", "-A POLICIES -s 10.88.0.3/32 -j E",
            "-A I -j DROP", "-A E -j DROP", "-A I -j DROP", "-A E -j DROP"])
        self.assertEqual(self.lines({"namespace": "b", "podSelector": {}, "policyTypes": ["Ingress"]}), [])

    def test_policies_add_up_and_a_block_may_have_holes(self):
        deny = {"namespace": "a", "podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Egress"]}
        some = {**deny, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/30", "except": ["10.0.0.1/32"]}}]}]}
        self.assertEqual(self.lines(deny, some), [
            "-A POLICIES -s 10.88.0.3/32 -j E", "-A E -d 10.0.0.0/32 -j RETURN", "-A E -d 10.0.0.2/31 -j RETURN",
            "-A E -j DROP"])
        self.assertEqual(self.lines(deny, {**deny, "egress": [{}]})[1:], ["-A E -d 0.0.0.0/0 -j RETURN", "-A E -j DROP"])

    def test_selectors_mean_what_the_api_says(self):
        for operator, values, holds in (("In", ["x"], [True, False]), ("NotIn", ["x"], [False, True]),
                                        ("Exists", [], [True, False]), ("DoesNotExist", [], [False, True])):
            selector = {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
            self.assertEqual([policies.matches(selector, labels) for labels in ({"k": "x"}, {})], holds)
        self.assertTrue(policies.matches({}, {}))

    def test_what_is_stale_goes_in_the_same_transaction(self):
        text = policies.transaction({"POLICIES": ["-A POLICIES -j NP-I-1"], "NP-I-1": ["-A NP-I-1 -j DROP"]}, ["NP-I-0"])
        self.assertEqual(text.splitlines(), [
            "*mangle", ":POLICIES - [0:0]", ":NP-I-1 - [0:0]", ":NP-I-0 - [0:0]",
            "-A POLICIES -j NP-I-1", "-A NP-I-1 -j DROP", "-X NP-I-0", "COMMIT"])


class Names(unittest.TestCase):
    def test_a_name_that_no_link_could_have_is_refused(self):
        for name in ("", "-a", "A", "a/b", "elevenchars"):
            with self.assertRaises(place.Refused):
                place.Cluster(name)


if __name__ == "__main__":
    unittest.main()

"""Does heads.py see what it should? `python3 -m unittest` in this directory.

The data directories here are made by hand from the format's text: real signatures, real frames, small logs.
"""
import base64
import contextlib
import gzip
import io
import json
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import heads

HERE = Path(__file__).parent
CONTAINER = heads.Identity("", "shop", "cart-0", "5f3c", "app", 0)
NANOS = 1795377600 * 10**9


def lp16(text):
    return struct.pack(">H", len(text)) + text.encode()


def line(second, content, stream="stdout", tag="F"):
    return f"2026-11-22T20:00:{second:02}Z {stream} {tag} {content}\n".encode()


def control(second, **said):
    return heads.Record(NANOS + second * 10**9, 3, 0, json.dumps(said, separators=(",", ":")).encode())


class Signer:
    def __init__(self, seed):
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def tagged(self, tag, message):
        return message + self.key.sign(heads.tagged(tag, message))


class Collector:
    """A log in memory, and the data directory that it is written to."""

    def __init__(self, seed, origin="test/0"):
        self.signer, self.leaves = Signer(seed), []
        self.origin = f"{origin}-{heads.sha(self.signer.public).hex()[:8]}"
        self.sidecar = Signer(7)
        pod = "".join(["", *map(lp16_text, CONTAINER[:4])])
        self.session = (b"\1" + self.sidecar.public + pod.encode("latin-1")
                        + b"".join(map(lp16, ("node", "default", "shop/audit", "test", "proxy")))
                        + struct.pack(">q", NANOS))
        token = b"the.jwt.of-it"
        self.leaves.append((b"\1\1" + self.session + b"\1" + b"".join(map(lp16, ("iss", "sub", "5f3c", "id")))
                            + heads.sha(token) + struct.pack(">qq", NANOS, NANOS), 0, token))

    def introduce(self, identity):
        genesis = b"\1\1" + b"".join(map(lp16, (*identity[:5], ""))) + struct.pack(">Q", identity.incarnation)
        leaf = b"\1\2" + genesis + heads.tagged(b"session", self.session) + struct.pack(">q", NANOS)
        self.leaves.append((leaf, 0, b""))

    def store(self, identity, recs, first=0, prev=None, codec=0, count=None):
        chain = heads.chain_id(identity)
        links = heads.links_of(chain, recs, first, prev)
        body = b"".join(struct.pack(">qBBI", *r[:3], len(r.payload)) + r.payload for r in recs)
        final = recs[-1].source == 3 and b'"end"' in recs[-1].payload
        head = struct.pack(">BB", 1, final) + heads.tagged(b"session", self.session) + chain + struct.pack(
            ">QI", first, count or len(recs)) + links[first - 1] + links[first + len(recs) - 1] + struct.pack(
            ">qqI", recs[0].time, recs[-1].time, len(body))
        if codec == 1:
            body = subprocess.run(["zstd", "-qc"], input=body, capture_output=True, check=True).stdout
        self.leaves.append((b"\1\3" + self.sidecar.tagged(b"batch", head) + struct.pack(">q", NANOS), codec, body))
        return links[first + len(recs) - 1]

    def heartbeat(self, identity, next_seq, link):
        beat = self.sidecar.tagged(b"heartbeat", b"\1" + heads.tagged(b"session", self.session) + struct.pack(
            ">q", NANOS) + bytes(32) + struct.pack(">H", 1) + heads.chain_id(identity) + struct.pack(">Q", next_seq)
            + link + struct.pack(">H", 0))
        body = struct.pack(">H", len(beat)) + beat
        leaf = b"\1\5" + struct.pack(">II", 1, len(body)) + heads.sha(body) + struct.pack(">q", NANOS)
        self.leaves.append((leaf, 0, body))

    def write(self, directory, leaves_a_segment=3):
        (directory / "segments").mkdir(parents=True)
        for first in range(0, len(self.leaves), leaves_a_segment):
            mark = b"\0\0\0" + struct.pack(">Q", 0)
            frames = [mark] + [struct.pack(">H", len(leaf)) + leaf + bytes([codec]) + body
                               for leaf, codec, body in self.leaves[first:first + leaves_a_segment]]
            data = b"".join(struct.pack(">II", len(f) + 4, heads.crc32c(f)) + f for f in frames)
            (directory / f"segments/{first:020}.seg").write_bytes(data + bytes(64))
        root = heads.root([heads.sha(b"\0" + leaf) for leaf, _, _ in self.leaves])
        text = f"{self.origin}\n{len(self.leaves)}\n{base64.b64encode(root).decode()}\n"
        key = b"\1" + self.signer.public
        key_id = heads.sha(self.origin.encode() + b"\n" + key)[:4]
        signature = base64.b64encode(key_id + self.signer.key.sign(text.encode())).decode()
        (directory / "checkpoint").write_text(f"{text}\n— {self.origin} {signature}\n")
        (directory / "vkey").write_text(f"{self.origin}+{key_id.hex()}+{base64.b64encode(key).decode()}\n")
        return root


def lp16_text(text):
    return lp16(text).decode("latin-1")


class Case(unittest.TestCase):
    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.logs = self.root / "logs/shop_cart-0_5f3c/app"
        self.logs.mkdir(parents=True)
        self.collector = Collector(1)
        self.collector.introduce(CONTAINER)

    def heads(self, *flags):
        """Exit code and output."""
        heads.wrong.clear()
        out, argv = io.StringIO(), sys.argv
        sys.argv = ["heads.py", *map(str, flags)]
        try:
            with contextlib.redirect_stdout(out):
                return int(heads.main()), out.getvalue()
        finally:
            sys.argv = argv

    def run_heads(self, *flags):
        return self.heads("--logs", self.root / "logs", "--data", *sorted(self.root.glob("c[0-9]")), *flags)

    def agrees(self, *flags):
        code, out = self.run_heads(*flags)
        self.assertEqual((code, out.splitlines()[-1]), (0, "all agree"), out)
        return out

    def disagrees(self, text, *flags):
        code, out = self.run_heads(*flags)
        self.assertEqual(code, 1, out)
        self.assertIn(text, out)

    def write(self, **files):
        for name, data in files.items():
            (self.logs / name).write_bytes(data)

    def records(self, *files, ends=True):
        return list(heads.records([heads.File(n, name, data, []) for n, name, data in files], ends))


class Straight(Case):
    """A chain in two batches over two logs."""

    def setUp(self):
        super().setUp()
        self.old, self.new = line(1, "a") + line(2, "b", "stderr", "P"), line(3, "c", "stderr") + line(4, "d", tag="P")
        self.write(**{"0.log.20261122-200002": self.old, "0.log": self.new})
        recs = self.records((0, "0.log.1", self.old), (0, "0.log", self.new))
        recs.append(control(9, kind="end", reason="terminated"))
        self.other = Collector(2, "test/1")
        self.other.introduce(CONTAINER)
        prev = self.collector.store(CONTAINER, recs[:2])
        self.other.store(CONTAINER, recs[1:], 1, heads.links_of(heads.chain_id(CONTAINER), recs)[0], codec=1)
        self.collector.heartbeat(CONTAINER, 2, prev)
        self.head = heads.links_of(heads.chain_id(CONTAINER), recs)[len(recs) - 1]
        self.roots = [c.write(self.root / f"c{n}") for n, c in enumerate((self.collector, self.other))]

    def test_agrees(self):
        self.assertIn(f"5 records  {self.head.hex()}  as the files", self.agrees())

    def test_a_rotated_file_counts_packed_as_well(self):
        (self.logs / "0.log.20261122-200002").unlink()
        (self.logs / "0.log.20261122-200002.gz").write_bytes(gzip.compress(self.old))
        (self.logs / "0.log.20261122-200002.tmp").write_bytes(b"nobody's")
        self.agrees()

    def test_a_report_is_compared(self):
        report = {"chains": [{"chain_id": heads.chain_id(CONTAINER).hex(), "records": 5, "head": self.head.hex()}],
                  "logs": [{"origin": c.origin, "size": len(c.leaves), "root": base64.b64encode(r).decode()}
                           for c, r in zip((self.collector, self.other), self.roots)]}
        path = self.root / "report.json"
        path.write_text(json.dumps(report))
        self.agrees("--verify-json", path)
        report["chains"][0]["records"] = 4
        path.write_text(json.dumps(report))
        self.disagrees("in " + str(path), "--verify-json", path)

    def test_a_changed_log_file_is_seen(self):
        self.write(**{"0.log": self.new.replace(b" c\n", b" C\n")})
        self.disagrees("shop/cart-0/app: its 3. record")

    def test_lines_that_nobody_stored_are_seen(self):
        self.write(**{"0.log": self.new + line(5, "e")})
        self.disagrees("shop/cart-0/app: its 4. record")
        self.write(**{"0.log": self.new, "1.log": line(5, "e")})
        self.disagrees("shop/cart-0/app: the files give 2 records more")

    def test_a_container_without_a_chain_is_seen_unless_it_is_excluded(self):
        for name in "proxy", "db":
            (self.logs.parent / name).mkdir()
        self.disagrees("shop/cart-0/5f3c/db: has log files and no chain")
        (self.logs.parent / "db").rmdir()
        self.agrees()

    def test_a_directory_left_out_is_seen(self):
        (self.root / "c0").rename(self.root / "away")
        self.disagrees("records 0 to 0 are nowhere")

    def test_each_flipped_byte_of_a_segment_is_seen(self):
        for path in sorted(self.root.glob("c*/segments/*.seg")):
            data = path.read_bytes()
            for at in range(0, len(data.rstrip(b"\0")), 7):
                path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1:])
                self.assertEqual(self.run_heads()[0], 1, f"{path} at {at}")
            path.write_bytes(data)
        self.agrees()

    def test_another_key_is_not_taken(self):
        vkeys = [(self.root / f"c{n}/vkey").read_text().strip() for n in (0, 1)]
        self.agrees("--vkey", vkeys[0], "--vkey", vkeys[1])
        self.disagrees("c1: ", "--vkey", vkeys[0])
        (self.root / "c0/vkey").write_text(vkeys[1])
        self.disagrees("c0: ")

    def test_a_signature_by_another_session_is_seen(self):
        self.collector.sidecar = Signer(8)
        self.collector.store(CONTAINER, [control(9, kind="end", reason="terminated")], 5, self.head)
        self.collector.write(self.root / "c2")
        self.disagrees("bad signature")

    def test_a_forged_count_is_seen_though_it_is_signed(self):
        self.collector.store(CONTAINER, self.records((0, "0.log", line(1, "a"))), count=3)
        self.collector.write(self.root / "c2")
        self.disagrees("do not hold over its body")

    def test_a_fork_is_seen(self):
        self.collector.store(CONTAINER, self.records((0, "0.log", line(1, "A"))))
        self.collector.write(self.root / "c2")
        self.disagrees("shop/cart-0/app: fork from 0")

    def test_a_heartbeat_that_knows_more_is_seen(self):
        self.collector.heartbeat(CONTAINER, 7, bytes(32))
        self.collector.write(self.root / "c2")
        self.disagrees("a heartbeat has another 7")

    def test_without_bodies_nothing_is_said_to_agree(self):
        for leaves in self.collector.leaves, self.other.leaves:
            leaves[:] = [(leaf, 255, b"") if leaf[1] == 3 else (leaf, codec, body) for leaf, codec, body in leaves]
        for n, c in enumerate((self.collector, self.other)):
            c.write(self.root / f"pruned/c{n}")
        code, out = self.heads("--data", *sorted(self.root.glob("pruned/*")))
        self.assertEqual(code, 0, out)
        code, out = self.heads("--logs", self.root / "logs", "--data", *sorted(self.root.glob("pruned/*")))
        self.assertEqual(code, 1)
        self.assertIn("5 records cannot be read", out)


class Decisions(Case):
    """What a sidecar decides is taken from the chain; all else has to follow."""

    def stored(self, *recs, identity=CONTAINER):
        self.collector.store(identity, list(recs))
        path = self.root / "c0"
        if path.exists():
            subprocess.run(["rm", "-r", path], check=True)
        self.collector.write(path)

    def test_late_bytes(self):
        early, new = line(1, "a") + b"2026-11-22T20:00:02Z std", line(2, "n")
        late = b"out F b\n" + line(3, "c") + b"half"
        self.write(**{"0.log.1": early + late, "0.log": new})
        recs = self.records((0, "0.log.1", early), (0, "0.log", new))
        recs[3:3] = [heads.Record(NANOS + 10**9, 1, 12, b"out F b"), heads.Record(NANOS + 3 * 10**9, 1, 4, b"c")]
        recs += [heads.Record(NANOS + 2 * 10**9, 1, 12, b"half"), control(9, kind="end", reason="terminated")]
        self.stored(*recs)
        self.agrees()
        self.write(**{"0.log.1": early + late.replace(b" c\n", b" C\n")})
        self.disagrees("LATE")

    def test_a_declared_gap(self):
        self.write(**{"0.log.1": line(1, "a", tag="P") + line(2, "lost"), "0.log": line(3, "c")})
        head, tail = self.records((0, "0.log.1", line(1, "a", tag="P"))), self.records((0, "0.log", line(3, "c")))[1:]
        gap = control(5, kind="gap", reason="held-bytes-exceeded", file="0.log.1", bytes=len(line(2, "lost")))
        self.stored(*head, gap, *tail, control(9, kind="end", reason="terminated"))
        self.agrees()
        self.stored(*head, *tail, control(9, kind="end", reason="terminated"))
        self.disagrees("is not what the files give")

    def test_a_chain_that_goes_on_behind_another(self):
        self.write(**{"0.log": line(1, "a") + line(2, "b"), "1.log": line(3, "c")})
        self.stored(*self.records((0, "0.log", line(1, "a"))))
        self.disagrees("the files give 3 records more")
        second = CONTAINER._replace(incarnation=NANOS + 6 * 10**9)
        self.collector.introduce(second)
        resumed = control(6, kind="resumed", reason="state-lost", chain="", next_seq=0, link="")
        rest = self.records((0, "0.log", line(2, "b")), (1, "1.log", line(3, "c")))
        self.stored(resumed, *rest, control(9, kind="end", reason="terminated"), identity=second)
        self.agrees()
        self.write(**{"1.log": line(3, "C")})
        self.disagrees(f"shop/cart-0/app ({second.incarnation}): its ")

    def test_a_chain_that_has_not_ended_may_leave_the_last_line_open(self):
        self.write(**{"0.log": line(1, "a") + line(2, "b", tag="P") + b"2026-"})
        self.stored(*self.records((0, "0.log", line(1, "a"))))
        self.agrees()

    def test_zeros_at_the_end_of_a_body_are_not_taken_for_room(self):
        self.write(**{"0.log": line(1, "\0" * 40)})
        self.stored(*self.records((0, "0.log", line(1, "\0" * 40))))
        self.agrees()

    def test_a_container_that_printed_nothing(self):
        self.stored(control(9, kind="end", reason="terminated"))
        self.agrees()


class Given(Case):
    """What others computed."""

    def test_the_recorded_trace_gives_its_heads(self):
        data = HERE.parent / "data"
        flags = "--trace", data / "kubelet-trace.jsonl.zst", "--expect", data / "kubelet-trace.heads.json"
        self.assertEqual(self.heads(*flags)[0], 0)

    def test_every_vector_holds_and_none_holds_when_it_is_changed(self):
        path = HERE.parents[1] / "chain/tests/data/vectors.json"
        vectors = json.loads(path.read_text())
        self.assertEqual(self.heads("--vectors", path)[0], 0)
        names = [name for name in vectors if not name.endswith("note") and not name.endswith("_seed")
                 and name not in ("jwt_of_the_session", "big_tree_leaf", "files", "tlog_proof_of_seq_4")]
        changed = self.root / "vectors.json"
        for name in names:
            changed.write_text(json.dumps(vectors | {name: self.change(vectors[name])}))
            with self.subTest(name):
                try:
                    self.assertEqual(self.heads("--vectors", changed)[0], 1)
                except (ValueError, KeyError, IndexError, AttributeError, struct.error):
                    pass  # it could not even be read

    def change(self, told):
        """The same with one digit of its last value changed."""
        if isinstance(told, list):
            return [*told[:-1], self.change(told[-1])]
        if isinstance(told, dict):
            return told | {list(told)[-1]: self.change(list(told.values())[-1])}
        if isinstance(told, str):
            at = max(told.rfind(digit) for digit in "0123456789")
            return told[:at] + str((int(told[at]) + 1) % 10) + told[at + 1:]
        return told + 1

    def test_checksums_are_castagnoli(self):
        self.assertEqual(heads.crc32c(b"123456789"), 0xE3069283)


if __name__ == "__main__":
    unittest.main()

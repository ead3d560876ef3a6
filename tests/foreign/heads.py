#!/usr/bin/python3
"""heads.py: what log files and data directories say, computed without Indelible.

A second implementation of the evidence format, written from its text alone, on Python's standard library and Debian's
packages python3-cryptography and zstd (bodies are packed with it, and the library cannot unpack them; without it what
is in them is not compared). It shares nothing with the product: a mistake would have to be made twice.
    heads.py --logs DIR... --data DIR...       do stored chains follow from the log files, and roots from the leaves?
    heads.py --trace FILE --expect heads.json  the heads of a recorded trace (.jsonl, .xz, .zst)
    heads.py --vectors vectors.json            the format's test vectors (in vectors.py)
Exit 0: all agree; 1: something does not, each on a line; 2: usage. What does not follow from bytes (`end`, `gap`,
`resumed`, LATE) is taken as the chain has it, all else must follow. It is no verifier: no attestation, witnesses,
policies, archives, tiles, freshness, nor blame; and it trusts a directory's own vkey unless --vkey names another.
"""
import argparse, base64, hashlib, json, lzma, re, shutil, struct, subprocess, sys, zlib
from calendar import monthrange
from collections import defaultdict, namedtuple
from datetime import date
from functools import reduce
from pathlib import Path
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX = 262_144  # max_record_bytes
CONTINUES, UNTERMINATED, LATE, MALFORMED = 1, 2, 4, 8
Record = namedtuple("Record", "time source flags payload")
File = namedtuple("File", "restart name data gaps")
Identity = namedtuple("Identity", "cluster_uid namespace pod pod_uid container incarnation")
Session = namedtuple("Session", "key pod excluded")
Batch = namedtuple("Batch", "flags session chain first count prev last first_time last_time length signature")
NOBODY, wrong = Session(b"", (), []), []

def check(held, text):  # goes on where `need` gives the leaf up
    if not held:
        wrong.append(text)
    return held
def need(held, text):
    if not held:
        raise ValueError(text)

# ---- hashes, signatures, encodings: the conventions, sections 1 to 3 -------------------------------------------------
def sha(data):
    return hashlib.sha256(data).digest()
def tagged(tag, *parts):
    return sha(sha(b"indelible/" + tag + b"/v1") * 2 + b"".join(parts))
P = 2**255 - 19
Y8 = int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little")

def strong(point):
    """Canonical and not of small order: of the eight small points y is 0, ±1 or ±Y8."""
    y = int.from_bytes(point, "little") & (1 << 255) - 1
    return y < P and y not in (0, 1, P - 1, Y8, P - Y8)
def signed(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return strong(key) and strong(signature[:32])
    except (InvalidSignature, ValueError):
        return False

class Bytes:
    """A cursor over an encoding."""
    def __init__(self, data):
        self.data, self.at = data, 0
    def take(self, n):
        self.at += n
        need(self.at <= len(self.data), "an encoding is cut short")
        return self.data[self.at - n:self.at]
    def num(self, fmt):
        return struct.unpack(">" + fmt, self.take(struct.calcsize(fmt)))[0]
    def text(self):
        return self.take(self.num("H")).decode()
    def last(self, n):
        need(self.at + n >= len(self.data), "bytes trail an encoding")
        return self.take(n)

def chain_id(i):
    names = (struct.pack(">H", len(name)) + name for name in (s.encode() for s in (*i[:5], "")))
    return tagged(b"genesis", b"\1\1", *names, struct.pack(">Q", i.incarnation))
def read_identity(b):
    need(b.take(2) == b"\1\1", "a genesis of another version or capture")
    *names, _path = (b.text() for _ in range(6))
    return Identity(*names, b.num("Q"))
def read_session(b):
    start, version, key = b.at, b.num("B"), b.take(32)
    names, _started_at = [b.text() for _ in range(9)], b.num("q")
    need(version == 1 and strong(key), "a session of another version or with a weak key")
    return tagged(b"session", b.data[start:b.at]), Session(key, tuple(names[:4]), names[8].split(","))
def read_batch(data, sessions):
    version, *fields = struct.unpack(">BB32s32sQI32s32sqqI64s", data)
    batch = Batch(*fields)
    key = sessions.get(batch.session, NOBODY).key
    need(version == 1 and batch.flags <= 1 and 1 <= batch.count <= 4096 and key,
         "a commitment of another version, with reserved flags, a bad count or no session before it")
    check(signed(key, batch.signature, tagged(b"batch", data[:-64])),
          f"batch at {batch.first} of chain {batch.chain.hex()}: bad signature")
    return batch
def read_heartbeat(data, sessions):
    """The heads that it states: [(chain, next_seq, link)]; and the receipts that it carries."""
    b = Bytes(data)
    version, session, _time, _ca = b.num("B"), b.take(32), b.num("q"), b.take(32)
    heads = [(b.take(32), b.num("Q"), b.take(32)) for _ in range(b.num("H"))]
    kept = [(b.text(), b.take(371)) for _ in range(b.num("H"))]
    key, message = sessions.get(session, NOBODY).key, tagged(b"heartbeat", data[:b.at])
    check(version == 1 and signed(key, b.last(64), message), f"heartbeat of session {session.hex()}: bad signature")
    return heads, kept
def link(chain, seq, prev, r):
    head = struct.pack(">qBBI", r.time, r.source, r.flags, len(r.payload))
    return tagged(b"link", chain, struct.pack(">Q", seq), prev, head, tagged(b"content", b"\0", r.payload))
def links_of(chain, recs, first=0, prev=None):
    """{seq: link}, with that of the seq before the first."""
    links = {first - 1: prev or chain}
    for seq, r in enumerate(recs, first):
        links[seq] = link(chain, seq, links[seq - 1], r)
    return links
def read_body(data):
    b = Bytes(data)
    while b.at < len(data):
        r = Record(b.num("q"), b.num("B"), b.num("B"), b.take(b.num("I")))
        need(1 <= r.source <= 5 and r.flags < 16 and len(r.payload) <= MAX, "a record with bad source, flags or length")
        yield r

# ---- from log files to records: section 1.1 --------------------------------------------------------------------------
HH, MM = rb"([01]\d|2[0-3])", rb"([0-5]\d)"
LINE = re.compile(rb"(?!0000)(\d{4})-(0[1-9]|1[0-2])-(\d\d)T%b:%b:%b(?:\.(\d{1,9}))?(?:Z|([+-])%b:%b)"
                  rb" (stdout|stderr) ([^ ]+) (.*)" % (HH, MM, MM, HH, MM), re.DOTALL)

def parse(raw):
    """time, source, whether the line goes on, content; None: malformed."""
    if not (m := LINE.fullmatch(raw)):
        return None
    year, month, day, hour, minute, second = map(int, m.group(1, 2, 3, 4, 5, 6))
    days = date(year, month, 1).toordinal() - date(1970, 1, 1).toordinal() + day - 1
    east = (int(m[9] or 0) * 3600 + int(m[10] or 0) * 60) * (-1 if m[8] == b"-" else 1)
    time = (days * 86400 + hour * 3600 + minute * 60 + second - east) * 10**9 + int((m[7] or b"0").ljust(9, b"0"))
    exists = 1 <= day <= monthrange(year, month)[1] and -2**63 <= time < 2**63
    return (time, 1 + (m[11] == b"stderr"), m[12].split(b":")[0] == b"P", m[13]) if exists else None

def records(files, ends=True):
    """The records of files in their order; a file's gaps stand behind what is left of it. (The pieces of an over-long
    malformed line are not among them until it has a newline.)"""
    files = [f for f in files if f.data or f.gaps]
    restart, begun, last_time, opened = None, None, 0, {}

    def emit(*record):
        nonlocal begun
        time, begun = begun, None
        started = [] if time is None else [Record(time, 3, 0, b'{"kind":"container-started","restart":%d}' % restart)]
        return started + [Record(*record)]

    def close():
        for time, source in sorted((time, source) for source, (time, _) in opened.items()):
            yield from emit(time, source, UNTERMINATED, opened.pop(source)[1])

    for f in files:
        *raws, rest = f.data.split(b"\n")
        left = ends or f is not files[-1] or f.gaps
        for raw, line in [(raw, parse(raw)) for raw in raws] + [(rest, None)] * bool(rest and left):
            if f.restart != restart:
                yield from close()
                restart, begun = f.restart, line[0] if line else last_time
            last_time, source, partial, text = line or (last_time, 1, False, raw)
            time, before = opened.pop(source, (last_time, b"")) if line else (last_time, b"")
            text, flags = before + text, 0 if line else MALFORMED
            while len(text) > MAX:
                yield from emit(time, source, flags | CONTINUES, text[:MAX])
                text = text[MAX:]
            if partial:
                opened[source] = time, text
            else:
                yield from emit(time, source, flags, text)
        if f.gaps:
            yield from close()
            yield from f.gaps
    if ends:
        yield from close()

def in_order(files):
    def key(f):
        first = parse(f.data.split(b"\n", 1)[0])
        return f.restart, f.name == f"{f.restart}.log", first[0] if first else -2**63, f.name
    return sorted(files, key=key)

def read_logs(directory):
    """{(namespace, pod, uid, container): files in order}"""
    found = {}
    for container in sorted(d for d in directory.glob("*_*_*/*") if d.is_dir()):
        there = {p.name: p.read_bytes() for p in container.iterdir() if re.match(r"\d+\.log(\.(?!.*tmp)|$)", p.name)}
        found[(*container.parent.name.split("_"), container.name)] = in_order(
            File(int(name.split(".")[0]), name.removesuffix(".gz"),
                 zlib.decompressobj(31).decompress(data) if name.endswith(".gz") else data, [])
            for name, data in there.items() if not (name.endswith(".gz") and name[:-3] in there))
    check(found, f"{directory}: no <namespace>_<pod>_<uid>/<container> below it")
    return found

def read_trace(path):
    """The same from a recorded trace: each inode that began as <n>.log, in order of creation, with all its bytes."""
    data, files, found = path.read_bytes(), {}, defaultdict(list)
    data = lzma.decompress(data) if path.suffix == ".xz" else unzstd(data) if path.suffix == ".zst" else data
    for op in map(json.loads, data.splitlines()):
        if op["op"] == "create" and (m := re.fullmatch(r"(.*)_(.*)_(.*)/(.*)/(\d+)\.log", op["path"])):
            files[op["file"]] = bytearray()
            found[m.groups()[:4]].append((int(m[5]), files[op["file"]]))
        elif op["op"] == "append" and op["file"] in files:
            files[op["file"]] += op["text"].encode() if "text" in op else base64.b64decode(op["base64"])
    return {key: [File(n, f"{n}.log", bytes(data), []) for n, data in files] for key, files in found.items()}

def without_late(data, r):
    """A file's bytes without those of a LATE record at their end; None if they are not there."""
    whole = data.removesuffix(b"\n")
    if r.flags & MALFORMED:
        return whole[:len(whole) - len(r.payload)] if whole.endswith(r.payload or b"\n") else None
    raw = whole.rpartition(b"\n")[2]
    line = parse(raw) if data != whole else None
    return data[:-len(raw) - 1] if line and (line[0], line[1], line[3]) == (r.time, r.source, r.payload) else None
def says(r):
    return json.loads(r.payload).get("kind") if r.source == 3 else None
def follow(identity, stored, files, newest):
    """What of a chain's records does not follow from the bytes of its files; None if all does."""
    told, files = [r for r in stored if not r.flags & LATE], list(files)
    for r in reversed([r for r in stored if r.flags & LATE]):
        cut = next(((i, cut) for i, f in enumerate(files) if (cut := without_late(f.data, r)) is not None), None)
        if not cut:
            return f"no file ends with the LATE record of time {r.time}"
        files[cut[0]] = files[cut[0]]._replace(data=cut[1])
    for r, gap in ((r, json.loads(r.payload)) for r in told if says(r) == "gap"):
        for i in [i for i, f in enumerate(files) if f.name == gap["file"].removesuffix(".gz") and not f.gaps]:
            files[i] = files[i]._replace(data=files[i].data[:len(files[i].data) - (gap["bytes"] or 0)], gaps=[r])
    ends, begins = bool(told) and says(told[-1]) == "end", [(0, 0)]
    told = told[:-1] if ends else told
    if identity.incarnation:
        if not told or says(told[0]) != "resumed" or told.pop(0).time != identity.incarnation:
            return "a new incarnation does not begin with a resumed record of its time"
        begins = [(i, at) for i, f in enumerate(files) for at in [0, *(m.end() for m in re.finditer(b"\n", f.data))]]
    furthest = 0
    for i, at in begins:
        gives = records([files[i]._replace(data=files[i].data[at:]), *files[i + 1:]] if files else [], ends)
        same = next((n for n, r in enumerate(told) if next(gives, None) != r), len(told))
        more = sum(1 for _ in gives) if same == len(told) and newest and (told or not identity.incarnation) else 0
        if same == len(told):
            return f"the files give {more} records more" if more else None
        furthest = max(furthest, same)
    return f"its {furthest + 1}. record (LATE, resumed apart) is not what the files give"

# ---- data directories: section 4 and the store -----------------------------------------------------------------------
def unzstd(data):
    run = subprocess.run(["zstd", "-dc"], input=data, capture_output=True)
    return run.stdout if run.returncode == 0 else need(False, "zstd: " + run.stderr.decode().strip())
CRC = [reduce(lambda n, _: n >> 1 ^ 0x82F63B78 * (n & 1), range(8), byte) for byte in range(256)]
def crc32c(data):
    return reduce(lambda crc, byte: crc >> 8 ^ CRC[(crc ^ byte) & 255], data, 0xFFFFFFFF) ^ 0xFFFFFFFF

def frames(directory):  # (leaf, codec, body) of every leaf, in log order
    count = 0
    for segment in sorted(directory.glob("segments/*.seg")):
        check(int(segment.stem) == count, f"{segment}: begins at leaf {int(segment.stem)}, not {count}")
        data, at = segment.read_bytes() + bytes(8), 0  # zeros behind the last frame are room for more
        end = len(data.rstrip(b"\0"))
        while at < end:
            length, crc = struct.unpack(">II", data[at:at + 8])
            rest, at = data[at + 8:at + 4 + length], at + 4 + length  # length counts the crc, too
            if not check(len(rest) == length - 4 > 2 and crc32c(rest) == crc, f"{segment}: bad frame at leaf {count}"):
                break
            split = 2 + int.from_bytes(rest[:2], "big")
            if split > 2:
                yield rest[2:split], rest[split], rest[split + 1:]
                count += 1

def node(left, right):
    return sha(b"\1" + left + right)
def root(hashes):
    half = 1 << max(len(hashes) - 1, 0).bit_length() >> 1
    return node(root(hashes[:half]), root(hashes[half:])) if half else hashes[0] if hashes else sha(b"")

def read_note(note, vkey):
    """The lines of a note's text, once the key of the vkey is seen to have signed them; else none."""
    name, key_id, key = re.fullmatch(r"([^+]+)\+([0-9a-f]{8})\+(.+)\s*", vkey).groups()
    key, (text, _, signatures) = base64.b64decode(key), note.rpartition("\n\n")
    for who, blob in ((line.split(" ")[1], base64.b64decode(line.split(" ")[2])) for line in signatures.splitlines()):
        message, signature = (text + "\n").encode(), blob[4:]
        if who == name and blob[:4].hex() == key_id == sha(name.encode() + b"\n" + key)[:4].hex():
            if key[0] == 4:  # a cosignature: its time is before the signature, and signed
                message = b"cosignature/v1\ntime %d\n" % int.from_bytes(blob[4:12], "big") + message
            return text.split("\n") if check(signed(key[1:], blob[-64:], message), f"{name}: bad signature") else []
    return [] if check(False, f"{name}: did not sign, or its vkey is not its own") else []

class Log:
    """A collector's data directory: its leaves hashed and taken apart, its root and checkpoint checked."""
    def __init__(self, directory, vkeys):
        self.hashes, self.sessions, self.genesis, self.batches, self.stated = [], {}, {}, [], []
        for leaf, codec, body in frames(directory):
            try:
                self.leaf(Bytes(leaf), codec, body)
            except (ValueError, struct.error) as error:
                check(False, f"{directory.name}: leaf {len(self.hashes)}: {error}")
            self.hashes.append(sha(b"\0" + leaf))
        note, text = (directory / "checkpoint").read_text(), []
        for vkey in vkeys or [(directory / "vkey").read_text()]:
            text = read_note(note, vkey) if vkey.startswith(note.split("\n")[0] + "+") else text
        self.origin, self.size, told = (text[0], int(text[1]), base64.b64decode(text[2])) if text else ("?", 0, b"")
        self.root = root(self.hashes[:self.size])
        check(self.size <= len(self.hashes) and self.root == told, f"{directory.name}: {len(self.hashes)} leaves do "
              f"not give the root of a checkpoint of {self.size}, signed by a key that is known here")

    def leaf(self, b, codec, body):
        version, kind = b.num("B"), b.num("B")
        body = None if codec > 1 or codec and not shutil.which("zstd") else unzstd(body) if codec else body
        need(version == 1, "another version")
        if kind == 1:
            session, self.sessions[session] = read_session(b)
            _attested, digest, _times = (b.num("B"), [b.text() for _ in range(4)]), b.take(32), b.last(16)
            need(body is None or sha(body) == digest, "another token than it names")
        elif kind == 2:
            identity, session, _time = read_identity(b), b.take(32), b.last(8)
            self.genesis[chain_id(identity)] = identity
            need(self.sessions.get(session, NOBODY).pod == identity[:4], "a chain of another pod than its session")
        elif kind == 3:
            batch, _time = read_batch(b.take(226), self.sessions), b.last(8)
            recs = list(read_body(body)) if body is not None else []
            links, last = links_of(batch.chain, recs, batch.first, batch.prev), batch.first + batch.count - 1
            need(body is None or len(recs) == batch.count and batch.flags == (says(recs[-1]) == "end") and
                 (links[last], recs[0].time, recs[-1].time, len(body)) == batch[6:10],
                 f"links, times, length, count or FINAL of the batch at {batch.first} do not hold over its body")
            pod = self.genesis[batch.chain][:4] if batch.chain in self.genesis else None
            need(pod == self.sessions[batch.session].pod, "a batch of another pod's chain, or of one not introduced")
            self.batches.append((batch, recs, links | {last: batch.last}))
        elif kind == 5:
            (count, length, digest), beats, n = (b.num("I"), b.num("I"), b.take(32)), Bytes(body or b""), 0
            while beats.at < len(beats.data):
                n, self.stated = n + 1, self.stated + read_heartbeat(beats.take(beats.num("H")), self.sessions)[0]
            need(body is None or (n, len(body), sha(body)) == (count, length, digest), "other heartbeats than it names")

def name(i):
    return "/".join(i[1:3] + i[4:5]) + (f" ({i.incarnation})" if i.incarnation else "")
def join(logs):
    """{chain: (identity, {seq: link}, {seq: record}, next seq)} over all logs."""
    chains = {chain: (identity, {-1: chain}, {}, 0) for log in logs for chain, identity in log.genesis.items()}
    for batch, some, stated in sorted((b for log in logs for b in log.batches), key=lambda b: b[0].first):
        identity, links, recs, after = chains[batch.chain]
        check(batch.first <= after, f"{name(identity)}: records {after} to {batch.first - 1} are nowhere")
        check(all(links.setdefault(n, a) == a for n, a in stated.items()), f"{name(identity)}: fork from {batch.first}")
        recs.update(enumerate(some, batch.first))
        chains[batch.chain] = identity, links, recs, max(after, batch.first + batch.count)
    for chain, seq, head in (s for log in logs for s in log.stated if s[0] in chains):
        identity, links, _recs, after = chains[chain]
        check(seq <= after and links.get(seq - 1, head) == head, f"{name(identity)}: a heartbeat has another {seq}")
    return chains

def compare(chains, files, logs):
    """Prints each chain, and whether it follows from the files."""
    for identity, links, recs, after in sorted(chains.values(), key=lambda c: c[0]):
        key, stored = identity[1:5], [recs[n] for n in range(after) if n in recs]
        newest = max(i for i, *_ in chains.values() if i[1:5] == key) == identity
        verdict = (f"{after - len(stored)} records cannot be read: not compared with the files" if len(stored) < after
                   else follow(identity, stored, files.get(key, []), newest)) if files else None
        check(not verdict, f"{name(identity)}: {verdict}")
        mark = "" if not files else "differs from the files" if verdict else "as the files"
        print(f"{name(identity):40} {after:9} records  {links[after - 1].hex()}  {mark}")
    excluded = {(*s.pod[1:], container) for log in logs for s in log.sessions.values() for container in s.excluded}
    for key in files.keys() - excluded - {i[1:5] for i, *_ in chains.values()}:
        check(False, f"{'/'.join(key)}: has log files and no chain")

def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in "--logs", "--data":
        flags.add_argument(flag, metavar="DIR", type=Path, nargs="+", action="extend", default=[])
    for flag in "--trace", "--expect", "--verify-json", "--vectors":
        flags.add_argument(flag, metavar="FILE", type=Path)
    flags.add_argument("--vkey", action="append", default=[])
    a = flags.parse_args()
    a.logs or a.data or a.trace or a.vectors or flags.error("name --logs, --data, --trace or --vectors")
    if a.vectors:
        __import__("vectors").run(json.loads(a.vectors.read_text()), sys.modules[__name__])
    files = read_trace(a.trace) if a.trace else {}
    for directory in a.logs:
        files |= read_logs(directory)
    logs = [Log(directory, a.vkey) for directory in a.data]
    chains = join(logs)
    for log in logs:
        print(f"{log.origin:40} {log.size:9} leaves   {base64.b64encode(log.root).decode()}")
    if logs:
        compare(chains, files, logs)
    links = {chain.hex(): links for chain, (_, links, *_) in chains.items()}
    for key, f in files.items() if not logs else ():
        identity = Identity("", *key, 0)
        some = links[chain_id(identity).hex()] = links_of(chain_id(identity), records(f))
        print(f"{name(identity):40} {len(some) - 1:9} records  {some[len(some) - 2].hex()}")
    for key, told in json.loads(a.expect.read_text()).items() if a.expect else ():
        head = links.get(told["chain_id"], {}).get(told["records"] - 1, b"").hex()
        check(head == told["link"], f"{key}: link {told['records'] - 1} is {head or 'nowhere'}, not {told['link']}")
    if a.verify_json:
        report, ours = json.loads(a.verify_json.read_text()), {log.origin: (log.size, log.root.hex()) for log in logs}
        told = {log["origin"]: (log["size"], base64.b64decode(log["root"]).hex()) for log in report["logs"]}
        ours |= {chain.hex(): (after, links[after - 1].hex()) for chain, (_, links, _, after) in chains.items()}
        told |= {c["chain_id"]: (c["records"], c["head"] or c["chain_id"]) for c in report["chains"]}
        for key in sorted(ours.keys() | told.keys()):
            check(ours.get(key) == told.get(key), f"{key}: {ours.get(key)} here, {told.get(key)} in {a.verify_json}")
    print(*(f"disagrees: {text}" for text in wrong), f"{len(wrong)} disagree" if wrong else "all agree", sep="\n")
    return bool(wrong)

if __name__ == "__main__":
    sys.exit(main())

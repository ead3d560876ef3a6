"""The format's test vectors, by the second implementation in heads.py: `heads.py --vectors vectors.json` runs this.

What is needed for the vectors alone is here: proofs, cosignatures, receipts, the proof of one record.
"""
import base64
import hashlib
import struct


def split(n):
    """The largest power of two below n."""
    return 1 << (n - 1).bit_length() - 1


def inclusion(h, m, hashes):
    """RFC 6962, 2.1.1."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if m < k:
        return inclusion(h, m, hashes[:k]) + [h.root(hashes[k:])]
    return inclusion(h, m - k, hashes[k:]) + [h.root(hashes[:k])]


def consistency(h, m, hashes, whole=True):
    """RFC 6962, 2.1.2."""
    if m == len(hashes):
        return [] if whole else [h.root(hashes)]
    k = split(len(hashes))
    if m <= k:
        return consistency(h, m, hashes[:k], whole) + [h.root(hashes[k:])]
    return consistency(h, m - k, hashes[k:], False) + [h.root(hashes[:k])]


def root_by_proof(h, index, size, leaf_hash, proof):
    """RFC 9162, 2.1.3.2: the other way round, from the leaf up."""
    fn, sn, at = index, size - 1, leaf_hash
    for p in proof:
        if fn & 1 or fn == sn:
            at = h.node(p, at)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            at = h.node(at, p)
        fn, sn = fn >> 1, sn >> 1
    return at if sn == 0 else None


def tile_path(level, n, width):
    path = f"{n % 1000:03}"
    while n := n // 1000:
        path = f"x{n % 1000:03}/{path}"
    return f"tile/{level}/{path}" + (f".p/{width}" if width < 256 else "")


def payload_is(payload, told):
    if isinstance(told, str):
        return payload.hex() == told
    return (len(payload), hashlib.sha256(payload).hexdigest()) == (told["length"], told["sha256"])


def files_of(h, case):
    for f in case["files"]:
        data = bytes.fromhex(f["hex"]) if "hex" in f else b"".join(bytes.fromhex(a) * n for a, n in f["runs"])
        yield h.File(int(f["name"].split(".")[0]), f["name"], data, [])


def run(v, h):
    """Checks all of `v` with the implementation `h`."""
    unhex = bytes.fromhex

    def same(what, ours, told):
        ours = ours.hex() if isinstance(ours, bytes) else ours
        h.check(ours == told, f"vector {what}: {ours} here")

    # sections 1 and 2
    chain = h.chain_id(h.read_identity(h.Bytes(unhex(v["genesis"]))))
    same("chain_id", chain, v["chain_id"])
    runs = [r.get("payload_repeat") or (r["payload"], 1) for r in v["records"]]
    recs = [h.Record(r["time"], r["source"], r["flags"], unhex(a) * n) for r, (a, n) in zip(v["records"], runs)]
    links = h.links_of(chain, recs)
    for n, told in enumerate(v["records"]):
        same(f"content {n}", h.tagged(b"content", b"\0", recs[n].payload), told["content"])
        same(f"link {n}", links[n], told["link"])
    body = lambda some: b"".join(struct.pack(">qBBI", *r[:3], len(r.payload)) + r.payload for r in some)
    same("body_of_records_0_to_2", body(recs[:3]), v["body_of_records_0_to_2"])
    same("sha256_of_body_of_records_3_to_6", h.sha(body(recs[3:])), v["sha256_of_body_of_records_3_to_6"])
    h.check(list(h.read_body(body(recs))) == recs, "vector bodies: read back otherwise")
    session_id, session = h.read_session(h.Bytes(unhex(v["session"])))
    same("session_id", session_id, v["session_id"])
    sessions = {session_id: session}
    for commitment, some, first in zip(v["commitments"].values(), (recs[:3], recs[3:]), (0, 3)):
        batch, last = h.read_batch(unhex(commitment), sessions), first + len(some) - 1
        ours = (int(last == 6), session_id, chain, first, len(some), links[first - 1], links[last],
                some[0].time, some[-1].time, len(body(some)))
        h.check(batch[:-1] == ours, f"vector commitment at {first}: {batch}")
    heartbeat = unhex(v["heartbeat"])
    stated, kept = h.read_heartbeat(heartbeat, sessions)
    h.check((chain, 3, links[2]) in stated, "vector heartbeat: does not state the head at 3")
    same("liveness_body", struct.pack(">H", len(heartbeat)) + heartbeat, v["liveness_body"])
    for key in v["weak_keys"]:
        h.check(not h.strong(unhex(key)), f"vector weak key {key}: taken")

    # sections 3 and 4
    leaves = [unhex(leaf) for leaf in v["leaves"]]
    hashes = [h.sha(b"\0" + leaf) for leaf in leaves]
    same("leaf_hashes", [leaf.hex() for leaf in hashes], v["leaf_hashes"])
    same("root", h.root(hashes), v["root"])
    same("entries_bundle", b"".join(struct.pack(">H", len(leaf)) + leaf for leaf in leaves), v["entries_bundle"])
    log_key = base64.b64decode(v["vkey"].rsplit("+", 1)[1])[1:]
    h.check(v["origin"].endswith("-" + h.sha(log_key).hex()[:8]), "vector origin: not its key's fingerprint")
    text = [v["origin"], str(len(leaves)), base64.b64encode(unhex(v["root"])).decode()]
    for vkey in (v["vkey"], v["witness_vkey"]):
        same(f"checkpoint under {vkey}", h.read_note(v["checkpoint"] + v["cosignature_line"], vkey), text)
    receipt = unhex(v["receipt_for_leaf_5"])
    told = b"\1" + h.sha(v["origin"].encode()) + struct.pack(">Q", 5) + hashes[5] + leaves[5][-8:]
    h.check(receipt[:-64] == told and h.signed(log_key, receipt[-64:], h.tagged(b"receipt", told)), "vector receipt")
    other = unhex(v["kept_receipt_of_another_log"])
    h.check((other[41:73], other[145:]) == (h.sha(b"\0\1\3" + other[145:] + other[73:81]), leaves[3][2:-8]) and
            [(h.sha(origin.encode()), r) for origin, r in kept] == [(other[1:33], other)], "vector kept receipt")
    statement, name = leaves[7], v["authority_vkey"].split("+")[0]
    said = h.tagged(b"statement", struct.pack(">H", len(v["origin"])), v["origin"].encode(), statement[2:-76])
    h.check(h.signed(base64.b64decode(v["authority_vkey"].rsplit("+", 1)[1])[1:], statement[-72:-8], said),
            f"vector authority: the statement is not signed by {name}")
    same("consistency 3 to 9", [p.hex() for p in consistency(h, 3, hashes)], v["consistency_proof_3_to_9"])

    big = [h.sha(b"\0" + struct.pack(">Q", n)) for n in range(1000)]
    for n, told in v["roots_of_big_tree"].items():
        same(f"root of {n}", h.root(big[:int(n)]), told)
    for key, told in v["consistency_proofs_of_big_tree"].items():
        old, new = map(int, key.split(","))
        same(f"consistency {key}", [p.hex() for p in consistency(h, old, big[:new])], told)
    for key, told in v["inclusion_proofs_of_big_tree"].items():
        index, size = map(int, key.split(","))
        same(f"inclusion {key}", [p.hex() for p in inclusion(h, index, big[:size])], told)
        same(f"root by inclusion {key}", root_by_proof(h, index, size, big[index], map(unhex, told)),
             h.root(big[:size]).hex())
    for key, told in v["tile_paths"].items():
        same(f"tile path {key}", tile_path(*map(int, key.split(","))), told)
    proof_of_record(v, h, sessions, recs[4])

    # section 1.1
    identity = h.Identity("", "ns", "pod", "uid", "c", 0)
    for case in v["files"]:
        ours = list(h.records(list(files_of(h, case)), case["chain_ends"]))
        held = [o[:3] == (t["time"], t["source"], t["flags"]) and payload_is(o.payload, t["payload"])
                for o, t in zip(ours, case["records"])]
        h.check(all(held) and len(ours) == len(case["records"]), f"vector files, {case['name']}: {ours}")
        same(f"files, {case['name']}", h.links_of(h.chain_id(identity), ours)[len(ours) - 1], case["head"])
        h.check(h.in_order(reversed(list(files_of(h, case)))) == list(files_of(h, case)), f"order of {case['name']}")
    print(f"vectors: {len(v['files'])} cases of files, {len(v['leaves'])} leaves, {len(v['records'])} records")


def proof_of_record(v, h, sessions, told):
    """The proof of one record: its batch's signature, its links, the leaf's inclusion, the checkpoint's signature."""
    head, _, checkpoint = v["tlog_proof_of_seq_4"].partition("\n\n")
    version, extra, index, *proof = head.split("\n")
    b = h.Bytes(base64.b64decode(extra.removeprefix("extra ")))
    _, leaf = h.need(b.num("B") == 1, "a proof of another version"), b.take(236)
    batch = h.read_batch(leaf[2:228], sessions)
    identity = h.Bytes(b.take(b.num("H")))
    chain, session = h.chain_id(h.read_identity(identity)), b.take(b.num("H"))
    n, links, shown = b.num("I"), [batch.prev], []
    for seq in range(batch.first, batch.first + batch.count):
        fields, form = b.take(14), b.num("B")
        payload = None if form else b.take(int.from_bytes(fields[-4:], "big"))
        shown.append(payload)
        content = b.take(32) if form else h.tagged(b"content", b"\0", payload)
        links.append(h.tagged(b"link", chain, struct.pack(">Q", seq), links[-1], fields, content))
    b.last(0)
    text = h.read_note(checkpoint, v["vkey"])
    root = root_by_proof(h, int(index.removeprefix("index ")), int(text[1]), h.sha(b"\0" + leaf),
                         map(base64.b64decode, proof))
    h.check(version == "c2sp.org/tlog-proof@v1" and chain == batch.chain and links[-1] == batch.last
            and h.tagged(b"session", session) == batch.session and root == base64.b64decode(text[2])
            and shown[n] == told.payload, "vector tlog_proof_of_seq_4")

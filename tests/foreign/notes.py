#!/usr/bin/python3
"""notes.py: is a signed note by these keys? Computed without Indelible, from the pages of C2SP signed-note and tlog-cosignature.

    notes.py NOTE VKEY...     every key must have signed the note, by a signature that holds
Exit 0: all have; 1: one has not, each on a line; 2: usage. Prints whose signature holds, and for a witness since when.
"""
import base64, hashlib, struct, sys
from pathlib import Path
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

def read_key(vkey):
    """Name, id, type and public key of a verifier key."""
    name, hexid, blob = vkey.strip().split("+", 2)
    blob = base64.b64decode(blob, validate=True)
    key_id = hashlib.sha256(name.encode() + b"\n" + blob).digest()[:4]
    if key_id.hex() != hexid or len(blob) != 33 or blob[0] not in (1, 4):
        raise ValueError(f"{vkey} is no verifier key")
    return name, key_id, blob[0], Ed25519PublicKey.from_public_bytes(blob[1:])

def read_note(note):
    """Text and signature lines (name, id, signature)."""
    text, lines = note.rsplit("\n\n", 1)
    signatures = []
    for line in lines.splitlines():
        dash, name, blob = line.split(" ")
        blob = base64.b64decode(blob, validate=True)
        if dash != "—":
            raise ValueError(f"{line!r} is no signature line")
        signatures.append((name, blob[:4], blob[4:]))
    return text + "\n", signatures

def signed_by(note, vkey):
    """When a key signed a note: seconds for a witness, 0 for a log; None if it has not, or badly."""
    name, key_id, kind, key = read_key(vkey)
    text, signatures = read_note(note)
    for by, by_id, signature in signatures:
        if (by, by_id) != (name, key_id):
            continue
        time, message = 0, text
        if kind == 4:
            (time,), signature = struct.unpack(">Q", signature[:8]), signature[8:]
            message = f"cosignature/v1\ntime {time}\n{text}"
        try:
            key.verify(signature, message.encode())
        except InvalidSignature:
            return None
        return time
    return None

def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    note, failed = Path(arguments[0]).read_text(encoding="utf-8"), 0
    for vkey in arguments[1:]:
        time = signed_by(note, vkey)
        failed |= time is None
        print(f"{vkey.split('+')[0]}: " + ("NO" if time is None else f"holds, at {time}" if time else "holds"))
    return failed

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

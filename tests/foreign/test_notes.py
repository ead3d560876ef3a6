"""Does notes.py see what it should? `python3 -m unittest` in this directory."""
import base64
import hashlib
import unittest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import notes

# The example of the documentation of chain::cosignature, made there with the seed 0x40, 0x41, …
TEXT = "0d1f5b1e-6f0c-4f7e-9b0a-2f3c4d5e6f70/audit/payments/0-24f6ed6a\n9\n5DtRp5dWd8MhtENAVg0g+LctpQ+9kIVlghpOvWYNG/Y=\n"
LINE = ("— witness.example/w1 tyurLgAAAABrA6FB9z2+RH5V3a2oMD1Xz7R15p/X6c+jj2cgqIGkHPsHlq4Q5UdXjOBPbFqthenQGgmDdDpR"
        "EX1Yh1wh9nUpwG9KDA==\n")


def vkey(name, kind, seed):
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = bytes([kind]) + public
    hexid = hashlib.sha256(name.encode() + b"\n" + blob).digest()[:4].hex()
    return f"{name}+{hexid}+{base64.b64encode(blob).decode()}"


class Notes(unittest.TestCase):
    WITNESS = vkey("witness.example/w1", 4, bytes(range(0x40, 0x60)))

    def test_a_cosignature_of_the_product_holds_and_says_when(self):
        self.assertEqual(notes.signed_by(f"{TEXT}\n{LINE}", self.WITNESS), 1_795_400_001)

    def test_a_cosignature_of_another_text_or_by_another_key_does_not(self):
        self.assertIsNone(notes.signed_by(f"{TEXT}\n{LINE}".replace("\n9\n", "\n8\n"), self.WITNESS))
        other = vkey("witness.example/w1", 4, bytes(32))
        self.assertIsNone(notes.signed_by(f"{TEXT}\n{LINE}", other))

    def test_a_key_whose_id_is_not_its_own_is_none(self):
        with self.assertRaises(ValueError):
            notes.read_key(self.WITNESS.replace("+b72bab2e+", "+00000000+"))


if __name__ == "__main__":
    unittest.main()

"""What a run with a planted fault must look like to count as one that saw it."""

import importlib.machinery
import importlib.util
import pathlib
import tempfile
import unittest

from rig import place

LOADER = importlib.machinery.SourceFileLoader("selftest", str(place.SOURCE / "selftest"))
selftest = importlib.util.module_from_spec(importlib.util.spec_from_loader("selftest", LOADER))
LOADER.exec_module(selftest)


def printed(**words):
    """What the suite prints, with what became of the cases."""
    rows = "".join(f"{name:<38} {7:>5} s  {word}\n" for name, word in words.items())
    return f"--- first: it works\nFAILED\n=== e2e\n{rows}{len(words)} cases, ? failed, 14 s\nerror: test failed\n"


class Judged(unittest.TestCase):
    def test_the_named_case_alone_must_be_red(self):
        self.assertIsNone(selftest.judged("second", printed(first="ok", second="FAILED")))
        self.assertIsNone(selftest.judged("second", printed(first="ok", second="FAILED", third="ok")))

    def test_another_red_case_is_named_also_beside_the_right_one(self):
        self.assertIn("first FAILED", selftest.judged("second", printed(first="FAILED")))
        self.assertIn("first FAILED", selftest.judged("second", printed(first="FAILED", second="FAILED")))
        self.assertIn("left out", selftest.judged("second", printed(first="left out: no node", second="FAILED")))

    def test_a_fault_that_no_case_sees_is_said(self):
        self.assertIn("UNSEEN: 2 cases", selftest.judged("second", printed(first="ok", second="ok")))
        self.assertIn("did not run", selftest.judged("second", printed(first="ok")))

    def test_a_suite_that_does_not_build_or_is_killed_has_seen_nothing(self):
        for text in ("", "error[E0425]: cannot find value\n", "--- second: it works\nFAILED second: no\n"):
            self.assertEqual(selftest.judged("second", text), "the suite did not run")


class Faults(unittest.TestCase):
    def fault(self, text):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "fault.patch"
            path.write_text(text)
            return selftest.case_of(path)

    def test_a_fault_names_one_case_of_the_core(self):
        self.assertEqual(self.fault("Words.\n\ncase: changed-byte\n\n--- a/x\n"), "changed-byte")
        for text in ("Words.\n", "case: covered\ncase: injection\n", "case: scaled\n", "case: nothing-of-that-name\n"):
            with self.assertRaises(place.Refused):
                self.fault(text)

    def test_a_fault_whose_surroundings_have_changed_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            tree = pathlib.Path(directory)
            fault = tree / "fault.patch"
            fault.write_text("Words.\n\ncase: covered\n\n--- a/x\n+++ b/x\n@@ -2,3 +2,3 @@\n one\n-two\n+six\n three\n")
            (tree / "x").write_text("zero\none\ntwo\nthree\nfour\n")
            selftest.apply(fault, tree)
            self.assertEqual((tree / "x").read_text(), "zero\none\nsix\nthree\nfour\n")
            with self.assertRaises(place.Refused):
                selftest.apply(fault, tree)


if __name__ == "__main__":
    unittest.main()

"""What the tests of following share."""

from importlib.util import find_spec

if find_spec("torch") is None or find_spec("transformers") is None:  # the extra is not installed
    collect_ignore_glob = ["test_*.py"]

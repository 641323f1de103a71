"""unpack_wheel.py WHEEL OUT PATTERN... : unpacks the members that match a pattern and no !PATTERN.

Each member is checked against the hash that the wheel's RECORD states. Needs only the standard library.
"""

import base64
import csv
import fnmatch
import hashlib
import io
import os
import sys
import zipfile

wheel, out, *patterns = sys.argv[1:]
include = [p for p in patterns if not p.startswith("!")]
exclude = [p[1:] for p in patterns if p.startswith("!")]


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


with zipfile.ZipFile(wheel) as z:
    (record,) = [n for n in z.namelist() if n.endswith(".dist-info/RECORD")]
    hashes = {row[0]: row[1] for row in csv.reader(io.TextIOWrapper(z.open(record), "utf-8"))}
    names = [n for n in z.namelist() if not n.endswith("/") and matches(n, include) and not matches(n, exclude)]
    if not names:
        sys.exit(f"{wheel} holds nothing that matches {patterns}")
    for name in names:
        path = os.path.join(out, name)
        if not os.path.realpath(path).startswith(os.path.realpath(out) + os.sep):
            sys.exit(f"{wheel}: {name} would leave the folder")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        digest = hashlib.sha256()
        with z.open(name) as source, open(path, "wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
        expected = "sha256=" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        if hashes.get(name) != expected:
            sys.exit(f"{wheel}: {name} is damaged: it does not have the hash that RECORD states")

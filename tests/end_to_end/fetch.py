"""Fetches a pinned npm package and unpacks some of its files: URL SHA512 DIRECTORY FILE..."""

import hashlib
import io
import sys
import tarfile
import urllib.request

url, digest, directory, *files = sys.argv[1:]
with urllib.request.urlopen(url, timeout=60) as answer:
    content = answer.read()
found = hashlib.sha512(content).hexdigest()
if found != digest:
    sys.exit(f"{url} has the digest {found}, not {digest}")
with tarfile.open(fileobj=io.BytesIO(content)) as archive:
    for name in files:
        member = archive.extractfile(f"package/data/{name}")
        with open(f"{directory}/{name}", "wb") as out:
            out.write(member.read())

"""Downloads a pinned package from a registry and extracts some of its files: URL SHA512 DIRECTORY FILE...

A file is named by the end of its path in the package. Zip files are extracted, too.
"""

import hashlib
import io
import sys
import tarfile
import urllib.request
import zipfile

url, digest, directory, *files = sys.argv[1:]
with urllib.request.urlopen(url, timeout=60) as answer:
    content = answer.read()
found = hashlib.sha512(content).hexdigest()
if found != digest:
    sys.exit(f"{url} has the digest {found}, not {digest}")
with tarfile.open(fileobj=io.BytesIO(content)) as archive:
    for name in files:
        (member,) = (path for path in archive.getnames() if path.endswith(f"/data/{name}"))
        content = archive.extractfile(member).read()
        if name.endswith(".zip"):
            zipfile.ZipFile(io.BytesIO(content)).extractall(directory)
        else:
            with open(f"{directory}/{name}", "wb") as out:
                out.write(content)

"""mark.py ARCHIVE PATH: marks a program in an image with CAP_NET_BIND_SERVICE, permitted and not in
effect, as `setcap cap_net_bind_service=p` does for a file. ARCHIVE is a docker archive of one layer.
"""

import hashlib
import io
import json
import os
import struct
import sys
import tarfile

# struct vfs_cap_data of revision 2: a permitted set and an inheritable set, each in two halves.
REVISION_2, NET_BIND_SERVICE = 0x02000000, 1 << 10
CAPABILITY = struct.pack("<5I", REVISION_2, NET_BIND_SERVICE, 0, 0, 0)


def main(archive, path):
    with tarfile.open(archive) as image:
        manifest = json.load(image.extractfile("manifest.json"))
        config = json.load(image.extractfile(manifest[0]["Config"]))
        layer = mark(image.extractfile(manifest[0]["Layers"][0]), path.lstrip("/"))

    digest = hashlib.sha256(layer).hexdigest()
    config["rootfs"]["diff_ids"] = [f"sha256:{digest}"]
    config = json.dumps(config).encode()
    manifest[0]["Config"] = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest[0]["Layers"] = [f"{digest}/layer.tar"]
    files = {manifest[0]["Config"]: config, manifest[0]["Layers"][0]: layer, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(archive + ".new", "w") as image:
        for name, content in files.items():
            image.addfile(entry(name, content), io.BytesIO(content))
    os.replace(archive + ".new", archive)


def mark(layer, path):
    written = io.BytesIO()
    with tarfile.open(fileobj=layer) as old, tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in old:
            if member.name == path:
                member.pax_headers["SCHILY.xattr.security.capability"] = CAPABILITY.decode("ascii")
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    return written.getvalue()


def entry(name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info


if __name__ == "__main__":
    main(*sys.argv[1:])

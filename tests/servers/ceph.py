"""Ceph RGW, the second S3 server of the tests: Debian's packages, one monitor, one OSD in memory, one gateway."""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

from .process import HOST, Server, find_program, first_number, free_ports, serve

PROGRAMS = ["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"]
PACKAGES = "radosgw ceph-mon ceph-osd ceph-common"

CONFIG = """
[global]
fsid={fsid}
mon host=[v1:{host}:{mon_port}]
mon initial members=a
auth cluster required=none
auth service required=none
auth client required=none
osd pool default size=1
osd pool default min size=1
osd pool default pg num=8
osd pool default pgp num=8
osd pool default pg autoscale mode=off
osd crush chooseleaf type=0
mon allow pool size one=true
mon data avail crit=1
mon data avail warn=1
mon max pg per osd=1000
paxos propose interval=0.05
paxos min wait=0.01
ms bind msgr2=false
ms bind port min={osd_port}
ms bind port max={osd_port_max}
run dir={directory}
admin socket={directory}/$name.asok
log file={directory}/$name.log
pid file={directory}/$name.pid
crash dir={directory}
[mon.a]
mon data={directory}/mon
public addr={host}
[osd.0]
osd data={directory}/osd
osd objectstore=memstore
osd crush update on start=false
osd class update on start=false
memstore device bytes=2147483648
public addr={host}
cluster addr={host}
[client.rgw]
rgw frontends=beast endpoint={host}:{port}
rgw data={directory}/rgw
rgw enable usage log=false
rgw thread pool size=32
"""


class CephRGW(Server):
    """Ceph's object gateway: an S3 implementation that shares no code with SeaweedFS."""

    name = "Ceph RGW"

    @classmethod
    def unavailable(cls) -> str | None:
        if not sys.platform.startswith("linux"):
            return "runs on Linux only"
        missing = [program for program in PROGRAMS if not find_program(program)]
        return f"no program {missing[0]!r}; apt-get install --no-install-recommends {PACKAGES}" if missing else None

    @classmethod
    def version(cls) -> str:
        return first_number(str(find_program("radosgw")), "--version")

    def _launch(self) -> None:
        programs = {program: str(find_program(program)) for program in PROGRAMS}
        config, monmap = str(self.directory / "ceph.conf"), str(self.directory / "monmap")
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        self.port, mon_port, osd_port = free_ports(3)
        text = CONFIG.format(
            fsid=fsid,
            host=HOST,
            port=self.port,
            mon_port=mon_port,
            osd_port=osd_port,
            osd_port_max=osd_port + 500,
            directory=self.directory,
        )
        (self.directory / "ceph.conf").write_text(text)
        for part in ("mon", "osd", "rgw"):
            (self.directory / part).mkdir()

        address = f"[v1:{HOST}:{mon_port}]"
        self._run(programs["monmaptool"], "--create", "--clobber", "--addv", "a", address, "--fsid", fsid, monmap)
        mon = [programs["ceph-mon"], "-i", "a", "-c", config]
        self._run(*mon, "--mkfs", "--monmap", monmap)
        self._spawn(*mon, "-f", log="mon.out.log")

        # The OSD would do the second itself, and dies now and then, for it may ask before it knows the cluster's id.
        self._run(programs["ceph"], "-c", config, "osd", "new", osd)
        self._run(programs["ceph"], "-c", config, "osd", "crush", "add", "osd.0", "1", "root=default", "host=a")
        storage = [programs["ceph-osd"], "-i", "0", "-c", config]
        self._run(*storage, "--mkfs", "--osd-uuid", osd)
        self._spawn(*storage, "-f", log="osd.out.log")

        gateway = ["-n", "client.rgw", "-c", config]
        self._spawn(programs["radosgw"], *gateway, "-f", log="rgw.out.log")
        for name, keys in {"admin": self.admin, "restricted": self.restricted, "stranger": self.stranger}.items():
            user = ["user", "create", "--uid", name, "--display-name", name]
            user += ["--access-key", keys.access_key, "--secret-key", keys.secret_key]
            self._run(programs["radosgw-admin"], *gateway, *user)

    def make_bucket(self) -> str:
        """Create a bucket in which the restricted user may get, put and delete objects; return its name."""
        bucket = super().make_bucket()
        self._client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(restricted_policy(bucket)))
        return bucket


def restricted_policy(bucket: str) -> dict[str, Any]:
    """Return the bucket policy that gives the user ``restricted`` its rights."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["arn:aws:iam:::user/restricted"]},
        "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


if __name__ == "__main__":
    sys.exit(serve(CephRGW))

"""Litestream's restore from a bucket that is far: what one would do by hand. The
bucket is versitygw's (scripts/s3-gateway.sh), where Go can build it."""
import os
import subprocess
import time
import urllib.parse

import common
from peers import litestream

GATEWAY = os.path.join(common.HERE, "..", "scripts", "s3-gateway.sh")
CONFIG = """
access-key-id: %(AWS_ACCESS_KEY_ID)s
secret-access-key: %(AWS_SECRET_ACCESS_KEY)s
dbs:
  - path: %(path)s
    replicas:
      - type: s3
        endpoint: %(endpoint)s
        force-path-style: true
        region: %(AWS_REGION)s
        bucket: %(RAMET_TEST_S3_BUCKET)s
        path: litestream
"""


class Gateway:
    """An S3 service; `environment` None: it can't be had. `folder`: where it keeps
    its files."""

    def __init__(self, folder=None):
        env = dict(os.environ, TMPDIR=folder) if folder else None
        self.process = subprocess.Popen(
            [GATEWAY, "versitygw"], stdin=subprocess.PIPE, env=env,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        found = {}
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
            name, _, value = line.strip().partition("=")
            found[name] = value
        self.environment = found if "RAMET_TEST_S3" in found else None

    def port(self):
        return urllib.parse.urlsplit(self.environment["RAMET_TEST_S3"]).port

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def configure(work, database, gateway, port):
    path = os.path.join(work, "litestream-%d.yml" % port)
    with open(path, "w", encoding="utf-8") as out:
        out.write(CONFIG % dict(gateway.environment, path=database,
                                endpoint="http://127.0.0.1:%d" % port))
    return path


def environment(gateway):
    """Its SDK won't start with a bundle of authorities."""
    env = dict(os.environ, **gateway.environment)
    env.pop("AWS_CA_BUNDLE", None)
    return env


def replicate(work, database, gateway):
    """All of it is in the bucket; False: it can't be."""
    binary = litestream.find()
    if binary is None:
        return False
    with subprocess.Popen(
            [binary, "replicate", "-config",
             configure(work, database, gateway, gateway.port())],
            env=environment(gateway), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True) as process:
        done = any("snapshot written" in line for line in process.stdout)
        time.sleep(2)  # and the first of its log
        process.terminate()
    return done


def restore(work, database, gateway, port, timeout):
    """Seconds, through `port`."""
    began = time.perf_counter()
    subprocess.run(
        [litestream.find(), "restore", "-config",
         configure(work, database, gateway, port), "-o",
         os.path.join(work, "restored.db"), database],
        env=environment(gateway), check=True, timeout=timeout,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began

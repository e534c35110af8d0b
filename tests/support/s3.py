"""A bucket as a test sees it from outside: a client of S3 of a few lines, that
shares nothing with the one under test. Where it is stands in the environment
(docs/testing.md, "On real object storage")."""
import atexit
import base64
import hashlib
import hmac
import http.client
import os
import shutil
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree as etree

SKIPPED = 77  # what ctest takes for it


def need():
    """Ends the test program, as skipped, where there is no S3. That the bucket
    was tried out is kept for as long as the program runs, and not in the home of
    whoever runs it."""
    if not os.environ.get("RAMET_TEST_S3"):
        print("SKIPPED: there is no S3 here; './dev s3 COMMAND' brings one")
        sys.exit(SKIPPED)
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="ramet-s3-cache-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"])


class Bucket:
    """What is under `prefix` in the bucket for tests."""

    def __init__(self, prefix):
        self.at = urllib.parse.urlsplit(os.environ["RAMET_TEST_S3"])
        self.name = os.environ["RAMET_TEST_S3_BUCKET"]
        self.prefix = prefix + "/"

    def url(self):
        return "s3://%s/%s" % (self.name, self.prefix[:-1])

    def keys(self, part=""):
        """Those below the prefix that contain `part`, in order."""
        found, token = [], None
        while True:
            query = {"list-type": "2", "prefix": self.prefix}
            if token:
                query["continuation-token"] = token
            root = etree.fromstring(self.request("GET", "", query=query))
            for item in root.iter():
                if item.tag.endswith("}Key"):
                    found.append(item.text[len(self.prefix):])
            token = next((item.text for item in root.iter() if
                          item.tag.endswith("}NextContinuationToken")), None)
            if not token:
                return sorted(key for key in found if part in key)

    def get(self, key):
        return self.request("GET", self.prefix + key)

    def put(self, key, data):
        self.request("PUT", self.prefix + key, data)

    def remove(self, key):
        self.request("DELETE", self.prefix + key)

    def clear(self):
        for key in self.keys():
            self.remove(key)

    def request(self, method, key, body=b"", query=None):
        path = urllib.parse.quote("/%s/%s" % (self.name, key), safe="/-_.~")
        text = "&".join("%s=%s" % (urllib.parse.quote(name, safe="-_.~"),
                                   urllib.parse.quote(value, safe="-_.~"))
                        for name, value in sorted((query or {}).items()))
        connection = http.client.HTTPConnection(self.at.netloc, timeout=60)
        connection.request(method, path + ("?" + text if text else ""), body,
                           self.signed(method, path, text, body))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status >= 300:
            raise AssertionError("%s %s: %d %s" % (method, key, answer.status,
                                                   data[:200]))
        return data

    def signed(self, method, path, query, body):
        """The headers of a request under AWS's Signature Version 4."""
        day, region = time.strftime("%Y%m%d", time.gmtime()), \
            os.environ["AWS_REGION"]
        headers = {"host": self.at.netloc,
                   "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
                   # Some demand it where a bucket is configured.
                   "content-md5": base64.b64encode(
                       hashlib.md5(body).digest()).decode(),
                   "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ",
                                               time.gmtime())}
        names = ";".join(sorted(headers))
        request = "\n".join([method, path, query] +
                            ["%s:%s" % item for item in
                             sorted(headers.items())] +
                            ["", names, headers["x-amz-content-sha256"]])
        scope = "%s/%s/s3/aws4_request" % (day, region)
        to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope,
                             hashlib.sha256(request.encode()).hexdigest()])
        key = b"AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"].encode()
        for part in (day, region, "s3", "aws4_request", to_sign):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        headers["authorization"] = (
            "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, "
            "Signature=%s" % (os.environ["AWS_ACCESS_KEY_ID"], scope, names,
                              key.hex()))
        del headers["host"]  # http.client's own
        return headers

"""A bucket where memory is short (test_starved.c), on a service in this process
(tests/support/fake_s3.py), for each way in which keys can be had; and the tests of
every store (test_objstore.c) on it.

usage: test_starved.py PROGRAM OBJSTORE_PROGRAM
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "support"))
from fake_s3 import FakeS3  # noqa: E402

STARVED, OBJSTORE = sys.argv[1:3]
RULES = (b"<LifecycleConfiguration><Rule><ID>old things go</ID><Prefix></Prefix>"
         b"<Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule>"
         b"</LifecycleConfiguration>")
KEYS = json.dumps({"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "T",
                   "Expiration": "2099-01-01T00:00:00Z"}).encode()
WEB = (b"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>"
       b"<Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>s"
       b"</SecretAccessKey><SessionToken>t</SessionToken>"
       b"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
       b"</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")
ROLES = "/latest/meta-data/iam/security-credentials/"


class Starved(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.fake, self.keys = FakeS3(page=5), FakeS3()
        for fake in (self.fake, self.keys):
            self.addCleanup(fake.stop)
        self.fake.objects[""] = RULES
        self.keys.extra = {
            ("GET", "/creds"): lambda *_: KEYS,
            ("POST", "/"): lambda *_: WEB,
            ("PUT", "/latest/api/token"): lambda *_: b"token",
            ("GET", ROLES): lambda *_: b"role\n",
            ("GET", ROLES + "role"): lambda *_: KEYS}

    def run_with(self, words, **environment):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("AWS_", "RAMET_"))}
        env.update(HOME=self.dir.name, RAMET_S3_HEDGE="off",
                   AWS_EC2_METADATA_DISABLED="true",
                   STARVED_QUERY="endpoint=" + self.fake.url)
        env.update(environment)
        done = subprocess.run(words, env=env, capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def file(self, name, text):
        path = os.path.join(self.dir.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_keys_of_the_environment(self):
        self.run_with([STARVED], AWS_ACCESS_KEY_ID="AK",
                      AWS_SECRET_ACCESS_KEY="SK")

    def test_keys_of_a_container(self):
        self.run_with(
            [STARVED, "open"],
            AWS_CONTAINER_CREDENTIALS_FULL_URI=self.keys.url + "/creds",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=self.file("token", "t\n"))

    def test_keys_of_a_machine(self):
        self.run_with([STARVED, "open"], AWS_EC2_METADATA_DISABLED="false",
                      AWS_EC2_METADATA_SERVICE_ENDPOINT=self.keys.url)

    def test_keys_of_a_web_identity(self):
        self.run_with([STARVED, "open"], AWS_ROLE_ARN="arn:aws:iam::1:role/r",
                      AWS_WEB_IDENTITY_TOKEN_FILE=self.file("jwt", "a"),
                      AWS_ENDPOINT_URL_STS=self.keys.url)

    def test_every_store__on_a_bucket(self):
        said = self.run_with([OBJSTORE], AWS_ACCESS_KEY_ID="AK",
                             AWS_SECRET_ACCESS_KEY="SK",
                             RAMET_TEST_S3=self.fake.url,
                             RAMET_TEST_S3_BUCKET="bucket")
        self.assertNotIn("skipped", said)


if __name__ == "__main__":
    del sys.argv[1:3]
    unittest.main()

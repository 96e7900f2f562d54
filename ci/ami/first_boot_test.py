"""First boot against a metadata service of our own, which wants a token for everything: what is taken over, what is refused.

KV_SERVER names the program that judges the configuration, and KV_CONFIG_FILE the configuration as it is packaged.
"""

import email.mime.multipart
import email.mime.text
import gzip
import json
import os
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

import imds

ROOT = Path(__file__).resolve().parents[2]
FIRST_BOOT = ROOT / "ami/files/first-boot"
SERVER = os.environ["KV_SERVER"]
PACKAGED = Path(os.environ["KV_CONFIG_FILE"])

class FirstBoot(unittest.TestCase):
    def setUp(self):
        self.service = imds.start("127.0.0.1", 0)
        self.folder = Path(tempfile.mkdtemp(prefix="kv-first-boot."))
        self.etc = self.folder / "etc"
        self.etc.mkdir()
        shutil.copy(PACKAGED, self.etc / "kv-cache.toml")
        os.chmod(self.etc / "kv-cache.toml", 0o640)
        self.before = (self.etc / "kv-cache.toml").read_bytes()

    def tearDown(self):
        self.service.shutdown()
        self.service.server_close()
        shutil.rmtree(self.folder)

    def boot(self, user_data=None, service=None):
        """Runs it once; its exit code."""
        self.service.user_data = user_data.encode() if isinstance(user_data, str) else user_data
        address = service or f"http://127.0.0.1:{self.service.server_port}"
        command = [FIRST_BOOT, "--imds", address, "--tries", "2", "--etc", self.etc, "--server", SERVER]
        command += ["--state", self.folder / "state", "--log", self.folder / "log", "--cloud-init", self.folder / "cloud"]
        # A proxy must not be asked, whatever the environment says.
        environment = {"PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:9"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        self.said = done.stdout + done.stderr
        return done.returncode

    def report(self):
        return json.loads((self.folder / "log/first-boot.json").read_text())

    def config(self):
        return (self.etc / "kv-cache.toml").read_text()

    def effective(self):
        """What the server itself makes of the configuration."""
        command = [SERVER, "--config", self.etc / "kv-cache.toml", "--print-config"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def assert_applied(self, user_data):
        self.assertEqual(self.boot(user_data), 0, self.said)
        lines = self.config().split("\n")
        self.assertIn('max-memory = "96MB"', lines)
        self.assertIn("threads = 2", lines)
        self.assertRegex(self.effective(), r"(?m)^threads = 2\b")
        self.assertEqual(self.report()["applied"], {"memory": "96MB", "threads": "2"})
        self.assertEqual(self.service.without_token, 0)

    def test_plain_settings_are_taken_over(self):
        self.assert_applied("[kv-cache]\nmemory = 96MB\n# more would do no good\nthreads = 2\n")

    def test_the_header_may_be_missing_and_values_quoted(self):
        self.assert_applied("memory='96MB'\r\nthreads=\"2\"\r\n")

    def test_cloud_config_keeps_its_own(self):
        self.assert_applied("#cloud-config\npackages: [htop]\nkv_cache:\n  memory: 96MB\n  threads: 2\nruncmd:\n - reboot\n")

    def test_gzipped(self):
        self.assert_applied(gzip.compress(b"memory = 96MB\nthreads = 2\n"))

    def test_a_part_of_a_multipart_message(self):
        message = email.mime.multipart.MIMEMultipart()
        message.attach(email.mime.text.MIMEText("#!/bin/sh\nmemory=1\n", "x-shellscript"))
        message.attach(email.mime.text.MIMEText("[kv-cache]\nmemory = 96MB\nthreads = 2\n", "x-kv-cache"))
        self.assert_applied(message.as_bytes())

    def test_settings_of_the_file_are_replaced_not_doubled(self):
        path = self.etc / "kv-cache.toml"
        path.write_text('max-memory = "64MB"\nthreads = 1\n' + "port = 7999\n")
        self.assert_applied("memory = 96MB\nthreads = 2\n")
        self.assertEqual(self.config().count("max-memory"), 1)
        self.assertIn("port = 7999", self.config())

    def test_modes_are_kept_and_the_password_is_in_neither_file_that_all_may_read(self):
        password = "correct.horse.battery"
        self.assertEqual(self.boot(f"memory = 96MB\nrequirepass = {password}\n"), 0, self.said)
        self.assertEqual((self.etc / "kv-cache.env").read_text(), f"KV_REQUIREPASS={password}\n")
        for name in ("kv-cache.toml", "kv-cache.env"):
            self.assertEqual(stat.S_IMODE((self.etc / name).stat().st_mode), 0o640, name)
        self.assertEqual(sorted(f.name for f in self.etc.iterdir()), ["kv-cache.env", "kv-cache.toml"])
        self.assertNotIn(password, json.dumps(self.report()) + self.said + self.config())

    def test_what_does_not_fit_is_refused_whole(self):
        trap = self.folder / "trap"
        for bad in (
            f"memory=$(touch {trap})",
            f"memory=`touch {trap}`",
            f"memory=8GB; touch {trap}",
            f"memory=8GB\nthreads=2 && touch {trap}",
            "memory = 8GB\"\nport = 1",
            "memory = ''",
            "memory = -1",
            "memory = 96MB\nmemory = 97MB",
            "threads = 0",
            "threads = 2\nLD_PRELOAD = /tmp/x.so",
            "threads = 2\nPATH=/tmp",
            "requirepass = short",
            "requirepass = sixteen%letters%and",
            f"eviction = lru' ; touch {trap} ; '",
            "threads = 2\n[other]\nmemory = 96MB",
            "threads = 2\nnonsense",
            f"#cloud-config\nkv_cache:\n  memory: !!python/object/apply:os.system ['touch {trap}']\n",
            "#cloud-config\nkv_cache: {memory: 96MB}\n",
            # Fits the pattern; the server itself knows better.
            "memory = 1B\nthreads = 2",
            gzip.compress(b"memory = 96MB\n")[:-9],
            gzip.compress(b"memory = 96MB\n" + b"#" * 10_000_000),
        ):
            with self.subTest(bad=bad[:60]):
                shutil.rmtree(self.folder / "state", ignore_errors=True)
                self.assertEqual(self.boot(bad), 1, self.said)
                self.assertTrue(self.report()["refused"])
                self.assertEqual(self.report()["applied"], {})
                self.assertEqual((self.etc / "kv-cache.toml").read_bytes(), self.before)
                self.assertEqual([f.name for f in self.etc.iterdir()], ["kv-cache.toml"])
                self.assertFalse(trap.exists())

    def test_user_data_for_others_is_left_alone(self):
        for other in (None, "", "#!/bin/sh\nmemory=1\n", "#cloud-config\nruncmd: [true]\n", "#include\nhttps://example.com/x\n", b"\xff\xfe\0"):
            with self.subTest(other=other):
                shutil.rmtree(self.folder / "state", ignore_errors=True)
                self.assertEqual(self.boot(other), 0, self.said)
                self.assertEqual((self.etc / "kv-cache.toml").read_bytes(), self.before)
                self.assertEqual(self.report()["applied"], {})

    def test_a_service_without_tokens_is_asked_nothing(self):
        self.service.has_tokens = False
        self.assertEqual(self.boot("memory = 96MB"), 0, self.said)
        self.assertEqual([asked for asked in self.service.asked if asked.startswith("GET")], [])
        self.assertEqual((self.etc / "kv-cache.toml").read_bytes(), self.before)

    def test_once_for_each_instance(self):
        self.assert_applied("memory = 96MB\nthreads = 2\n")
        self.assertEqual(self.boot("threads = 3\n"), 0)
        self.assertIn("\nthreads = 2\n", self.config())
        # An image made of this instance: what the first was told is not for the second.
        self.service.instance = "i-0fedcba9876543210"
        self.assertEqual(self.boot("threads = 3\n"), 0)
        self.assertIn("\nthreads = 3\n", self.config())
        for gone in ("\nthreads = 2\n", "\nmax-memory = "):
            self.assertNotIn(gone, self.config())
        self.service.instance = "i-0a5a5a5a5a5a5a5a5"
        self.assertEqual(self.boot(), 0)
        self.assertEqual(self.config().rstrip("\n"), self.before.decode().rstrip("\n"))

    def test_elsewhere_cloud_init_has_the_user_data(self):
        cloud = self.folder / "cloud"
        (cloud / "data").mkdir(parents=True)
        (cloud / "instance").mkdir()
        (cloud / "data/instance-id").write_text("nocloud-1\n")
        (cloud / "instance/user-data.txt").write_text("#cloud-config\nkv_cache:\n  threads: 2\n")
        self.assertEqual(self.boot(service="http://127.0.0.1:9"), 0, self.said)
        self.assertEqual((self.report()["source"], self.report()["instance"]), ("cloud-init", "nocloud-1"))
        self.assertIn("\nthreads = 2\n", self.config())


if __name__ == "__main__":
    unittest.main()

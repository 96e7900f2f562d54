"""A metadata service as an EC2 instance with HttpTokens=required has it: nothing without a token.

    imds.py ADDRESS PORT USER-DATA-FILE     serves that until it is killed
"""

import http.server
import sys
import threading
from pathlib import Path

TOKEN = "AQAEAtest=="
INSTANCE = "i-0123456789abcdef0"


class Metadata(http.server.BaseHTTPRequestHandler):
    """Remembers in its server what it was asked, and how often without the token."""

    def answer(self, code, body=b""):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        self.server.asked.append("PUT " + self.path)
        if not self.server.has_tokens:
            return self.answer(404)
        seconds = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "0"))
        if self.path != "/latest/api/token" or not 1 <= seconds <= 21600:
            return self.answer(400)
        return self.answer(200, TOKEN.encode())

    def do_GET(self):
        self.server.asked.append("GET " + self.path)
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self.server.without_token += 1
            return self.answer(401)
        if self.path == "/latest/meta-data/instance-id":
            return self.answer(200, self.server.instance.encode())
        if self.path == "/latest/user-data" and self.server.user_data is not None:
            return self.answer(200, self.server.user_data)
        return self.answer(404)

    def log_message(self, *_):
        pass


def start(address, port):
    """A service in a thread of its own; what it answers are attributes of what is returned."""
    service = http.server.ThreadingHTTPServer((address, port), Metadata)
    service.asked, service.without_token = [], 0
    service.has_tokens, service.instance, service.user_data = True, INSTANCE, None
    threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
    return service


if __name__ == "__main__":
    running = start(sys.argv[1], int(sys.argv[2]))
    running.user_data = Path(sys.argv[3]).read_bytes()
    threading.Event().wait()

"""As much of speech-dispatcher as libspeechd asks for: writes down what it is told to say.

    ssip_server.py SOCKET FILE      FILE gets a line a message: its priority and text

SPDX-License-Identifier: LGPL-2.1-or-later
"""

import contextlib
import socketserver
import sys


class Client(socketserver.StreamRequestHandler):
    def answer(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def read_text(self):
        lines = iter(lambda: self.rfile.readline().rstrip(b"\r\n"), b".")
        return b" ".join(lines).decode()

    def handle(self):
        with contextlib.suppress(ConnectionResetError):
            self.talk()

    def talk(self):
        priority = "none"
        for line in self.rfile:
            words = line.decode().upper().split()
            if words[:3] == ["SET", "SELF", "PRIORITY"]:
                priority = words[3]
            if words[:1] == ["SPEAK"]:
                self.answer("230 OK RECEIVING DATA")
                with open(sys.argv[2], "a", encoding="utf-8") as file:
                    print(f"{priority}: {self.read_text()}", file=file)
                self.answer("225-1\r\n225 OK MESSAGE QUEUED")
            else:
                self.answer("208 OK")


with socketserver.ThreadingUnixStreamServer(sys.argv[1], Client) as server:
    server.daemon_threads = True
    server.serve_forever()

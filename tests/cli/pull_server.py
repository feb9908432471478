"""An HTTP server on loopback that serves one file, well or badly.

    Server.behaviours: one is used up by each request; when none is left the file is served well

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import http.server
import re
import ssl
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server.owner
        server.requests.append(self.headers.get("Range"))
        self.close_connection = True
        if not self.path.startswith(server.prefix + "/"):
            status(404)(self, server)
        elif server.behaviours:
            server.behaviours.pop(0)(self, server)
        else:
            well(self, server)

    def head(self, code, length, *headers):
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.server.owner.tag:
            self.send_header("ETag", self.server.owner.tag)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def body(self, content):
        try:
            self.wfile.write(content)
        except OSError:
            pass  # the client has gone, as it may


class QuietServer(http.server.ThreadingHTTPServer):
    """A client that does not like the certificate ends the connection; nothing to tell of."""

    def handle_error(self, *_):
        pass


class Server:
    """Over TLS with a `certificate`: the paths of it and of its key."""

    def __init__(self, certificate=None):
        self.content, self.tag, self.prefix = b"", None, ""
        self.behaviours, self.requests = [], []
        self.released = threading.Event()
        self.http = (QuietServer if certificate else http.server.ThreadingHTTPServer)(
            ("127.0.0.1", 0), Handler)
        self.http.owner, self.http.daemon_threads = self, True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def release(self):
        self.released.set()
        self.released = threading.Event()

    def close(self):
        self.release()
        self.http.shutdown()
        self.http.server_close()


def well(request, server):
    """The file, or the part asked for while it is still the same file."""
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
    if not match or request.headers.get("If-Range") != server.tag:
        return whole(request, server)
    first, n_bytes = int(match[1]), len(server.content)
    request.head(206, n_bytes - first, ("Content-Range", f"bytes {first}-{n_bytes - 1}/{n_bytes}"))
    request.body(server.content[first:])


def whole(request, server):
    request.head(200, len(server.content))
    request.body(server.content)


def cut(n_bytes):
    """The connection ends early."""
    def behave(request, server):
        request.head(200, len(server.content))
        request.body(server.content[:n_bytes])
    return behave


def stall(n_bytes):
    """No more bytes, but the connection stays."""
    def behave(request, server):
        request.head(200, len(server.content))
        request.body(server.content[:n_bytes])
        request.wfile.flush()
        server.released.wait(60)
    return behave


def slow(seconds):
    def behave(request, server):
        request.head(200, len(server.content))
        n_steps = 30
        step = -(-len(server.content) // n_steps)
        for i in range(n_steps):
            request.body(server.content[i * step:(i + 1) * step])
            request.wfile.flush()
            time.sleep(seconds / n_steps)
    return behave


def wrong_length(n_more):
    def behave(request, server):
        request.head(200, len(server.content) + n_more)
        request.body(server.content[:len(server.content) + min(n_more, 0)])
    return behave


def wrong_range(request, server):
    n_bytes = len(server.content)
    request.head(206, n_bytes - 10, ("Content-Range", f"bytes 10-{n_bytes - 1}/{n_bytes}"))
    request.body(server.content[10:])


def chunked(request, server, ends=True):
    request.head(200, None, ("Transfer-Encoding", "chunked"))
    for i in range(0, len(server.content), 65536):
        chunk = server.content[i:i + 65536]
        request.body(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    if ends:
        request.body(b"0\r\n\r\n")


def endless(request, server):
    chunked(request, server, ends=False)


def empty(request, server):
    request.head(200, 0)


def page(request, server):
    content = b"<html><body>Sign in to this network</body></html>"
    request.head(200, len(content))
    request.body(content)


def nothing(request, server):
    request.connection.close()


def status(code):
    def behave(request, server):
        content = b"<html>no</html>"
        request.head(code, len(content))
        request.body(content)
    return behave


def redirect(target):
    def behave(request, server):
        content = b"<html>moved</html>"
        request.head(302, len(content), ("Location", target))
        request.body(content)
    return behave

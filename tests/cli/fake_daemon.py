# SPDX-License-Identifier: Apache-2.0
"""A daemon without a data plane: speaks docs/api.md, answers what a test put in, notes what it was asked."""
import array
import json
import os
import socket
import threading

MAX_DESCRIPTORS = 250
PROBE = "GET /v1/version"  # asked before what takes long: any answer will do, and it is no request of the user's


class FakeDaemon:
    """Sockets in directory; answers maps "GET /v1/x" to (status, body: object or bytes), or to a function that
    makes a body of the request's."""

    def __init__(self, directory, names=("penstock.sock", "read.sock")):
        self.directory = directory
        self.answers = {}
        self.requests = []
        self.listeners = []
        for name in names:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(os.path.join(directory, name))
            listener.listen(8)
            self.listeners.append(listener)
            threading.Thread(target=self._serve, args=(listener, name), daemon=True).start()

    def close(self):
        for listener in self.listeners:
            path = listener.getsockname()
            listener.close()
            os.unlink(path)

    def _serve(self, listener, name):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                self._serve_one(connection, name)

    @staticmethod
    def _receive(connection, files):
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        data, ancillary, _, _ = connection.recvmsg(65536, room)
        for _, _, content in ancillary:
            descriptors = array.array("i")
            descriptors.frombytes(content)
            for descriptor in descriptors:
                with os.fdopen(descriptor, "rb") as file:
                    files.append(file.read())
        return data

    def _serve_one(self, connection, name):
        data, files = b"", []
        while b"\r\n\r\n" not in data:
            more = self._receive(connection, files)
            if not more:
                return
            data += more
        nuls = len(data) - len(data.lstrip(b"\0"))
        head, body = data[nuls:].split(b"\r\n\r\n", 1)
        length = 0
        for line in head.split(b"\r\n")[1:]:
            key, value = line.split(b":", 1)
            if key.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += connection.recv(65536)
        method, path = head.split(b" ")[:2]
        key = f"{method.decode()} {path.decode()}"
        body = json.loads(body) if body else None
        if key != PROBE or key in self.answers:
            self.requests.append({"key": key, "socket": name, "files": files, "messages": nuls, "body": body})
        self._answer(connection, key, body)

    def _answer(self, connection, key, asked):
        error = {"schema": 1, "error": {"code": "not-found", "message": f"no {key}"}}
        answer = self.answers.get(key, (404, error))
        status, answer = (200, answer(asked)) if callable(answer) else answer
        if status is None:
            return
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        connection.sendall(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)))
        connection.sendall(body)

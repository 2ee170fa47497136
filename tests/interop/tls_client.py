"""A TLS client that goes on with a session, or ends its direction and still reads.

Arguments: address, server name, authority, version, and what to do.
"""

import socket
import ssl
import sys

address, name, authority, version, what = sys.argv[1:]
host, port = address.rsplit(":", 1)
context = ssl.create_default_context(cafile=authority)
context.minimum_version = context.maximum_version = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}[version]


def connect(session=None):
    plain = socket.create_connection((host, int(port)), timeout=30)
    return context.wrap_socket(plain, server_hostname=name, session=session)


def resume():
    session = None
    for _ in range(2):
        with connect(session) as stream:
            stream.sendall(b"telemetry\n")
            answer = stream.makefile("r").readline().strip()
            print(stream.version(), "resumed" if stream.session_reused else "new", answer)
            # In TLS 1.3 the ticket comes after the handshake.
            session = stream.session
            stream.unwrap().close()


def unwrap():
    stream = connect()
    stream.sendall(sys.stdin.buffer.read())
    plain = stream.unwrap()
    assert plain.recv(1) == b"", "something follows the end"
    print("unwrapped")


def half_close():
    stream = connect()
    stream.sendall(sys.stdin.buffer.read())
    stream.setblocking(False)
    try:
        stream.unwrap()
    except ssl.SSLWantReadError:
        # Our end is said; what the other side has to say is still to come.
        pass
    stream.settimeout(30)
    try:
        while True:
            sys.stdout.buffer.write(stream.recv(1 << 16))
    except ssl.SSLZeroReturnError:
        # The other side has said its end as well; where it just ends, the error is another.
        pass


{"resume": resume, "unwrap": unwrap, "half-close": half_close}[what]()

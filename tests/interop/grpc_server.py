# A server of gRPC's own making that answers health checks: grpc.health.v1 and Vector's.
# Arguments: the address to listen on, and for TLS the files of a certificate and its key.
# It says its address, then takes from each line of its input what it is to answer from then on:
# "serving", "not-serving" or "unavailable", and says so. At the end of the input it ends.
import sys
from concurrent import futures

import grpc

SERVICES = {b"", b"\x0a\x09telemetry"}
state = "serving"


def check(request, context):
    if request not in SERVICES:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    if state == "unavailable":
        context.abort(grpc.StatusCode.UNAVAILABLE, "told to be")
    return b"\x08\x01" if state == "serving" else b"\x08\x02"


def vector(request, context):
    if state == "unavailable":
        context.abort(grpc.StatusCode.UNAVAILABLE, "told to be")
    # The default value, which is not sent, is SERVING.
    return b"" if state == "serving" else b"\x08\x01"


def service(name, method, answer):
    handlers = {method: grpc.unary_unary_rpc_method_handler(answer)}
    return grpc.method_handlers_generic_handler(name, handlers)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((
    service("grpc.health.v1.Health", "Check", check),
    service("vector.Vector", "HealthCheck", vector),
))
address = sys.argv[1]
if len(sys.argv) > 2:
    certificate, key = (open(file, "rb").read() for file in sys.argv[2:4])
    port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port(address)
server.start()
print("listening on", port, flush=True)
for line in sys.stdin:
    state = line.strip()
    print("it is", state, flush=True)
server.stop(0)

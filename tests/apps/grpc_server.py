"""A gRPC server whose calls take as many seconds as they say, without a byte meanwhile."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import grpc


def quiet(seconds: bytes, _: grpc.ServicerContext) -> bytes:
    time.sleep(float(seconds))
    return b"answered"


server = grpc.server(ThreadPoolExecutor())
method = grpc.unary_unary_rpc_method_handler(quiet)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Apps", {"Quiet": method})])
server.add_insecure_port("0.0.0.0:8080")
server.start()
signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=5))
server.wait_for_termination()

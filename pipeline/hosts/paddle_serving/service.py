"""Our ops inside the official server, from its start to its stop.

    Plan -> a WebService of 0.9 for each op, with our ops in it -> ready -> their servicers by name
         -> one gRPC server, one HTTP gateway -> SIGTERM, or a dead process -> stop

The official packages are imported only where they are used. Kept clean for Python 3.8.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent import futures
from multiprocessing.process import BaseProcess
from typing import Any, Mapping, Sequence

from protocol.errors import ServiceNotFound, wire_codes

from .config import Plan, ServicePlan
from .errors import ConfigurationError
from .ops import ClassifyOp, ImagesIn
from .ports import wait_for_port

MAX_MESSAGE_BYTES = 256 * 2**20  # as the official server has it
STOP_GRACE_S = 5


def serve(plan: Plan) -> int:
    """Run the official server with our ops until SIGTERM or Ctrl-C; exit with the code.

    Raises:
        ConfigurationError: a port is taken, or an op is not ready in time.
    """
    web_services = [_web_service(plan, service) for service in plan.services]
    servicers = Servicers({service.name: _servicer(service) for service in web_services})
    # The list leaves out processes that have ended, so it is taken once, here.
    processes = multiprocessing.active_children()
    for web_service in web_services:
        _wait_until_ready(web_service.op, processes)
    # 0.9 chooses the RPC port if the configuration has none.
    first = web_services[0]._server
    server = _rpc_server(servicers, plan.server["worker_num"], first._rpc_port)
    address = _open_gateway(first, plan.server.get("http_port"))
    names = ", ".join(service.name for service in plan.services)
    print("ready on Paddle Serving 0.9: {}; {}".format(names, address), flush=True)
    code = _wait_for_stop(processes)
    server.stop(STOP_GRACE_S).wait(STOP_GRACE_S)
    _end_processes()
    sys.stdout.flush()
    # 0.9's threads wait for results for ever, and a normal exit would wait for the threads.
    os._exit(code)


def _servicer(web_service: Any) -> Any:  # noqa: ANN401 - 0.9's WebService and PipelineServicer
    from paddle_serving_server.pipeline.pipeline_server import PipelineServicer

    official = web_service._server
    return PipelineServicer(web_service.name, official._response_op, official._conf)


def _open_gateway(official: Any, http_port: int | None) -> str:  # noqa: ANN401 - 0.9's server
    """Start the HTTP gateway if the configuration has a port for it; return all addresses."""
    address = "rpc {}".format(official._rpc_port)
    if not http_port:
        return address
    official._run_grpc_gateway(grpc_port=official._rpc_port, http_port=http_port)
    wait_for_port(http_port)
    return "http {}, {}".format(http_port, address)


class Servicers:
    """The servicers of 0.9, one for each service, chosen by the name in the request."""

    def __init__(self, servicers: Mapping[str, Any]) -> None:
        self._servicers = servicers

    def inference(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - 0.9's messages
        """Answer one request; an empty name means the only service."""
        if request.name in self._servicers:
            return self._servicers[request.name].inference(request, context)
        if not request.name and len(self._servicers) == 1:
            return next(iter(self._servicers.values())).inference(request, context)
        from paddle_serving_server.pipeline.proto import pipeline_service_pb2 as pb

        missing = "there is no service {!r} here".format(request.name[:64])
        if not request.name:
            missing = "the request names no service"
        error = ServiceNotFound("{}; services: {}".format(missing, ", ".join(self._servicers)))
        return pb.Response(err_no=wire_codes(error).err_no, err_msg=str(error))


def _web_service(plan: Plan, service: ServicePlan) -> Any:  # noqa: ANN401 - 0.9's WebService
    """Return a prepared WebService with our ops, its configuration a copy with this op alone."""
    from paddle_serving_server.pipeline import RequestOp
    from paddle_serving_server.web_service import Op, WebService

    # Made here and not written as classes: their bases exist only in the official environment.
    images_in = type("ImagesInOp", (ImagesIn, RequestOp), {"max_images": plan.max_images})
    classify = type("ClassifyInOp", (ClassifyOp, Op), {"service": service})
    op = classify(name=service.name, input_ops=[images_in()])
    op.ready = multiprocessing.Semaphore(0)

    def response(_self: object, _read_op: object) -> Any:  # noqa: ANN401 - 0.9's Op
        return op

    kind = type("ClassifyService", (WebService,), {"get_pipeline_response": response, "op": op})
    web_service = kind(name=service.name)
    conf = copy.deepcopy(dict(plan.server))
    conf["op"] = {service.name: conf["op"][service.name]}
    if service is not plan.services[0]:
        conf["dag"]["enable_prometheus"] = False  # each would open the same port
    web_service.prepare_pipeline_config(yml_dict=conf)
    return web_service


def _wait_until_ready(
    op: Any,  # noqa: ANN401 - our ClassifyOp as an Op of 0.9
    processes: Sequence[BaseProcess],
) -> None:
    service = op.service
    deadline = time.monotonic() + service.start_timeout_s
    for _ in range(op.concurrency):
        while not op.ready.acquire(timeout=0.5):
            dead = not all(process.is_alive() for process in processes)
            if dead or time.monotonic() > deadline:
                raise ConfigurationError(
                    "op.{}: {}; PipelineServingLogs/pipeline.log.wf says why".format(
                        service.name,
                        "its process died"
                        if dead
                        else "not ready within {:g} s".format(service.start_timeout_s),
                    )
                )


def _rpc_server(servicers: Servicers, threads: int, port: int) -> Any:  # noqa: ANN401 - a grpc.Server
    """Start a server as the official one does, and no HTTP gateway yet."""
    import grpc
    from paddle_serving_server.pipeline.proto import pipeline_service_pb2_grpc as pb_grpc

    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=threads),
        options=[
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    pb_grpc.add_PipelineServiceServicer_to_server(servicers, server)
    if not server.add_insecure_port("[::]:{}".format(port)):
        raise ConfigurationError("rpc_port {} is taken; choose another".format(port))
    server.start()
    return server


def _wait_for_stop(processes: Sequence[BaseProcess]) -> int:
    """Return 0 at SIGTERM or Ctrl-C, 1 when a process of 0.9 has died.

    0.9 would leave the requests of a dead process without a reply for ever, and a supervisor
    would see a healthy service. Signals are caught only now: the processes forked before keep
    their own handlers.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    while not stop.wait(0.5):
        if not all(process.is_alive() for process in processes):
            print("error: a process of Paddle Serving died", file=sys.stderr)
            return 1
    return 0


def _end_processes() -> None:
    """Kill 0.9's processes, which have no work left; Paddle writes a page at a SIGTERM."""
    processes = multiprocessing.active_children()
    for process in processes:
        process.kill()
    for process in processes:
        process.join(STOP_GRACE_S)

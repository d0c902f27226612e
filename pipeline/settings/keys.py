"""Every key that a config.yml may have: its check, its default and its meaning.

The keys are those of Paddle Serving 0.9 with their meaning kept, and a few of ours (marked `ours`).
A key that is accepted without effect has its reason; a key of 0.9 with values that this engine
does not serve has the values that it does serve. docs/configuration.md
shows these tables, and a test keeps the two equal. Kept clean for Python 3.8: the host for the
official engine checks with the same tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from pipeline.predictors import registry

from .checks import (
    Check,
    anything,
    class_name,
    devices,
    flag,
    flag_or_empty,
    names,
    number,
    one_of,
    origins,
    text,
    text_or_empty,
    whole,
)

DEFAULT_ADMIN_PORT = 19390

# Of the log on stderr, `log` and the command line's `--log-...`.
FORMS = ("human", "json")
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Key:
    """One key: the check of its value, its default, and one line of meaning."""

    check: Check
    default: Any
    meaning: str
    ours: bool = False
    no_effect: str | None = None  # why the key is accepted and does nothing
    refused_unless: tuple[Any, ...] | None = None  # values of a 0.9 key that we can serve


Section = Mapping[str, "Key | Section"]


_ONE_LOOP = "the service is one event loop, it has no thread pool to size"
_OWN_WORKERS = "predictors always run in worker processes of their own"
_OBSERVED = "metrics and traces replace it: docs/monitoring.md"
_BUNDLED = "the bundle's own .prototxt is read"

LOCAL_SERVICE_CONF: Section = {
    "model_config": Key(text, None, "the bundle: `serving_model/NAME` or its `serving_server`"),
    "client_type": Key(
        one_of("local_predictor", "brpc", "grpc"),
        "local_predictor",
        "only `local_predictor`: the model runs here",
        refused_unless=("local_predictor",),
    ),
    "fetch_list": Key(names, None, "the fetch to answer from, by alias; empty: the only one"),
    "workdir": Key(anything, None, "", no_effect="there is no engine with files of its own"),
    "device_type": Key(
        whole(-1, 6),
        -1,
        "-1 by `devices`, 0 CPU, 1 GPU; refused: 2 TensorRT, 3 Arm, 4 Kunlun, 5 and 6 Ascend",
        refused_unless=(-1, 0, 1),
    ),
    "devices": Key(devices, "", 'GPU numbers, "0,1": worker i takes number i mod n; "": CPU'),
    "thread_num": Key(
        whole(1, 1024, also=(None,)),
        None,
        "threads a worker; empty: as tuned, else the service's share of the cores / concurrency",
    ),
    "mem_optim": Key(flag, True, "let Paddle reuse memory between layers"),
    "ir_optim": Key(flag, True, "let Paddle optimise the graph (0.9's default was False)"),
    "precision": Key(
        one_of("fp32", "fp16", "bf16", None),
        None,
        "arithmetic of the model; empty: as tuned (docs/tuning.md), else `fp32`",
    ),
    "use_calib": Key(anything, None, "", no_effect="it belongs to TensorRT's int8"),
    "use_mkldnn": Key(flag, True, "oneDNN on the CPU (0.9's default was False)"),
    "mkldnn_cache_capacity": Key(anything, None, "", no_effect="the predictor chooses it"),
    "mkldnn_op_list": Key(anything, None, "", no_effect="oneDNN takes every operator it knows"),
    "mkldnn_bf16_op_list": Key(anything, None, "", no_effect="oneDNN takes every one it knows"),
    "min_subgraph_size": Key(anything, None, "", no_effect="it belongs to TensorRT"),
    "backend": Key(
        one_of(*registry.BACKENDS),
        registry.AUTO,
        f"the runtime that predicts; {registry.meaning()}; a tuning that fits comes before this "
        "order (docs/tuning.md)",
        ours=True,
    ),
}

OP: Section = {
    "concurrency": Key(
        whole(1, 256, also=(None,)),
        None,
        "worker processes; empty: one a GPU of `devices`, else as tuned, else one a core of the "
        "service's share",
    ),
    "timeout": Key(
        whole(1, 3_600_000, also=(-1,)), -1, "ms from the end of a request to its reply; -1: 10 000"
    ),
    "retry": Key(whole(0, 10), 1, "times an image is tried again after its worker died"),
    "batch_size": Key(
        whole(1, 1024, also=(None,)),
        None,
        "most images in one run of the model; how many are best, up to that, is measured; empty: "
        "as tuned, else 8",
    ),
    "auto_batching_timeout": Key(
        number(-1, 60_000), -1, "ms to wait for a batch to fill; -1: take what waits, at once"
    ),
    "local_service_conf": LOCAL_SERVICE_CONF,
    "server_endpoints": Key(names, None, "refused: remote engines", refused_unless=(None, [])),
    "client_config": Key(anything, None, "", no_effect=_BUNDLED),
    "client_type": Key(anything, None, "", no_effect="it belongs to remote engines"),
    "fetch_list": Key(names, None, "as in `local_service_conf`"),
    "use_encryption_model": Key(flag, False, "refused: encrypted models", refused_unless=(False,)),
    "encryption_key": Key(anything, None, "", no_effect="encrypted models are not read"),
    "labels": Key(text_or_empty, None, "label file; empty: the bundle's own labels", ours=True),
    "topk": Key(
        whole(1, 100_000, also=(None,)),
        None,
        "categories an answer; empty: the bundle's",
        ours=True,
    ),
    "threshold": Key(
        number(0, 1, or_empty=True),
        None,
        "leave out categories below this score; replaces the thresholds of a bundle for several "
        "labels",
        ours=True,
    ),
    "classifier": Key(
        class_name,
        "pipeline.classifier:Classifier",
        "class that answers, `module:Class`",
        ours=True,
    ),
    "max_image_pixels": Key(
        whole(1), 50_000_000, "a larger image is refused before it is decoded", ours=True
    ),
    "fast_decode": Key(
        flag_or_empty,
        None,
        "decode large JPEGs at a fraction of their size; scores differ a little; empty: as tuned, "
        "else False",
        ours=True,
    ),
    "start_timeout": Key(whole(1), 120, "seconds a worker may need to be ready", ours=True),
}

DAG: Section = {
    "is_thread_op": Key(anything, None, "", no_effect=_OWN_WORKERS),
    "retry": Key(anything, None, "", no_effect="`retry` of the op is the one that counts"),
    "use_profile": Key(anything, None, "", no_effect=_OBSERVED),
    "channel_size": Key(
        whole(0), 0, "images that may wait in a service's queue; 0: 256 (never unbounded)"
    ),
    "client_type": Key(anything, None, "", no_effect="it belongs to remote engines"),
    "channel_recv_frist_arrive": Key(anything, None, "", no_effect="one op has one input"),
    "tracer": {"interval_s": Key(anything, None, "", no_effect=_OBSERVED)},
    "enable_prometheus": Key(
        flag, False, "answer /metrics on `prometheus_port` of `host`, for the network to read"
    ),
    "prometheus_port": Key(whole(1, 65535, also=(0,)), 19393, "its port; 0: any free port"),
}

TOP: Section = {
    "http_port": Key(
        whole(1, 65535, also=(0, None)), None, "port of HTTP; empty: no HTTP; 0: any free port"
    ),
    "rpc_port": Key(
        whole(1, 65535, also=(0, None)), "", "port of RPC; missing: http_port + 1; empty: no RPC"
    ),
    "host": Key(
        text,
        "0.0.0.0",  # noqa: S104 - as 0.9 does
        "address both listen on; 0.0.0.0: every IPv4 address; `::`: every address",
        ours=True,
    ),
    "worker_num": Key(anything, None, "", no_effect=_ONE_LOOP),
    "grpc_gateway_port": Key(anything, None, "", no_effect="HTTP needs no gateway here"),
    "build_dag_each_worker": Key(anything, None, "", no_effect=_OWN_WORKERS),
    "max_body_mb": Key(whole(1, 2047), 64, "largest request body in MiB", ours=True),
    "max_images": Key(whole(1), 64, "most images per request", ours=True),
    "drain_timeout": Key(whole(0, 3600), 30, "seconds to finish work at stop", ours=True),
    "shutdown_delay": Key(
        number(0, 3600),
        0,
        "seconds after SIGTERM in which requests are still answered, while health says not ready",
        ours=True,
    ),
    "keep_alive": Key(
        whole(1, 86_400),
        75,
        "seconds until an idle HTTP connection is closed; more than a proxy's in front of it "
        "(docs/load-balancers.md)",
        ours=True,
    ),
    "admin": {
        "host": Key(
            text, "127.0.0.1", "address of /metrics, /-/status and /-/reload: private", ours=True
        ),
        "port": Key(
            whole(1, 65535, also=(0, None)),
            DEFAULT_ADMIN_PORT,
            "its port; empty: none; 0: any free port",
            ours=True,
        ),
    },
    "tls": {
        "certificate": Key(
            text_or_empty,
            None,
            "PEM file; both ports then speak TLS (docs/security.md)",
            ours=True,
        ),
        "key": Key(text_or_empty, None, "PEM file of its key", ours=True),
        "client_ca": Key(
            text_or_empty, None, "PEM file; a client must show a certificate of it", ours=True
        ),
    },
    "api_keys": Key(
        text_or_empty, None, "file of API keys and their rates; empty: no key is needed", ours=True
    ),
    "cors_origins": Key(
        origins, None, "origins of web pages that may send requests; `*`: all", ours=True
    ),
    "max_connections": Key(
        whole(8),
        4096,
        "most connections a port; one more takes the place of an idle one over HTTP, and is "
        "closed over RPC",
        ours=True,
    ),
    "max_inflight_mb": Key(
        whole(1),
        512,
        "most MiB of requests in memory at once, all services and both wires together",
        ours=True,
    ),
    "log": {
        "level": Key(
            one_of(*LEVELS), "warning", "least level that is logged; a request is `info`", ours=True
        ),
        "format": Key(one_of(*FORMS), "human", "`human`, or `json`: an object a line", ours=True),
        "requests_a_second": Key(anything, None, "", no_effect="the request log has its own bound"),
    },
    "dag": DAG,
    "op": {"*": OP},
}

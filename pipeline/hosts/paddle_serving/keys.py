"""Which keys of config.yml reach Paddle Serving 0.9, which reach our op, and what each must be.

Kept clean for Python 3.8.
"""

from __future__ import annotations

from typing import Mapping

from pipeline.settings.checks import Check, flag, names, one_of, whole
from pipeline.settings.keys import DAG, LOCAL_SERVICE_CONF, OP, TOP, Key, Section

# Keys that the official server gets unchanged. Of 0.9's own keys those are missing that break it
# (dag.retry, is_thread_op: True, build_dag_each_worker) and those of remote engines.
TOP_KEYS = ("http_port", "rpc_port", "worker_num", "dag", "op")
DAG_KEYS = ("use_profile", "channel_size", "tracer", "enable_prometheus", "prometheus_port")
OP_KEYS = ("concurrency", "timeout", "retry", "batch_size", "auto_batching_timeout")
LOCAL_KEYS = (
    "device_type",
    "devices",
    "thread_num",
    "mem_optim",
    "ir_optim",
    "precision",
    "use_calib",
    "use_mkldnn",
    "mkldnn_cache_capacity",
    "mkldnn_op_list",
    "mkldnn_bf16_op_list",
    "min_subgraph_size",
)
# Keys that the op of this host reads; 0.9 gets none of them.
OUR_TOP_KEYS = ("max_images",)
OUR_OP_KEYS = (
    "fetch_list",
    "local_service_conf",
    "labels",
    "topk",
    "threshold",
    "max_image_pixels",
    "fast_decode",
    "start_timeout",
)
OUR_LOCAL_KEYS = ("model_config", "client_type", "fetch_list")


def _checks(section: Section, keys: tuple[str, ...], own: Mapping[str, Check]) -> dict[str, Check]:
    """Return what each key must be: as our engine has it, or `own` where 0.9 can do more."""
    known = {key: section.get(key) for key in keys}
    shared = {key: found.check for key, found in known.items() if isinstance(found, Key)}
    return {**shared, **own}


# 0.9 dies with a traceback of wrong values, or starts and then fails with every request.
TOP_CHECKS = _checks(TOP, TOP_KEYS + OUR_TOP_KEYS, {"worker_num": whole(1, 1024)})
DAG_CHECKS = _checks(DAG, DAG_KEYS, {"use_profile": flag, "is_thread_op": flag})
TRACER_CHECKS = {"interval_s": whole(-1)}
OP_CHECKS = _checks(OP, OP_KEYS + OUR_OP_KEYS, {})
LOCAL_CHECKS = _checks(
    LOCAL_SERVICE_CONF,
    (*LOCAL_KEYS, "model_config", "fetch_list"),
    {
        "precision": one_of("fp32", "fp16", "bf16", "int8"),
        "use_calib": flag,
        "mkldnn_cache_capacity": whole(0),
        "mkldnn_op_list": names,
        "mkldnn_bf16_op_list": names,
        "min_subgraph_size": whole(1),
    },
)

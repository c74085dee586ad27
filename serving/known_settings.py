"""The settings that TorchServe 0.12 has, and what each may be. TorchServe itself ignores a setting that it does not know.

Source: org.pytorch.serve.util.ConfigManager of the installed jar.
"""

import difflib
import re

from serving.errors import ServerError

OWN = {  # the bundle's own, and what holds without them
    "fork_workers": "true", "explanation_workers": "true", "monitor_address": "http://127.0.0.1:8083",
}  # fmt: skip
FLAGS = {
    "async_logging", "cpu_launcher_enable", "debug", "decode_input_request", "disable_system_metrics",
    "disable_token_authorization", "enable_envvars_config", "enable_grpc_ssl", "enable_metrics_api", "enable_model_api",
    "explanation_workers", "fork_workers", "install_py_dep_per_model", "ipex_enable", "ipex_gpu_enable", "limit_max_image_pixels",
    "model_metrics_auto_detect", "prefer_direct_buffer", "use_env_allowed_urls", "use_native_io",
}  # fmt: skip
COUNTS = {  # whole numbers; 0 leaves the choice to TorchServe
    "default_workers_per_model", "io_ratio", "netty_client_threads", "number_of_gpu", "number_of_netty_threads",
    "grpc_inference_max_connection_age_grace_ms", "grpc_inference_max_connection_age_ms",
    "grpc_management_max_connection_age_grace_ms", "grpc_management_max_connection_age_ms",
}  # fmt: skip
SIZES = {  # whole numbers from 1
    "default_response_timeout", "default_startup_timeout", "initial_distribution_port", "initial_worker_port",
    "job_queue_size", "max_request_size", "max_response_size",
    "metric_time_interval", "unregister_model_timeout",
}  # fmt: skip
AMOUNTS = {"token_expiration_min"}  # numbers above 0
CHOICES = {"metrics_mode": ("prometheus", "log", "legacy")}
TEXTS = {
    "allowed_urls", "blacklist_env_vars", "certificate_file", "cors_allowed_headers", "cors_allowed_methods",
    "cors_allowed_origin", "cpp_log_config", "cpu_launcher_args", "default_service_handler", "grpc_inference_address",
    "grpc_inference_port", "grpc_management_address", "grpc_management_port",
    "inference_address", "keystore", "keystore_pass", "keystore_type", "load_models",
    "management_address", "metrics_address", "metrics_config", "model_snapshot", "model_store", "models", "monitor_address",
    "private_key_file",
    "service_envelope", "system_metrics_cmd", "ts_header_key_sequence_end", "ts_header_key_sequence_id",
    "ts_header_key_sequence_start", "ts_open_inference_protocol", "vmargs", "workflow_store",
}  # fmt: skip
KNOWN = FLAGS | COUNTS | SIZES | AMOUNTS | {*CHOICES} | TEXTS
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
MAX_INT = (1 << 31) - 1  # Java's largest int


def check(key: str, value: str) -> None:
    """
    Raises:
        ServerError: no such setting, or a value that it does not take.
    """
    if key not in KNOWN:
        near = difflib.get_close_matches(key, KNOWN, n=1)
        meant = f"did you mean {near[0]}?" if near else "serving/known_settings.py lists them"
        raise ServerError(f"{key} is no setting of the server; {meant}")
    if key in FLAGS and value.lower() not in ("true", "false"):
        raise ServerError(f"{key}={value} is neither true nor false")
    if key in CHOICES and value.lower() not in CHOICES[key]:
        raise ServerError(f"{key}={value} is not one of {', '.join(CHOICES[key])}")
    if key in COUNTS | SIZES:
        least = 1 if key in SIZES else 0
        if not (value.isascii() and value.isdecimal() and least <= int(value) <= MAX_INT):
            raise ServerError(f"{key}={value} is no whole number from {least} to {MAX_INT:,}")
    if key in AMOUNTS and not (NUMBER.fullmatch(value) and float(value) > 0):
        raise ServerError(f"{key}={value} is no number above 0")

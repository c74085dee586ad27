"""The archive of the handler that does nothing: with TorchServe's usual logging, or as quiet as the bundle's handlers."""

import subprocess
import sys
from pathlib import Path

HANDLER = Path(__file__).with_name("echo.py")
CONFIG = """\
minWorkers: 1
maxWorkers: 1
batchSize: 8
maxBatchDelay: {delay}
responseTimeout: 30
startupTimeout: 60
quiet: {quiet}
"""


def build(store: Path, quiet: bool) -> Path:
    """Write the archive into `store`.

    Args:
        quiet: log warnings only, as the bundle's handlers do.
    """
    store.mkdir()
    config = store / "model-config.yaml"
    config.write_text(CONFIG.format(delay=1 if quiet else 5, quiet=str(quiet).lower()))
    command = [
        sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "echo", "--version", "1.0",
        "--archive-format", "zip-store", "--handler", HANDLER, "--config-file", config, "--export-path", store,
    ]  # fmt: skip
    subprocess.run([str(word) for word in command], capture_output=True, check=True)
    return (store / "echo.mar").rename(store / "echo-1.0.mar")

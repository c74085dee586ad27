"""A TorchServe handler that does nothing. It measures the server's own overhead."""

import logging


class Echo:
    """Answers every request with an empty list."""

    def initialize(self, context) -> None:
        if context.model_yaml_config.get("quiet"):
            logging.getLogger().setLevel(logging.WARNING)  # as handlers/torchserve.py does

    def handle(self, data, context) -> list[bytes]:
        return [b"[]"] * len(data)

"""Ask a server with an older huggingface_hub than that of the tests. Runs in .venv-clients, and prints what came back as JSON.

Usage: ask_hub.py URL TOKEN PICTURE SOUND TEXT, with URL up to the model's name
"""

import json
import sys
from importlib.metadata import version

from huggingface_hub import InferenceClient


def ask(url: str, token: str, picture: str, sound: str, text: str) -> dict:
    def client(model: str) -> InferenceClient:
        return InferenceClient(model=f"{url}/{model}", token=token)

    return {
        "version": version("huggingface_hub"),
        "picture": [entry.label for entry in client("digits").image_classification(picture, top_k=3)],
        "sound": [entry.label for entry in client("sounds").audio_classification(sound, top_k=2)],
        "text": [entry.label for entry in client("intents").text_classification(text, top_k=4)],
    }


if __name__ == "__main__":
    print(json.dumps(ask(*sys.argv[1:])))

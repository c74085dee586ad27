"""The servers that people would pick instead, each a file that does `bench.work` the way its documentation does.

Each runs in its own environment, as `python -m bench.peers.<name>`: by its path, Python would find `bench/peers/fastapi.py` where
it looks for FastAPI.
"""

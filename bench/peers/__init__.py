"""Other servers, one file each. A file does `bench.work` the way that the server's documentation shows.

Each runs in its own environment, as `python -m bench.peers.<name>`. If it ran by its path, `import fastapi` would find
`bench/peers/fastapi.py`.
"""

"""Files of networks that `make import ARGS='--network my_net.py:MyNet()'` took in, one per model, as their owners wrote them.

A model's archive holds its own file and no other.
"""

"""Explanations: how much each part of an input adds to the score of one target.

`method.py` says what a method is, and `methods.py` lists all of them. A `subject.Subject` takes one kind of input apart.
Captum computes the attributions. It is imported when the first explanation is asked for, because its import takes a second.
"""

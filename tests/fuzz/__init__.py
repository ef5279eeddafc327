"""Random input for whatever reads what strangers send.

`python -m tests.fuzz --inputs 1000000` goes on for longer than CI does. An input that breaks a
property is kept as a file of `corpus/`, which every run begins with.
"""

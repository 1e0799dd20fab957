"""What computes: one backend for each kind of array, all with the functions of `protocol.py`."""

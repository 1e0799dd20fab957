"""What `onesum.metrics`, `onesum.sklearn` and the command `calibrate` share.

rows.py         `Rows`: logits whose labels are known, checked, a block at a time
moments.py      the derivatives of their loss by the logarithm of the temperature
temperature.py  the temperature at which the loss is least
"""

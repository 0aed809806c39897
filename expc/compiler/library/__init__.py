"""The tables beside the operators: data sets, transforms, optimizers, schedules, metrics, and what is left out.

Each entry is declared once; an index says where, so that a check imports only what its file uses.
"""

"""The runtime: from a checked program to a trained network.

Comes in: a `Program` of the compiler. Goes out: a run directory. Always true: importing this package or its `errors`
imports no torch; its other modules do.
"""

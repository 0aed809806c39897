"""Models: bodies are evaluated and unrolled into the graph, with a type on every edge.

Comes in: the syntax of blocks and models. Goes out: `graph.Model`, and problems. Always true: torch is not imported,
and a value that could not be worked out agrees with everything.
"""

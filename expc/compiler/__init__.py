"""The compiler: from a syntax tree to a checked program, and from there to modules of torch.

Comes in: a parsed file with its settings. Goes out: a `Program`, whose graph has a type on every edge, and problems,
each at its place (`session` shows the whole way). Always true: only `lower` imports torch; after an error a
value has the unknown type, which agrees with everything, so that one mistake is one message.
"""

"""The language: from text to a syntax tree, and from settings to a validated experiment.

Comes in: the text of an `.exp` file, and options of the command line. Goes out: a tree of frozen nodes, each with its
place (`parser`), and an `Experiment` (`binding`). Always true: any text gives a tree, every problem has a place, and
nothing here knows what a layer is.
"""

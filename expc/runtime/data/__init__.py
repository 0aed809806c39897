"""Data at run time: from a `DataPlan` to batches.

Comes in: the plan of one role, the folder where relative paths start, a seed. Goes out: `Loader.epoch(e)`, which yields
batches as `{field: tensor}`. Always true: a batch is a pure function of (plan, seed, epoch, step), whatever the number
of workers or devices; nothing draws from torch's own generators; no file of the user is ever changed.
"""

"""Everything around the model: data, loss, metrics, groups, schedules, and the other sections.

Comes in: the bound settings and the checked model. Goes out: the plans of `compiler.program`, and problems.
"""

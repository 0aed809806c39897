"""Checkpoints: everything from which a run can go on at the very step, each in a folder that appears only when whole.

`checkpoints/step-000123/` holds `model.safetensors`, `optimizer.safetensors` (`exp_avg/conv1.weight`) and others like
them, what is no tensor in `state.json`, and `manifest.json` with the size and the SHA-256 of each. Nothing is pickled.

Comes in: the state of a run, as nested values and tensors (`State`). Goes out: the same, from the newest checkpoint
that is whole (`loading`). Always true: what stands under its name was on the disk, every byte of it, before it got that
name; what is read was verified, every byte of it, before anything is made of it; no link is followed.
"""

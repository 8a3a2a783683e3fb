"""STAR: dialogues that people wrote outside this project, played through the whole platform.

`convert` turns STAR's procedures and API specifications into a pack, `script` is a dialogue's own customer, `tools` replays
the recorded returns, `free` plays and judges.
"""

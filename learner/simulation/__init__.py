"""The loop with known labels: how many answers a way of asking takes, measured. Nothing here asks a person.

| module | holds |
|---|---|
| `run` | one run of rounds: a strategy, a seed |
| `source` | what a run is made of, from a labelled folder, archive or npz |
| `study` | strategies times seeds in several processes, kept in a folder |
| `summary` | answers until a target, paired differences, tables and CSV |
| `comparison` | two orders of the same answers: how many each takes, with intervals |
| `drawing` | accuracy against answers as SVG |
"""

"""The one door to the learner. Everything heavy is imported inside functions.

| module | holds |
|---|---|
| `rounds` | fit, score, choose: what a learner does with a round |
| `pool` | the map and the graph, which need no answers |
| `features` | what a backbone makes of the images |
| `networks` | a network of the pool's own, and whether it is the better model |
| `answers` | what answers say of labels and people |
| `relabel` | which labels deserve another answer |
| `replays` | the answers once more, in another order |
| `asking` | which images a model asks about |
| `charge` | whether a round's model takes charge |
| `reruns` | a round once more, from what it kept |
| `serving` | a round's model as a file that looks at new images |
| `requests`, `kept` | what the learner is given of a round, fresh or old |
| `files` | chunk files, the heartbeat, refusals in words |
"""

from labeler.learning.answers import measure_answers
from labeler.learning.features import open_backbone
from labeler.learning.files import CannotLearn, folder_of, load
from labeler.learning.networks import train_network
from labeler.learning.pool import draw_map, make_graph
from labeler.learning.replays import play
from labeler.learning.reruns import rerun, run_again
from labeler.learning.rounds import choose, fit, forget_leftovers, score, sum_up
from labeler.learning.serving import export_model

__all__ = [
    "CannotLearn",
    "choose",
    "draw_map",
    "export_model",
    "fit",
    "folder_of",
    "forget_leftovers",
    "load",
    "make_graph",
    "measure_answers",
    "open_backbone",
    "play",
    "rerun",
    "run_again",
    "score",
    "sum_up",
    "train_network",
]

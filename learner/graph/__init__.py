"""The pool as a graph: who looks like whom, which parts hang together, and what an answer says about all of a part.

No labels are needed to build it, and none are looked at. Importing the package loads numpy alone; faiss, scikit-network
and scipy come with the functions that use them, torch never.

| module | holds |
|---|---|
| `representation` | the vectors that images are compared by |
| `neighbours` | the k nearest of each image, near-duplicates, and the weights of the graph |
| `communities` | the Leiden communities of the graph, and the tree that they join into |
| `hypotheses` | how likely each part of the tree is of one class, given the answers |
| `model` | class probabilities of every image, with their spread |
| `strategy` | whom to ask about next |
| `covering` | whom to ask about first where the graph means little |

Shapes: N images, k neighbours, D features, V nodes of the tree, L of them leaves, A answers, C classes.
"""

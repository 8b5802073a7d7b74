"""What is made of all images of a project before anything is known of them: the map, the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from labeler.learning.files import CannotLearn, chunks_now, in_chunks, in_words, mending, opened
from labeler.learning.spoken import compared_by
from labeler.models import PoolFeatures, Project
from labeler.selectors.features import ChunkInput, chunk_inputs, ready_features, seer_words
from labeler.selectors.networks import teaches_itself
from labeler.selectors.pool import labelled_images, waiting_positions
from labeler.services.derived import CannotDerive, Derived


def draw_map(project: Project, report: Callable[[int, int], None]) -> Derived:
    """Where every image lies on the map of the pool, as `learner.embedding.RECORD`s. Raises CannotDerive."""
    features = ready_features(project)
    with cannot_derive(), mending(project), ExitStack() as stack:
        from learner.embedding import embed

        chunks = chunks_now(project, stack, features)
        records = embed(chunks, seed=project.pk, report=lambda _phase, done, total: report(done, total))
    fields = {"is_of_features": features is not None}
    return Derived(lambda file: np.save(file, records, allow_pickle=False), len(records), fields)


def make_graph(project: Project, report: Callable[[int, int], None]) -> Derived:
    """Which images look alike, and which to ask about first. Raises CannotDerive."""
    features = ready_features(project)
    with cannot_derive(), mending(project), ExitStack() as stack:
        from learner.graph.pool_graph import make_pool_graph

        inputs = chunk_inputs(project, features)
        chunks = [opened(each, stack) for each in inputs]
        counts = {chunk.number: chunk.count for chunk in chunks}
        pixels = [ChunkInput(each.chunk, each.count) for each in inputs] if is_taught(project, features) else []
        labelled = labelled_images(project, is_holdout=False).values_list("position", flat=True)
        made = make_pool_graph(
            chunks,
            in_chunks(waiting_positions(project, is_holdout=False), counts),
            answered=in_chunks(np.array(sorted(labelled), np.int64), counts),
            seed=project.pk,
            beside=[opened(each, stack) for each in pixels],
            report=lambda _phase, done, total: report(done, total),
        )
    graph = made.pool_graph
    fields = {
        "groups": graph.n_groups,
        "is_cohesive": graph.is_cohesive,
        "reason": compared_by(graph.reason, seer_words(features.backbone) if features else ""),
        "features": features,
    }
    return Derived(graph.save, len(graph.graph), fields, {"vectors": ("npy", made.save_vectors)})


def is_taught(project: Project, features: PoolFeatures | None) -> bool:
    """Whether features are of the network in use, and a graph has taught it."""
    network = project.learning.network
    return features is not None and network is not None and features.key == network.key and not teaches_itself(project)


@contextmanager
def cannot_derive() -> Iterator[None]:
    """Refusals of the learner as refusals of a job."""
    try:
        with in_words():
            yield
    except CannotLearn as error:
        raise CannotDerive(str(error)) from error

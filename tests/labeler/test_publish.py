"""What holds of a queue whatever the pool, the settings and the answers were."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeler.models import (
    Candidate,
    CandidateState,
    Image,
    ImageState,
    LabelClass,
    Outcome,
    Reason,
    Round,
    RoundState,
    Trigger,
)
from labeler.selectors.pool import pool_counts, waiting_positions
from labeler.services import claims
from labeler.services.annotate import record_answer
from labeler.services.draw import Draw, Place, draw_kinds, draw_positions, draw_queue, mix
from labeler.services.lease import lease_next
from labeler.services.publish import held_positions, publish_round
from labeler.services.rounds import config_of, start_cold_round
from tests.labeler.rounds import tune

pytestmark = pytest.mark.django_db


def acquiring(project, **config) -> Round:
    """A round that a worker holds, ready to publish."""
    number = Round.objects.filter(project=project).count() + 1
    return Round.objects.create(
        project=project,
        number=number,
        trigger=Trigger.BUTTON,
        reason="test",
        state=RoundState.ACQUIRING,
        claim="me",
        seed=number,
        config=config_of(project.learning) | config,
    )


def publish(project, round_: Round) -> list[Candidate]:
    """Publish with the waiting images in the order of their positions as the acquired ones."""
    held = held_positions(project)
    draw = draw_queue(round_=round_, held=held)
    taken = {*held, *(place.position for place in draw.random)}
    eligible = waiting_positions(project, is_holdout=False, without=taken)[: draw.to_acquire]
    main = [Place(int(p), Reason.ACQUIRED, 0.5, 1.0, 99.0) for p in eligible]
    publish_round(round_=round_, draw=draw, main=main, metrics={})
    project.refresh_from_db()
    return list(Candidate.objects.filter(round=round_).order_by("rank", "slot").select_related("image"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_invariants_of_a_queue(project, make_images, annotator, manager, data) -> None:
    clear(project)
    make_images(project, data.draw(st.integers(0, 40), "pool"))
    make_images(project, data.draw(st.integers(0, 15), "holdout"), is_holdout=True)
    overlap = data.draw(st.integers(1, 3), "overlap")
    tune(
        project,
        budget=data.draw(st.integers(1, 30), "budget"),
        random_share=data.draw(st.sampled_from([0.0, 0.3, 1.0]), "random share"),
        holdout_questions=data.draw(st.sampled_from([0.0, 0.3, 0.9]), "holdout questions"),
        holdout_target=data.draw(st.integers(0, 10), "holdout target"),
        overlap=overlap,
        retrain_every=0,
    )
    start_cold_round(project=project)
    work(project, [annotator, manager], data)
    before = set(
        Candidate.objects.filter(state=CandidateState.OPEN, leased_to__isnull=False).values_list("pk", flat=True)
    )
    held = held_images()
    partial = {
        image.pk: overlap - answers(image)
        for image in Image.objects.filter(state=ImageState.POOL).exclude(pk__in=held)
        if 0 < answers(image) < overlap
    }
    round_ = acquiring(project)
    queue = publish(project, round_)

    assert project.queue_round == round_
    assert Round.objects.get(pk=round_.pk).state == RoundState.DONE
    ranks = Counter(place.rank for place in queue)
    assert sorted(ranks) == list(range(1, len(ranks) + 1))
    assert len({place.image_id for place in queue}) == len(ranks)
    for place in queue:
        assert place.image.state == ImageState.POOL
        assert place.image_id not in {c.image_id for c in Candidate.objects.filter(pk__in=before)}
        assert place.image.is_holdout == (place.reason == Reason.HOLDOUT)
        assert place.selection_probability is None or 0 < place.selection_probability <= 1
        assert place.slot < ranks[place.rank]
        assert ranks[place.rank] == partial.get(place.image_id, overlap)
    carried = [rank for rank in ranks if any(p.rank == rank and p.image_id in partial for p in queue)]
    assert carried == list(range(1, len(partial) + 1))
    old_open = Candidate.objects.filter(project=project, state=CandidateState.OPEN).exclude(round=round_)
    assert set(old_open.values_list("pk", flat=True)) == before
    fresh = len(ranks) - len(partial)
    assert fresh <= project.learning.budget


def clear(project) -> None:
    project.queue_round = None
    project.save()
    project.annotations.update(retracts=None)
    project.annotations.all().delete()
    project.rounds.all().delete()
    project.images.all().delete()
    project.chunks.all().delete()


def held_images() -> set[int]:
    return set(Candidate.objects.filter(state="open", leased_to__isnull=False).values_list("image_id", flat=True))


def answers(image: Image) -> int:
    return image.annotations.filter(retracted_at=None).exclude(outcome__in=["undo", "skip"]).count()


def work(project, people, data) -> None:
    """Some answers, and some places left on the screen."""
    project.refresh_from_db()
    label = LabelClass.objects.filter(project=project).first()
    for person in people:
        for _ in range(data.draw(st.integers(0, 8), "answers")):
            places = lease_next(project=project, annotator=person)
            if not places:
                break
            outcome = data.draw(st.sampled_from([Outcome.LABEL, Outcome.LABEL, Outcome.UNSURE, Outcome.SKIP]))
            record_answer(
                project=project, annotator=person, image_id=places[0].image_id, candidate_id=places[0].pk,
                outcome=outcome, label_class_id=label.pk if outcome == Outcome.LABEL else None, key=uuid.uuid4(),
            )  # fmt: skip
        lease_next(project=project, annotator=person, want=data.draw(st.integers(0, 3), "held"))


def test_a_lost_round_publishes_nothing(project, make_images) -> None:
    make_images(project, 20)
    tune(project)
    start_cold_round(project=project)
    project.refresh_from_db()
    before = project.queue_round
    round_ = acquiring(project)
    Round.objects.filter(pk=round_.pk).update(claim="another")
    with pytest.raises(claims.RoundLost):
        publish(project, round_)
    project.refresh_from_db()
    assert project.queue_round == before
    assert Candidate.objects.filter(round=before, state=CandidateState.OPEN).exists()
    assert not Candidate.objects.filter(round=round_).exists()


def test_an_expired_lease_is_superseded_a_live_one_is_kept(project, make_images, annotator, manager) -> None:
    make_images(project, 30)
    tune(project)
    start_cold_round(project=project)
    project.refresh_from_db()
    (live,) = lease_next(project=project, annotator=annotator)
    (expired,) = lease_next(project=project, annotator=manager)
    Candidate.objects.filter(pk=expired.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    queue = publish(project, acquiring(project))
    assert Candidate.objects.get(pk=live.pk).state == CandidateState.OPEN
    assert Candidate.objects.get(pk=expired.pk).state == CandidateState.SUPERSEDED
    assert live.image_id not in {place.image_id for place in queue}


def test_the_same_seed_draws_the_same(project, make_images) -> None:
    make_images(project, 300)
    make_images(project, 50, is_holdout=True)
    tune(project, budget=50)
    round_ = acquiring(project)
    assert draw_queue(round_=round_) == draw_queue(round_=round_)


@given(
    budget=st.integers(0, 60), eligible=st.integers(0, 60), holdout=st.integers(0, 20),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)), seed=st.integers(0, 9),
)  # fmt: skip
def test_kinds_never_ask_for_more_than_there_is(budget, eligible, holdout, shares, seed) -> None:
    kinds = draw_kinds(
        np.random.default_rng(seed), budget=budget, eligible=eligible, holdout=holdout,
        holdout_share=shares[0], random_share=shares[1],
    )  # fmt: skip
    assert len(kinds) == min(budget, len(kinds))
    assert kinds.count(Reason.HOLDOUT) <= holdout
    assert len(kinds) - kinds.count(Reason.HOLDOUT) <= eligible
    assert len(kinds) >= min(budget, eligible)


def kinds_of(seed: int, **changes: float) -> list[str]:
    wanted = {"budget": 40, "eligible": 99, "holdout": 99, "holdout_share": 0.2, "random_share": 0.1, "later": 0}
    return draw_kinds(np.random.default_rng(seed), **(wanted | changes))


def test_shares_are_spread_evenly() -> None:
    """Whoever gives few answers gives the holdout its share: eight of somebody's first ten once went there."""
    for seed in range(50):
        kinds = kinds_of(seed)
        for start in range(31):
            assert kinds[start : start + 10].count(Reason.HOLDOUT) == 2
        assert kinds.count(Reason.RANDOM) in (3, 4)  # of 32 others


def test_each_rank_is_as_likely_as_any_other() -> None:
    many = [kinds_of(seed) for seed in range(2000)]
    for kind, share in ((Reason.HOLDOUT, 0.2), (Reason.RANDOM, 0.08)):
        at = np.mean([[each == kind for each in kinds] for kinds in many], axis=0)
        assert np.abs(at - share).max() < 4 * (share * (1 - share) / 2000) ** 0.5


def test_the_first_ranks_may_be_without_holdout() -> None:
    for seed in range(50):
        kinds = kinds_of(seed, later=10)
        assert Reason.HOLDOUT not in kinds[:10]
        assert kinds[10:20].count(Reason.HOLDOUT) == 2
    assert kinds_of(0, later=10, eligible=0)[:3] == [Reason.HOLDOUT] * 3  # nothing else waits


def test_the_holdout_waits_for_ten_answers(project, make_images) -> None:
    make_images(project, 60)
    make_images(project, 20, is_holdout=True)
    tune(project, budget=30, holdout_questions=0.5, holdout_target=20)
    round_ = acquiring(project)
    assert Reason.HOLDOUT not in draw_queue(round_=round_).kinds[:10]
    assert Reason.HOLDOUT in draw_queue(round_=round_).kinds[10:12]
    on_screens = set(waiting_positions(project, is_holdout=False, without=set())[:3].tolist())
    answered = project.images.filter(is_holdout=False, position__in=range(10, 15))
    answered.update(state=ImageState.LABELLED, label=project.classes.first())
    kinds = draw_queue(round_=round_, held=on_screens).kinds
    assert Reason.HOLDOUT not in kinds[:5] and Reason.HOLDOUT in kinds[5:7]  # who looked may never answer


def test_mixing_keeps_the_order_of_the_acquired() -> None:
    main = [Place(p, Reason.ACQUIRED) for p in (5, 3, 9)]
    kinds = (Reason.ACQUIRED, Reason.HOLDOUT, Reason.ACQUIRED, Reason.RANDOM, Reason.ACQUIRED)
    queue = mix(draw=Draw(kinds, (Place(1, Reason.RANDOM),), ()), main=main)
    assert [place.position for place in queue] == [5, 3, 1, 9]


def test_draws_are_uniform(project, make_images) -> None:
    """Each of 100 waiting images among 200 is drawn about as often as any other: chi-square, seeded."""
    images = make_images(project, 200)
    Image.objects.filter(pk__in=[image.pk for image in images[::2]]).update(state=ImageState.BAD)
    waiting = pool_counts(project).eligible
    assert waiting == 100
    drawn: Counter[int] = Counter()
    rng = np.random.default_rng(0)
    for _ in range(100):
        found = draw_positions(project=project, count=10, rng=rng, is_holdout=False, without=set(), waiting=waiting)
        assert len(set(found)) == 10
        drawn.update(found)
    assert set(drawn) <= set(range(1, 200, 2))
    chi2 = sum((drawn[p] - 10) ** 2 / 10 for p in range(1, 200, 2))
    assert 60 < chi2 < 150


def test_few_left_are_found_by_listing(project, make_images) -> None:
    make_images(project, 400, state=ImageState.BAD)
    make_images(project, 3)
    found = draw_positions(
        project=project, count=5, rng=np.random.default_rng(0), is_holdout=False, without={401}, waiting=3
    )
    assert sorted(found) == [400, 402]


def test_a_cold_round_is_logged_with_its_chances(project, make_images) -> None:
    make_images(project, 100)
    tune(project, budget=10, holdout_questions=0)
    start_cold_round(project=project)
    places = Candidate.objects.filter(project=project)
    assert {place.selection_probability for place in places} == {0.1}
    assert {place.reason for place in places} == {Reason.COLD_START}


def test_without_waiting_images_there_is_no_cold_round(project, make_images) -> None:
    tune(project)
    assert start_cold_round(project=project) is None
    make_images(project, 3, state=ImageState.BAD)
    assert start_cold_round(project=project) is None
    assert not Round.objects.exists()


def test_images_of_the_pool_on_peoples_screens_take_nothing_from_the_holdout(project, make_images, annotator) -> None:
    """With more people at work than it has images it would otherwise be asked about at the very end."""
    make_images(project, 30)
    make_images(project, 4, is_holdout=True)
    tune(project, budget=20, holdout_questions=0.5, holdout_target=10, random_share=0.0)
    round_ = acquiring(project)
    on_screens = set(waiting_positions(project, is_holdout=False, without=set())[:12].tolist())
    assert len(draw_queue(round_=round_, held=on_screens).holdout) == 4
    measured = set(waiting_positions(project, is_holdout=True, without=set())[:3].tolist())
    draw = draw_queue(round_=round_, held=on_screens | measured)
    assert len(draw.holdout) == 1
    assert draw.to_acquire == 18  # of the pool's 30, twelve are held

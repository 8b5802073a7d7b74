from dataclasses import replace

import torch

from learner.augmentation import random_affine, random_view
from learner.config import Recipe

STILL = Recipe(rotation=0, scale=0, shear=0, shift=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_any_amount_images_stay_as_they_are():
    images = torch.rand(3, 2, 9, 7)
    assert torch.allclose(random_affine(images, STILL, generator()), images, atol=1e-5)


def test_each_image_gets_its_own_view_and_a_seed_gives_it_again():
    images = torch.rand(1, 1, 16, 16).expand(2, 1, 16, 16)
    views = random_affine(images, Recipe(), generator())
    assert not torch.allclose(views[0], views[1])
    assert torch.equal(views, random_affine(images, Recipe(), generator()))


def test_a_flat_image_stays_flat():
    images = torch.full((4, 3, 10, 10), 0.7)
    assert torch.allclose(random_affine(images, Recipe(), generator()), images, atol=1e-5)


def test_it_does_not_flip():
    images = torch.zeros(200, 1, 16, 16)
    images[..., :8] = 1.0  # the left half
    views = random_affine(images, Recipe(), generator())
    assert (views[..., :4].mean((1, 2, 3)) > views[..., -4:].mean((1, 2, 3))).all()


def test_one_pixel():
    assert random_affine(torch.ones(2, 1, 1, 1), Recipe(), generator()).shape == (2, 1, 1, 1)


def test_a_view_without_light_or_cover_is_an_affine_one():
    images, plain = torch.rand(20, 3, 9, 7), Recipe()
    views = [make(images, plain, generator()) for make in (random_affine, random_view)]
    assert torch.equal(*views)


def test_a_part_is_covered_and_the_light_is_another():
    images, still = torch.ones(400, 3, 24, 32), Recipe(rotation=0, scale=0, shear=0, shift=0, cutout=0.5)
    covered = random_view(images, still, generator()) == 0
    shares = covered.float().mean((1, 2, 3))
    assert shares.max() <= 0.25 + 0.05 and 0.1 < shares.mean() < 0.2 and (shares > 0).all()  # over an edge it is less
    assert (covered[:, 0] == covered[:, 1]).all()
    lit = random_view(images, replace(still, cutout=0.0, light=0.4), generator())
    assert lit.min() >= 1 - 0.8 and lit.max() <= 1 + 0.8 and lit[:, :, 0, 0].std() > 0.1
    assert (lit == lit[:, :, :1, :1]).all()

"""Meta-SAEs that are trained side by side are those that each would be alone, and find what sae-lens's finds."""

import numpy as np
import pytest
import taken_apart as planted
import torch

from saebench.making.meta_training import LR, K, Task, train_together
from saebench.making.training import classes_of, training_sae


def test_they_do_not_depend_on_one_another() -> None:
    rows = planted.composed(3)
    tasks = [Task(rows, 0), Task(rows[:100], 1)]
    together = train_together(tasks, 16, 30)
    alone = [made for task in tasks for made in train_together([task], 16, 30)]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one.decoder, other.decoder, atol=1e-4)
        assert torch.allclose(one.encoder, other.encoder, atol=1e-4)


def test_a_row_has_no_more_than_k_meta_latents_whatever_other_rows_there_are() -> None:
    rows = planted.composed(3)
    (made,) = train_together([Task(rows, 0)], 64, 30)
    assert int((made.codes(rows) > 0).sum(1).max()) == K
    assert torch.allclose(made.codes(rows)[:3], made.codes(rows[:3]), atol=1e-6)
    assert made.decoder.norm(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)


def test_what_one_explains_is_as_plain_numpy_has_it() -> None:
    rows = planted.composed(2)
    (made,) = train_together([Task(rows, 0)], 64, 30)
    x, encoder, decoder, bias = (np.asarray(t, dtype=np.float64) for t in (rows, made.encoder, made.decoder, made.bias))
    read = np.maximum((x - bias) @ encoder.T, 0)
    read[read < np.sort(read, axis=1)[:, [-K]]] = 0
    explained = ((x - bias) ** 2).sum(1) - ((x - bias - read @ decoder) ** 2).sum(1)
    assert made.explained(rows) == pytest.approx(explained, abs=1e-4)
    best = (np.maximum((x - bias) @ decoder.T, 0) ** 2).max(1)
    assert made.single(rows) == pytest.approx(best, abs=1e-4)


def test_as_much_is_explained_as_by_sae_lens() -> None:
    """Its batch top-k SAE, trained on the same rows with plain Adam."""
    rows, steps = planted.composed(3, 0.3), 250
    (made,) = train_together([Task(rows, 0)], 64, steps)
    torch.manual_seed(0)
    theirs = training_sae(*classes_of("batchtopk"), K, rows.shape[1], 64, more={"normalize_activations": "none"})
    with torch.no_grad():
        theirs.W_dec.copy_(planted.normed(rows[torch.randperm(len(rows))[:64]]))
        theirs.W_enc.copy_(theirs.W_dec.T)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=LR, betas=(0.9, 0.99))
    for _ in range(steps):
        x = rows[torch.randint(len(rows), (64,))]
        optimizer.zero_grad()
        (x - theirs.decode(theirs.encode(x))).square().sum(1).mean().backward()
        optimizer.step()
    with torch.no_grad():
        error = (rows - theirs.decode(theirs.encode(rows))).square().sum()
    every = (rows - rows.mean(0)).square().sum()
    theirs_explain = float(1 - error / every)
    own = (rows - made.bias - made.codes(rows) @ made.decoder).square().sum()
    assert float(1 - own / every) == pytest.approx(theirs_explain, abs=0.06)

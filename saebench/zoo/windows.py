"""Documents cut into the contexts that SAEs are trained on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saebench.subject.subject import Subject


def cut(subject: Subject, texts: Sequence[str], context: int) -> Tensor:
    """Token ids (window, context): BOS, then what comes next of a document; what is left at its end is dropped."""
    bos, step, rows = subject.tokenizer.bos_token_id, context - 1, list[list[int]]()
    for ids in subject.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]:
        ids = ids[: subject.n_ctx - 1]
        rows += [[bos, *ids[i : i + step]] for i in range(0, len(ids) - step + 1, step)]
    return torch.tensor(rows)

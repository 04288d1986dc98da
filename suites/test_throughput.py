"""What does the architecture cost, against the bare matrix products of its shapes on the same machine?"""

import pytest

from saebench.metrics import throughput


@pytest.mark.score("throughput.encode", 2, "higher", "ratio", tolerance=0.1, floor=0.0, machine=True)
def test_encode(sae, activations, timings, record):
    record(throughput.relative_speed(*timings(*throughput.operations(sae, activations)["encode"])))


@pytest.mark.score("throughput.decode", 2, "higher", "ratio", tolerance=0.1, floor=0.0, machine=True)
def test_decode(sae, activations, timings, record):
    record(throughput.relative_speed(*timings(*throughput.operations(sae, activations)["decode"])))


@pytest.mark.score("throughput.memory", 2, "lower", "ratio", tolerance=0.25, machine=True)
def test_memory(sae, activations, record):
    record(throughput.relative_memory(sae, activations))

"""What a run in this process needs: pytester forgets what a run imported, but not what was here before."""

import gc
import importlib
import pkgutil

import saebench.evidence
import saebench.organism

for module in ("hypothesis", "saebench.run.evidence", "saebench.evidence.trace", "saebench.saes.loaders.python",
               "saebench.metrics.context_length", "scipy.stats", "transformers.models.gpt2.modeling_gpt2",
               "transformer_lens.model_bridge"):  # fmt: skip
    importlib.import_module(module)
for package in (saebench.evidence, saebench.organism):  # a class that was imported twice is not itself
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)
gc.freeze()  # A run collects garbage after each SAE, and would look through all of these each time.

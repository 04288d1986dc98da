"""What a run in this process needs: pytester forgets what a run imported, but not what was here before."""

import gc
import importlib

for module in ("hypothesis", "saebench.run.evidence", "saebench.evidence.trace", "saebench.saes.loaders.python",
               "saebench.metrics.context_length", "scipy.stats", "transformers.models.gpt2.modeling_gpt2",
               "transformer_lens.model_bridge"):  # fmt: skip
    importlib.import_module(module)
gc.freeze()  # A run collects garbage after each SAE, and would look through all of these each time.

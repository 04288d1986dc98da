"""What an SAE in memory says of itself, fitted to the model and the texts that are here."""

from saebench.catalogue.spec import SAESpec
from saebench.hub.fit import check_fit
from saebench.hub.needs import of_corpus, of_model
from saebench.run.models import Models


def settle(models: Models, before: SAESpec, spec: SAESpec) -> None:
    """Check an SAE in memory, which may say what its files did not: where it reads, and in which model.

    Nothing is downloaded in the middle of a test. Raises ValueError or OSError with one sentence that names it, before
    its model is loaded.
    """
    model = models.name(spec)
    models.hook(spec)
    for need in (*of_model(model), *of_corpus(models.source(spec))):
        if need.lacking():
            advice = f"saebench fetch --sae-model {model}"
            raise ValueError(f"{spec.name} reads {need.what}, which is not on this machine: {advice}")
    if (spec.hook, spec.hook_out, spec.model) != (before.hook, before.hook_out, before.model):
        check_fit(spec, model, chosen=models.options.model is not None)

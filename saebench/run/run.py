"""One benchmark run: its services, and the order in which they are built."""

from dataclasses import dataclass, field

from saebench.catalogue.spec import SAESpec
from saebench.record.store import Store
from saebench.run.architectures import Architectures
from saebench.run.cloze import Cloze
from saebench.run.control_saes import ControlSAEs
from saebench.run.documents import Documents
from saebench.run.entities import Entities
from saebench.run.explaining import Explaining
from saebench.run.game import Game
from saebench.run.genres import Genres
from saebench.run.holder import Holder
from saebench.run.judges import Judges
from saebench.run.labels import LabelledTexts
from saebench.run.meta_saes import MetaSAEs
from saebench.run.models import Models
from saebench.run.options import Options
from saebench.run.partners import Partners
from saebench.run.phrases import Phrases
from saebench.run.preparation import Preparation
from saebench.run.provision import Provision
from saebench.run.recorder import Recorder
from saebench.run.samples import Samples
from saebench.run.shelf import Shelf
from saebench.run.topics import Topics
from saebench.run.words import Words

SERVICES = (
    "models", "documents", "words", "control_saes", "game", "genres", "samples", "meta_saes", "partners", "cloze", "judges",
    "phrases", "explaining", "topics", "labels", "entities", "budget",
)  # fmt: skip
"""What evidence may ask for by these names."""


@dataclass
class Run:
    """The composition root: each service takes those before it, and none knows the run."""

    specs: list[SAESpec]
    store: Store
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        self.shelf = Shelf()
        self.models = Models(self.options, self.shelf)
        self.documents = Documents(self.models, self.shelf)
        self.words = Words(self.models, self.shelf)
        self.entities = Entities(self.models, self.shelf)
        self.samples = Samples(self.models, self.shelf)
        self.cloze = Cloze(self.models, self.shelf)
        self.topics = Topics(self.models, self.shelf)
        self.control_saes = ControlSAEs(self.models, self.documents, self.words, self.shelf)
        self.game = Game(self.models, self.documents, self.control_saes, self.shelf)
        self.genres = Genres(self.models, self.documents, self.game, self.shelf)
        self.labels = LabelledTexts(self.models, self.control_saes, self.shelf)
        self.meta_saes = MetaSAEs(self.models, self.words, self.samples)
        self.partners = Partners(self.models, self.documents, self.shelf)
        self.judges = Judges(self.models, self.shelf)
        self.explaining = Explaining(self.models, self.judges, self.shelf)
        self.phrases = Phrases(self.models, self.documents, self.judges, self.explaining, self.shelf)
        self.architectures = Architectures(self.models, self.shelf)
        self.holder = Holder(self.models, self.architectures, self.control_saes, self.shelf)
        self.preparation = Preparation(self.specs, self.models, self.holder, self.architectures, self.cloze)
        self.needs_of_suites = {
            "unlearning": self.topics.needs, "disentanglement": self.entities.needs,
            "sparse_probing": self.labels.needs, "probe_perturbation": self.labels.needs,
        }  # fmt: skip
        self.budget = self.options.sizes
        self.provision = Provision({name: getattr(self, name) for name in SERVICES}, self.shelf)
        self.recorder = Recorder(self.models, self.documents, self.provision, self.holder, self.store)

    def open(self) -> None:
        """Read what the scores file has already; it is not changed before the first score is appended."""
        stored = self.store.stored()
        self.recorder.stored = {} if self.options.fresh else stored

    def notes(self) -> list[str]:
        """What happened that a user should read: to the scores file, to SAEs, and where memory did not suffice."""
        named = {**self.models.notes, **self.holder.notes}
        said = [*self.store.notes, *self.judges.notes(), *self.models.cache_notes()]
        return [*said, *(f"{name}: {note}" for name, notes in named.items() for note in notes)]

"""What a statement imports, told by a process of its own."""

import subprocess
import sys

HEAVY = ("torch", "sae_lens", "transformer_lens", "transformers", "sklearn", "scipy")


def loaded_by(statement: str) -> list[str]:
    report = f"import sys; {statement}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()

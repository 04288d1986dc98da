"""`python -m saebench`."""

import sys

from saebench.cli import main

sys.exit(main())

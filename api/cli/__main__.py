"""`python -m volary.api.cli`, where the command itself is not on the path."""

import sys

from volary.api.cli import main

sys.exit(main())

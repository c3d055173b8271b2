"""`python -m headrace.storage DATA_FOLDER < PIPE`: the loader process."""

import sys

from headrace.storage.loader import main

sys.exit(main(sys.argv[1:]))
